//! `text-generation`: a prompt or a conversation in, text out, token by token.

mod beams;
mod cached;
mod limits;
mod pipeline;
mod prefixes;
mod request;
mod sequence;

use std::sync::Arc;

use proto::{
    ChatMessage, InferRequest, TextGenerationInputs, TextGenerationRequest, TextOutput,
    infer_request::Input, infer_result::Output,
};
use serde_json::{Map, Value};

pub use self::pipeline::GenerationPipeline;
use super::{Files, Generate, Made, Prepared, Processor, Work};
use crate::{
    failure::{Code, Failure},
    sampling::{Continuing, SamplingOptions},
    text::{ChatInput, ChatTemplate, DecodingConfig, GenerationConfig, Tokenizer},
};

/// Most bytes of a prompt.
const MAX_PROMPT_BYTES: usize = 1 << 20;

pub fn processor(files: &Files) -> Result<Arc<dyn Processor>, Failure> {
    let config = files.json("config.json")?.unwrap_or_default();
    let context = ["max_position_embeddings", "n_positions", "n_ctx"]
        .iter()
        .find_map(|name| config.get(*name).and_then(Value::as_u64));
    let tokenizer = super::tokenizer(files)?;
    let template = ChatTemplate::with_named(
        files.text("tokenizer_config.json"),
        files.text("chat_template.jinja"),
        &files.named_templates(),
        tokenizer.special_tokens().clone(),
    )?;
    Ok(Arc::new(TextGeneration {
        tokenizer,
        template,
        defaults: GenerationConfig::from_files(
            files.text("generation_config.json"),
            files.text("config.json"),
        )?,
        decoding: DecodingConfig::of(
            files
                .json("generation_config.json")?
                .as_ref()
                .and_then(Value::as_object)
                .unwrap_or(&Map::new()),
        )?,
        context: context.map_or(usize::MAX, |context| context as usize),
    }))
}

struct TextGeneration {
    tokenizer: Tokenizer,
    /// `None`: the model was not made for conversations.
    template: Option<ChatTemplate>,
    defaults: GenerationConfig,
    /// What the model forbids and forces.
    decoding: DecodingConfig,
    /// Most tokens of prompt and answer together.
    context: usize,
}

impl Processor for TextGeneration {
    fn prepare(&self, request: &InferRequest) -> Result<Prepared, Failure> {
        let Some(Input::TextGeneration(TextGenerationRequest { inputs, options })) = &request.input
        else {
            return Err(Failure::invalid("input", "is not for text-generation"));
        };
        let mut asked = options.clone().unwrap_or_default();
        asked.n = asked.n.or(self.decoding.num_return_sequences);
        let options = SamplingOptions::resolve(&asked, &self.defaults)?;
        let prompt = self.prompt(inputs.clone().unwrap_or_default())?;
        let prompt_ids = self.fit(self.encode(&prompt)?, &options, prompt.field)?;
        let options = options.after_prompt(&asked, &self.defaults, prompt_ids.len())?;
        // Whatever was asked, the answer ends where the model's context does.
        let room = self.context - prompt_ids.len();
        let max_new_tokens = (options.max_new_tokens as usize).min(room);
        let Continuing { constraints, beams } = Continuing::resolve(
            &asked,
            &options,
            &self.decoding,
            prompt_ids.len(),
            max_new_tokens,
        )?;
        let seed = options.seed.or(request.seed).unwrap_or_else(rand::random);
        let full_text = options.return_full_text.then(|| prompt.text.clone());
        let prompt_tokens = prompt_ids.len() as u32;
        let is_chat = prompt.is_chat;
        let work = Generate {
            prompt_ids,
            options,
            constraints,
            beams,
            seed,
            max_new_tokens,
            tokenizer: self.tokenizer.clone(),
        };
        Ok(Prepared {
            work: Work::Generate(Box::new(work)),
            finish: Box::new(move |made| {
                let Made::Texts(mut choices) = made else {
                    return Err(Failure::new(Code::InferenceFailed, "the lane made no text"));
                };
                if let Some(prompt) = full_text {
                    choices.iter_mut().for_each(|choice| choice.text.insert_str(0, &prompt));
                }
                Ok(Output::Text(TextOutput { choices, is_chat }))
            }),
            prompt_tokens: Some(prompt_tokens),
            seed: Some(seed),
        })
    }
}

struct Prompt {
    text: String,
    is_chat: bool,
    field: &'static str,
}

impl TextGeneration {
    fn prompt(&self, inputs: TextGenerationInputs) -> Result<Prompt, Failure> {
        let prompt = match (inputs.text, inputs.messages) {
            (Some(text), messages) if messages.is_empty() => {
                Prompt { text, is_chat: false, field: "inputs.text" }
            }
            (None, messages) if !messages.is_empty() => {
                let template = self.template.as_ref().ok_or_else(|| {
                    Failure::invalid(
                        "inputs.messages",
                        "cannot be used: this model has no chat template; give text",
                    )
                })?;
                let size: usize = messages.iter().map(|message| message.content.len()).sum();
                check_size(size, "inputs.messages")?;
                let text = render(template, &messages)?;
                Prompt { text, is_chat: true, field: "inputs.messages" }
            }
            _ => return Err(Failure::invalid("inputs", "need either text or messages")),
        };
        check_size(prompt.text.len(), prompt.field)?;
        Ok(prompt)
    }

    /// A template writes its special tokens itself; a bare prompt gets the tokenizer's.
    fn encode(&self, prompt: &Prompt) -> Result<Vec<u32>, Failure> {
        let ids = self.tokenizer.encode(&prompt.text, !prompt.is_chat)?.ids;
        match (ids.is_empty(), self.defaults.bos_token_id) {
            (false, _) => Ok(ids),
            (true, Some(bos)) => Ok(vec![bos]),
            (true, None) => Err(Failure::invalid(prompt.field, "is empty")),
        }
    }

    /// The prompt, if it leaves room for at least one token; cut from its beginning where the request allows that.
    fn fit(
        &self,
        mut ids: Vec<u32>,
        options: &SamplingOptions,
        field: &str,
    ) -> Result<Vec<u32>, Failure> {
        if ids.len() < self.context {
            return Ok(ids);
        }
        if !options.truncate {
            let message = format!(
                "{field} has {} tokens, the model's context is {}",
                ids.len(),
                self.context
            );
            return Err(Failure::new(Code::InputTooLong, message)
                .at(field)
                .number("tokens", ids.len() as u64)
                .number("limit", self.context as u64 - 1));
        }
        let room = (options.max_new_tokens as usize).min(self.context / 2).max(1);
        Ok(ids.split_off(ids.len() - (self.context - room)))
    }
}

/// The conversation as the model's template writes it, up to where the answer begins.
fn render(template: &ChatTemplate, messages: &[ChatMessage]) -> Result<String, Failure> {
    let object = |message: &ChatMessage| {
        let field = |name: &str, value: &str| (name.to_owned(), Value::from(value));
        Map::from_iter([field("role", &message.role), field("content", &message.content)])
    };
    let messages: Vec<Map<String, Value>> = messages.iter().map(object).collect();
    let now = time::OffsetDateTime::now_local().unwrap_or_else(|_| time::OffsetDateTime::now_utc());
    let prompt = template.render(&ChatInput {
        messages: &messages,
        tools: None,
        documents: None,
        add_generation_prompt: true,
        extra: &Map::new(),
        now: time::PrimitiveDateTime::new(now.date(), now.time()),
    });
    prompt.map_err(|error| Failure::from(error).at("inputs.messages"))
}

fn check_size(bytes: usize, field: &str) -> Result<(), Failure> {
    if bytes <= MAX_PROMPT_BYTES {
        return Ok(());
    }
    Err(Failure::new(Code::PayloadTooLarge, format!("{field} may have {MAX_PROMPT_BYTES} bytes"))
        .at(field)
        .number("size", bytes as u64)
        .number("limit", MAX_PROMPT_BYTES as u64))
}

//! `text2text-generation`, `summarization` and `translation`: texts in, a text for each out, by a model that reads a
//! text as a whole before it writes.

mod answer;
mod defaults;
mod languages;
mod limits;
mod passes;
mod pipeline;
mod request;
mod text;

use std::sync::Arc;

use proto::{
    InferRequest, Seq2SeqInputs, Seq2SeqOptions, Seq2SeqOutput, Seq2SeqTexts, Texts,
    TranslationInputs, infer_request::Input, infer_result::Output,
};
use serde_json::Value;

use self::{
    defaults::{Defaults, DefaultsByTask},
    languages::{Around, Languages, Marks},
};
pub use self::{languages::Pair, pipeline::Seq2SeqPipeline};
use super::{Files, Made, Prepared, Processor, Work, Write, texts::cut};
use crate::{
    failure::{Code, Failure},
    sampling::Decoding,
    text::Tokenizer,
};

/// Most bytes of a text.
const MAX_TEXT_BYTES: usize = 1 << 20;
/// Most texts of a request.
const MAX_TEXTS: usize = 64;

pub fn text2text_generation(files: &Files) -> Result<Arc<dyn Processor>, Failure> {
    Ok(Arc::new(Writer::new("text2text-generation", files)?))
}

pub fn summarization(files: &Files) -> Result<Arc<dyn Processor>, Failure> {
    Ok(Arc::new(Writer::new("summarization", files)?))
}

pub fn translation(files: &Files) -> Result<Arc<dyn Processor>, Failure> {
    Ok(Arc::new(Writer::new("translation", files)?))
}

/// What a model that writes needs of a repository.
pub struct Writer {
    task: &'static str,
    tokenizer: Tokenizer,
    defaults: DefaultsByTask,
    languages: Languages,
    is_marian: bool,
    /// Most tokens of a source, and of a target with its start token.
    context: usize,
    /// What a source that is too long is cut to.
    cut_length: usize,
}

/// A request's parts, whichever task it is.
struct Asked {
    texts: Texts,
    languages: Pair,
    options: Seq2SeqOptions,
}

impl Writer {
    pub fn new(task: &'static str, files: &Files) -> Result<Self, Failure> {
        let config = files.json("config.json")?.unwrap_or_default();
        let tokenizer = super::tokenizer(files)?;
        let tokenizer_config = files.json("tokenizer_config.json")?.unwrap_or_default();
        let model_type = config.get("model_type").and_then(Value::as_str).unwrap_or_default();
        let count =
            |name: &str| config.get(name).and_then(Value::as_u64).map(|count| count as usize);
        let context = count("max_position_embeddings").unwrap_or(usize::MAX);
        let cut_length =
            tokenizer.model_max_length().or(count("n_positions")).unwrap_or(usize::MAX);
        Ok(Self {
            task,
            defaults: DefaultsByTask::of(files)?,
            languages: Languages::of(&tokenizer_config, model_type, &tokenizer),
            is_marian: model_type == "marian",
            tokenizer,
            context,
            cut_length: cut_length.min(context),
        })
    }

    /// For tasks that know no words before a text.
    pub fn without_prefixes(mut self) -> Self {
        self.defaults.clear_prefixes();
        self
    }

    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    fn asked(&self, request: &InferRequest) -> Result<Asked, Failure> {
        let written = |inputs: &Option<Seq2SeqInputs>, options: &Option<Seq2SeqOptions>| Asked {
            texts: inputs.clone().and_then(|inputs| inputs.text).unwrap_or_default(),
            languages: Pair::default(),
            options: options.clone().unwrap_or_default(),
        };
        match (&request.input, self.task) {
            (Some(Input::Text2textGeneration(asked)), "text2text-generation") => {
                Ok(written(&asked.inputs, &asked.options))
            }
            (Some(Input::Summarization(asked)), "summarization") => {
                Ok(written(&asked.inputs, &asked.options))
            }
            (Some(Input::Translation(asked)), "translation") => {
                let TranslationInputs { text, src_lang, tgt_lang } =
                    asked.inputs.clone().unwrap_or_default();
                Ok(Asked {
                    texts: text.unwrap_or_default(),
                    languages: Pair { source: src_lang, target: tgt_lang },
                    options: asked.options.clone().unwrap_or_default(),
                })
            }
            _ => Err(Failure::invalid("input", format!("is not for {}", self.task))),
        }
    }

    /// The model's defaults for the task, and what the languages come to.
    fn plan(&self, asked: &Pair) -> Result<(&Defaults, Marks), Failure> {
        if self.task != "translation" {
            return Ok((self.defaults.of_task(self.task), Marks::default()));
        }
        if let Some(defaults) = self.defaults.of_pair(asked)? {
            return Ok((defaults, Marks::default()));
        }
        let defaults = self.defaults.of_task(self.task);
        let start = defaults.generation.decoder_start_token_id;
        let forced_bos = defaults.decoding.forced_bos_token_id;
        let marks = self.languages.marks(asked, &self.tokenizer, start, forced_bos)?;
        Ok((defaults, marks))
    }

    /// The tokens of one source.
    fn source(
        &self,
        text: &str,
        defaults: &Defaults,
        marks: &Marks,
        truncate: bool,
        field: &str,
    ) -> Result<Vec<u32>, Failure> {
        let text = format!("{}{text}", defaults.prefix);
        let (mark, text) = self.mark_in(&text);
        let mut encoding = self.tokenizer.encode(text, marks.around.is_none())?;
        let empty = Around::default();
        let around = marks.around.as_ref().unwrap_or(&empty);
        let before: Vec<u32> =
            [&around.first, &marks.before].into_iter().flatten().copied().chain(mark).collect();
        let extra = before.len() + around.last.len();
        let tokens = encoding.len() + extra;
        let limit = if truncate { self.cut_length } else { self.context };
        if tokens > limit {
            if !truncate {
                let message = format!("{field} has {tokens} tokens, the model reads {limit}");
                return Err(Failure::new(Code::InputTooLong, message)
                    .at(field)
                    .number("tokens", tokens as u64)
                    .number("limit", limit as u64));
            }
            cut(&mut encoding, limit.saturating_sub(extra));
        }
        let ids = [before, encoding.ids, around.last.clone()].concat();
        if ids.is_empty() {
            return Err(Failure::invalid(field, "is empty"));
        }
        Ok(ids)
    }

    /// Marian's texts may begin with the mark of their target language.
    fn mark_in<'a>(&self, text: &'a str) -> (Option<u32>, &'a str) {
        let split = || {
            let end = text.strip_prefix(">>")?.find("<<")? + 4;
            Some((self.tokenizer.id(&text[..end])?, &text[end..]))
        };
        match split().filter(|_| self.is_marian) {
            Some((id, rest)) => (Some(id), rest),
            None => (None, text),
        }
    }
}

fn check(texts: &Texts) -> Result<(), Failure> {
    if texts.items.is_empty() {
        return Err(Failure::invalid("inputs.text", "is missing"));
    }
    if texts.items.len() > MAX_TEXTS {
        let message = format!("inputs.text may be {MAX_TEXTS} texts");
        return Err(Failure::new(Code::PayloadTooLarge, message)
            .at("inputs.text")
            .number("size", texts.items.len() as u64)
            .number("limit", MAX_TEXTS as u64));
    }
    let bytes: usize = texts.items.iter().map(String::len).sum();
    if bytes > MAX_TEXT_BYTES {
        let message = format!("inputs.text may have {MAX_TEXT_BYTES} bytes");
        return Err(Failure::new(Code::PayloadTooLarge, message)
            .at("inputs.text")
            .number("size", bytes as u64)
            .number("limit", MAX_TEXT_BYTES as u64));
    }
    Ok(())
}

impl Writer {
    /// The work for texts; `field` names each where it is refused.
    pub fn work(
        &self,
        texts: &Texts,
        languages: &Pair,
        options: &Seq2SeqOptions,
        seed: Option<u64>,
        field: impl Fn(usize) -> String,
    ) -> Result<Write, Failure> {
        let (defaults, marks) = self.plan(languages)?;
        let mut decoding =
            Decoding::resolve(options, &defaults.generation, &defaults.decoding, self.context)?;
        if marks.forced_bos.is_some() {
            decoding.constraints.forced_bos_token_id = marks.forced_bos;
        }
        let source = |(idx, text): (usize, &String)| {
            self.source(text, defaults, &marks, decoding.truncate, &field(idx))
        };
        let sources: Vec<Vec<u32>> =
            texts.items.iter().enumerate().map(source).collect::<Result<_, _>>()?;
        let seed = decoding.seed.or(seed).unwrap_or_else(rand::random);
        Ok(Write { sources, decoding, seed, tokenizer: self.tokenizer.clone() })
    }
}

impl Write {
    pub fn prompt_tokens(&self) -> u32 {
        self.sources.iter().map(Vec::len).sum::<usize>() as u32
    }

    /// The seed, where random numbers are drawn.
    pub fn drawn_seed(&self) -> Option<u64> {
        self.decoding.sampling.do_sample.then_some(self.seed)
    }
}

impl Processor for Writer {
    fn prepare(&self, request: &InferRequest) -> Result<Prepared, Failure> {
        let Asked { texts, languages, options } = self.asked(request)?;
        check(&texts)?;
        let is_list = texts.is_list;
        let field = |idx: usize| match is_list {
            true => format!("inputs.text[{idx}]"),
            false => "inputs.text".to_owned(),
        };
        let work = self.work(&texts, &languages, &options, request.seed, field)?;
        Ok(Prepared {
            prompt_tokens: Some(work.prompt_tokens()),
            seed: work.drawn_seed(),
            work: Work::Write(Box::new(work)),
            finish: Box::new(move |made| {
                let Made::Written(items) = made else {
                    return Err(Failure::new(Code::InferenceFailed, "the lane wrote nothing"));
                };
                let items = items.into_iter().map(|choices| Seq2SeqTexts { choices }).collect();
                Ok(Output::Seq2seq(Seq2SeqOutput { items, is_list }))
            }),
        })
    }
}

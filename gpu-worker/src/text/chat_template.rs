//! Conversations to prompts, through the model's own Jinja template.
//!
//! Reference: `apply_chat_template` and `transformers/utils/chat_template_utils.py`. A template is untrusted code: it
//! sees plain values only, and a budget bounds its time and memory.

use std::sync::Arc;

use minijinja::{Environment, ErrorKind, Value};
use serde_json::{Map, Value as Json};
use time::PrimitiveDateTime;

use super::{
    SpecialTokens, TextError,
    special_tokens::object,
    template_environment::{Raised, environment, from_json, with_clock, without_generation_tags},
};

/// Five hundred bytes for each of the nested lists that the budget can pay for.
const STACK_BYTES: usize = 1 << 30;
const DEFAULT: &str = "default";
const TOOL_USE: &str = "tool_use";
/// Names a message's reasoning is passed under; the first is the standard one.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// What a template is given.
#[derive(Clone, Copy, Debug)]
pub struct ChatInput<'a> {
    /// Objects with `role`, `content` and whatever else the template knows.
    pub messages: &'a [Map<String, Json>],
    /// JSON schemas of functions.
    pub tools: Option<&'a [Json]>,
    pub documents: Option<&'a [Json]>,
    /// End the prompt with the beginning of an answer.
    pub add_generation_prompt: bool,
    /// Further variables (`enable_thinking` …). They go before special tokens of the same name.
    pub extra: &'a Map<String, Json>,
    /// What `strftime_now` tells, in local time.
    pub now: PrimitiveDateTime,
}

/// A model's compiled templates; a clone is another handle to the same ones.
#[derive(Clone, Debug)]
pub struct ChatTemplate {
    environment: Arc<Environment<'static>>,
    names: Vec<String>,
    special: SpecialTokens,
}

impl ChatTemplate {
    /// As [`Self::with_named`], without further files.
    pub fn from_files(
        tokenizer_config: Option<&str>,
        chat_template_jinja: Option<&str>,
        special: SpecialTokens,
    ) -> Result<Option<Self>, TextError> {
        Self::with_named(tokenizer_config, chat_template_jinja, &[], special)
    }

    /// `chat_template.jinja` and the files of `additional_chat_templates`, whose names are `named`, go before `chat_template` in `tokenizer_config.json`, which is one template or a list
    /// of `{name, template}`. None when the repository has neither.
    pub fn with_named(
        tokenizer_config: Option<&str>,
        chat_template_jinja: Option<&str>,
        named: &[(&str, &str)],
        special: SpecialTokens,
    ) -> Result<Option<Self>, TextError> {
        let default = chat_template_jinja.map(|source| (DEFAULT, source));
        let files = default.into_iter().chain(named.iter().copied());
        let mut sources: Vec<(String, String)> =
            files.map(|(name, source)| (name.to_owned(), source.to_owned())).collect();
        if sources.is_empty() {
            sources = self::sources(&object("tokenizer_config.json", tokenizer_config)?)?;
        }
        if sources.is_empty() {
            return Ok(None);
        }
        let mut environment = environment();
        let mut names = Vec::new();
        for (name, source) in sources {
            let source = without_generation_tags(&source);
            environment.add_template_owned(name.clone(), source).map_err(|error| {
                let line = error.line().unwrap_or_default();
                let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
                TextError::TemplateSyntax { message: format!("{detail} (line {line})") }
            })?;
            names.push(name);
        }
        Ok(Some(Self { environment: Arc::new(environment), names, special }))
    }

    /// Names of the templates; `default` where there is but one.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    pub fn render(&self, input: &ChatInput<'_>) -> Result<String, TextError> {
        if input.messages.is_empty() {
            return Err(TextError::NoMessages);
        }
        let has = |name: &str| self.names.iter().any(|known| known == name);
        let name = if input.tools.is_some() && has(TOOL_USE) {
            TOOL_USE
        } else if has(DEFAULT) {
            DEFAULT
        } else {
            return Err(TextError::TemplateName { names: self.names.join(", ") });
        };
        on_a_deep_stack(|| {
            let environment = with_clock(&self.environment, input.now);
            let template = environment.get_template(name).map_err(failed)?;
            template.render(self.variables(input)).map_err(failed)
        })
    }

    fn variables(&self, input: &ChatInput<'_>) -> Value {
        let list = |items: Option<&[Json]>| match items {
            Some(items) => items.iter().map(from_json).collect::<Value>(),
            None => Value::from(()),
        };
        let special =
            self.special.iter().map(|(role, token)| (role.to_owned(), Value::from(token)));
        let extra = input.extra.iter().map(|(name, value)| (name.clone(), from_json(value)));
        let given = [
            ("messages", input.messages.iter().map(message).collect::<Value>()),
            ("tools", list(input.tools)),
            ("documents", list(input.documents)),
            ("add_generation_prompt", Value::from(input.add_generation_prompt)),
        ];
        let given = given.map(|(name, value)| (name.to_owned(), value));
        Value::from_pairs(special.chain(extra).chain(given))
    }
}

/// Runs on a thread of its own. A template may nest lists as deep as its budget allows, and dropping or comparing them
/// takes a stack frame or more per level, which no ordinary stack holds. Memory is only used as far as it goes.
fn on_a_deep_stack(
    render: impl FnOnce() -> Result<String, TextError> + Send,
) -> Result<String, TextError> {
    let failure = |message: String| TextError::TemplateFailed { message };
    std::thread::scope(|scope| {
        let thread =
            std::thread::Builder::new().name("chat-template".to_owned()).stack_size(STACK_BYTES);
        let rendering =
            thread.spawn_scoped(scope, render).map_err(|error| failure(error.to_string()))?;
        rendering.join().unwrap_or_else(|_| Err(failure("it made the renderer panic".to_owned())))
    })
}

/// A message without what is `null`: many templates write `None` there, and all can do without. Reasoning that came
/// under one of its names is given under those that templates read.
fn message(message: &Map<String, Json>) -> Value {
    let given = message.iter().filter(|(_, value)| !value.is_null());
    let given = given.map(|(name, value)| (name.clone(), value.clone()));
    let mut aliased = Map::new();
    let Some(reasoning) =
        REASONING.iter().find_map(|name| message.get(*name).filter(|value| !value.is_null()))
    else {
        return Value::from_pairs(given.map(|(name, value)| (name, from_json(&value))));
    };
    aliased.insert("thinking".to_owned(), reasoning.clone());
    aliased.extend(given);
    aliased.insert(REASONING[0].to_owned(), reasoning.clone());
    Value::from_pairs(aliased.iter().map(|(name, value)| (name.clone(), from_json(value))))
}

/// Name and source of every template in `tokenizer_config.json`.
fn sources(config: &Map<String, Json>) -> Result<Vec<(String, String)>, TextError> {
    let wrong = || TextError::Field {
        file: "tokenizer_config.json",
        field: "chat_template".to_owned(),
        expected: "a template or a list of {name, template}",
    };
    match config.get("chat_template") {
        None | Some(Json::Null) => Ok(Vec::new()),
        Some(Json::String(source)) => Ok(vec![(DEFAULT.to_owned(), source.clone())]),
        Some(Json::Array(items)) => {
            let text =
                |item: &Json, name: &str| item.get(name).and_then(Json::as_str).map(str::to_owned);
            let named = |item| Some((text(item, "name")?, text(item, "template")?));
            items.iter().map(|item| named(item).ok_or_else(wrong)).collect()
        }
        Some(_) => Err(wrong()),
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
fn failed(error: minijinja::Error) -> TextError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(current) = cause {
        if let Some(Raised(message)) = current.downcast_ref() {
            return TextError::TemplateRaised { message: message.clone() };
        }
        let kind = current.downcast_ref::<minijinja::Error>().map(minijinja::Error::kind);
        if kind == Some(ErrorKind::OutOfFuel) {
            return TextError::TemplateEndless;
        }
        cause = current.source();
    }
    let detail = error
        .detail()
        .map_or_else(|| error.kind().to_string(), |detail| format!("{}: {detail}", error.kind()));
    let message =
        error.line().map_or_else(|| detail.clone(), |line| format!("{detail} (line {line})"));
    TextError::TemplateFailed { message }
}

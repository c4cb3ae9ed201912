//! Text in and out: tokenizers, detokenising a stream, stop strings, chat templates, generation defaults.

mod characters;
mod chat_template;
mod convert;
mod decoding_config;
mod detokenizer;
mod generation_config;
mod literal;
mod pieces;
mod plain;
mod python_json;
mod sentencepiece;
mod special_tokens;
mod stop;
mod strftime;
mod tables;
mod template_environment;
mod template_methods;
mod tokenizer;

use characters::is_python_space;
pub use chat_template::{ChatInput, ChatTemplate};
pub use convert::Files as TokenizerFiles;
pub use decoding_config::{DecodingConfig, StopRule};
pub use detokenizer::Detokenizer;
pub use generation_config::GenerationConfig;
pub use special_tokens::SpecialTokens;
pub use stop::{StopMatcher, StopOutcome};
pub use tables::{CHANNELS, FlatTables, Table, TableEncoder, TableError, TableTokens};
pub use tokenizer::{Encoding, Tokenizer};

/// Why a repository's text files cannot be used, or a text cannot be turned into tokens or back.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    #[error(
        "no tokenizer.json, and tokenizer_class = {class:?} (model_type {model_type:?}) is none that can be built from what is there: {found}"
    )]
    UnknownTokenizer { class: String, model_type: String, found: String },
    #[error("the tokenizer {class} cannot be built: {source}")]
    Class {
        class: String,
        #[source]
        source: Box<Self>,
    },
    #[error("there is no {file}")]
    NoVocabulary { file: &'static str },
    #[error("{file} is not UTF-8")]
    NotUtf8 { file: &'static str },
    #[error("the vocabulary cannot be used: {message}")]
    Vocabulary { message: String },
    #[error("{file}: `{field}` = {value} is not supported")]
    Unsupported { file: &'static str, field: String, value: String },
    #[error("tokenizer.json cannot be read: {message}")]
    Tokenizer { message: String },
    #[error("{file} is not valid")]
    Json {
        file: &'static str,
        #[source]
        source: serde_json::Error,
    },
    #[error("{file}: `{field}` must be {expected}")]
    Field { file: &'static str, field: String, expected: &'static str },
    #[error("{file}: `{field}` = {value} is not supported")]
    Value { file: &'static str, field: &'static str, value: String },
    #[error("the text cannot be tokenised: {message}")]
    Encode { message: String },
    #[error("the tokens cannot be turned into text: {message}")]
    Decode { message: String },
    #[error("the chat template cannot be compiled: {message}")]
    TemplateSyntax { message: String },
    #[error("the chat template refuses the conversation: {message}")]
    TemplateRaised { message: String },
    #[error("the chat template failed: {message}")]
    TemplateFailed { message: String },
    #[error("the chat template does not come to an end within its budget")]
    TemplateEndless,
    #[error("a conversation needs a message")]
    NoMessages,
    #[error("the model has no default chat template; it has {names}")]
    TemplateName { names: String },
}

impl TextError {
    /// The stable code a client sees.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownTokenizer { .. }
            | Self::Class { .. }
            | Self::NoVocabulary { .. }
            | Self::NotUtf8 { .. }
            | Self::Vocabulary { .. }
            | Self::Unsupported { .. }
            | Self::Tokenizer { .. }
            | Self::Json { .. }
            | Self::Field { .. }
            | Self::Value { .. }
            | Self::TemplateSyntax { .. }
            | Self::TemplateEndless
            | Self::TemplateName { .. } => "format_not_supported",
            Self::NoMessages
            | Self::Encode { .. }
            | Self::TemplateRaised { .. }
            | Self::TemplateFailed { .. } => "invalid_request",
            Self::Decode { .. } => "inference_failed",
        }
    }
}

//! Stages of detokenising that work on text, once tokens have been joined.

use serde_json::Value;
use tokenizers::DecoderWrapper;

use super::decode;
use crate::text::{TextError, is_python_space, literal::Literal};

/// A stage over the joined text, which the reference's decoders see as one token.
#[derive(Clone, Debug)]
pub(super) enum TextStage {
    Replace(Literal),
    /// Cuts up to `left` of a character off the beginning.
    Begin {
        content: char,
        left: usize,
    },
    /// Cuts up to `most` of a character off the end; holds them back till then.
    End {
        content: char,
        most: usize,
        held: usize,
    },
    /// Cuts white space off both ends; holds back what may be the end.
    Strip {
        held: String,
        is_start: bool,
    },
    /// Anything else waits for the whole text.
    Whole {
        decoder: DecoderWrapper,
        text: String,
    },
}

impl TextStage {
    pub(super) fn new(decoder: &DecoderWrapper) -> Vec<Self> {
        match decoder {
            DecoderWrapper::Fuse(_) => Vec::new(),
            DecoderWrapper::Strip(strip) => vec![
                Self::Begin { content: strip.content, left: strip.start },
                Self::End { content: strip.content, most: strip.stop, held: 0 },
            ],
            DecoderWrapper::Replace(replace) => {
                // The library keeps the pattern to itself but writes it down.
                let written = serde_json::to_value(replace).unwrap_or_default();
                let from = written.pointer("/pattern/String").and_then(Value::as_str);
                let to = written.get("content").and_then(Value::as_str);
                match (from, to) {
                    (Some(from), Some(to)) if !from.is_empty() => {
                        vec![Self::Replace(Literal::new(from, to))]
                    }
                    _ => vec![Self::Whole { decoder: decoder.clone(), text: String::new() }],
                }
            }
            _ => vec![Self::Whole { decoder: decoder.clone(), text: String::new() }],
        }
    }

    pub(super) fn push(&mut self, piece: &str) -> String {
        match self {
            Self::Replace(literal) => literal.push(piece),
            Self::Begin { content, left } => {
                let mut rest = piece;
                while *left > 0 && !rest.is_empty() {
                    match rest.strip_prefix(*content) {
                        Some(cut) => (rest, *left) = (cut, *left - 1),
                        None => *left = 0,
                    }
                }
                rest.to_owned()
            }
            Self::End { content, most, held } => {
                let mut text = content.to_string().repeat(*held);
                text.push_str(piece);
                *held = text.chars().rev().take(*most).take_while(|c| c == content).count();
                text.truncate(text.len() - *held * content.len_utf8());
                text
            }
            Self::Strip { held, is_start } => {
                let mut piece = piece;
                if *is_start {
                    piece = piece.trim_start_matches(is_python_space);
                    *is_start = piece.is_empty();
                }
                let kept = piece.trim_end_matches(is_python_space);
                if kept.is_empty() {
                    held.push_str(piece);
                    return String::new();
                }
                let text = std::mem::take(held) + kept;
                held.push_str(&piece[kept.len()..]);
                text
            }
            Self::Whole { text, .. } => {
                text.push_str(piece);
                String::new()
            }
        }
    }

    pub(super) fn finish(&mut self) -> Result<String, TextError> {
        match self {
            Self::Replace(literal) => Ok(literal.finish()),
            Self::Begin { .. } | Self::End { .. } | Self::Strip { .. } => Ok(String::new()),
            Self::Whole { decoder, text } => {
                Ok(decode(decoder, vec![std::mem::take(text)])?.concat())
            }
        }
    }
}

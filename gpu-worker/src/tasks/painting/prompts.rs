//! Texts as the tokens of a pipeline's text encoders, padded to the length that they were trained on.

use serde_json::Value;

use super::super::{Files, PromptIds, texts::cut};
use crate::{
    failure::{Code, Failure},
    text::Tokenizer,
};

/// Text encoders and their tokenizers.
const ENCODERS: [[&str; 2]; 2] = [["text_encoder", "tokenizer"], ["text_encoder_2", "tokenizer_2"]];

pub(super) struct Prompts(Vec<Reader>);

/// What one text encoder reads.
struct Reader {
    tokenizer: Tokenizer,
    length: usize,
    padding: u32,
}

pub(super) struct Prompt {
    pub ids: PromptIds,
    /// How many tokens it had, where it was cut.
    pub cut_from: Option<usize>,
}

impl Prompts {
    pub(super) fn of(files: &Files) -> Result<Self, Failure> {
        let mut readers = Vec::new();
        for [encoder, tokenizer] in ENCODERS {
            if let Some(config) = files.json(&format!("{encoder}/config.json"))? {
                readers.push(Reader::of(files, tokenizer, &config)?);
            }
        }
        if readers.is_empty() {
            return Err(Failure::new(Code::CorruptCheckpoint, "the pipeline has no text_encoder")
                .text("component", "text_encoder"));
        }
        Ok(Self(readers))
    }

    /// `field` is named where the text is too long and may not be cut.
    pub(super) fn ids(&self, text: &str, truncate: bool, field: &str) -> Result<Prompt, Failure> {
        let mut prompt = Prompt { ids: Vec::new(), cut_from: None };
        for reader in &self.0 {
            let mut encoding = reader.tokenizer.encode(text, true)?;
            let (tokens, limit) = (encoding.len(), reader.length);
            if tokens > limit {
                if !truncate {
                    let message = format!(
                        "{field} has {tokens} tokens, the model reads {limit}; options.truncate cuts it"
                    );
                    return Err(Failure::new(Code::InputTooLong, message)
                        .at(field)
                        .number("tokens", tokens as u64)
                        .number("limit", limit as u64));
                }
                cut(&mut encoding, limit);
                prompt.cut_from = prompt.cut_from.max(Some(tokens));
            }
            encoding.ids.resize(limit, reader.padding);
            prompt.ids.push(encoding.ids);
        }
        Ok(prompt)
    }

    /// Tokens of the text as the first encoder reads it, cut or not.
    pub(super) fn count(&self, text: &str) -> Result<u32, Failure> {
        Ok(self.0[0].tokenizer.count(text, true)? as u32)
    }

    /// The most tokens that are read.
    pub(super) fn limit(&self) -> usize {
        self.0.iter().map(|reader| reader.length).min().unwrap_or(0)
    }
}

impl Reader {
    fn of(files: &Files, folder: &str, encoder: &Value) -> Result<Self, Failure> {
        let tokenizer =
            Tokenizer::from_repository(&|path| files.bytes(&format!("{folder}/{path}")))?;
        let positions = encoder.get("max_position_embeddings").and_then(Value::as_u64);
        let positions = positions.map_or(77, |positions| positions as usize);
        let length = tokenizer.model_max_length().map_or(positions, |most| most.min(positions));
        // Without a token of its own for padding the reference pads with the end of a text.
        let padding =
            ["pad_token", "eos_token"].into_iter().find_map(|role| tokenizer.special_id(role));
        let Some(padding) = padding else {
            let message = format!("{folder} names no pad_token, which every text is padded with");
            return Err(Failure::new(Code::CorruptCheckpoint, message).text("component", folder));
        };
        Ok(Self { tokenizer, length, padding })
    }
}

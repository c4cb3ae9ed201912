//! Texts as the tokens of a pipeline's text encoders, padded to the length that they were trained on.
//!
//! Where T5 reads, CLIP reads the beginning of what is too long for it; else a text must be read as a whole.

use serde_json::Value;

use super::super::{Files, PromptIds, texts::cut};
use crate::{
    failure::{Code, Failure},
    models::diffusion::Family,
    text::Tokenizer,
};

/// Text encoders and their tokenizers.
const ENCODERS: [[&str; 2]; 3] = [
    ["text_encoder", "tokenizer"],
    ["text_encoder_2", "tokenizer_2"],
    ["text_encoder_3", "tokenizer_3"],
];

pub(super) struct Prompts(Vec<Reader>);

/// What one text encoder reads.
enum Reader {
    Clip(Lines),
    T5(Lines),
    /// A T5 that the repository does not have: its tokens say nothing, but they are there.
    Missing,
}

struct Lines {
    /// The encoder's name.
    name: &'static str,
    tokenizer: Tokenizer,
    /// Tokens of a text where nothing else is asked for.
    length: usize,
    padding: u32,
}

pub(super) struct Prompt {
    pub ids: PromptIds,
    /// What was not read, if anything was not.
    pub notices: Vec<String>,
}

/// How a text is to be read.
pub(super) struct Reading<'a> {
    /// The text's field, which is named where the text is too long and may not be cut.
    pub field: &'a str,
    pub truncate: bool,
    /// Tokens that T5 reads.
    pub t5_length: Option<usize>,
}

impl Prompts {
    pub(super) fn of(files: &Files, family: Family) -> Result<Self, Failure> {
        let mut readers = Vec::new();
        for [encoder, tokenizer] in ENCODERS {
            if let Some(config) = files.json(&format!("{encoder}/config.json"))? {
                readers.push(Reader::of(files, [encoder, tokenizer], &config, family)?);
            } else if encoder == "text_encoder_3" && family == Family::StableDiffusion3 {
                readers.push(Reader::Missing);
            }
        }
        if !readers.iter().any(|reader| matches!(reader, Reader::Clip(_))) {
            return Err(Failure::new(Code::CorruptCheckpoint, "the pipeline has no text_encoder")
                .text("component", "text_encoder"));
        }
        Ok(Self(readers))
    }

    pub(super) fn ids(&self, text: &str, reading: &Reading) -> Result<Prompt, Failure> {
        let mut prompt = Prompt { ids: Vec::new(), notices: Vec::new() };
        let t5_reads = self.0.iter().any(|reader| matches!(reader, Reader::T5(_)));
        for reader in &self.0 {
            let ids = match reader {
                Reader::Clip(lines) => {
                    lines.read(text, lines.length, reading, t5_reads, &mut prompt.notices)?
                }
                Reader::T5(lines) => {
                    let length = reading.t5_length.unwrap_or(lines.length);
                    lines.read(text, length, reading, false, &mut prompt.notices)?
                }
                Reader::Missing => vec![0; reading.t5_length.unwrap_or(1)],
            };
            prompt.ids.push(ids);
        }
        // Several encoders that were cut at the same place have one notice.
        prompt.notices.dedup();
        Ok(prompt)
    }

    /// Tokens of the text as the first encoder reads it, cut or not.
    pub(super) fn count(&self, text: &str) -> Result<u32, Failure> {
        let lines = self.0.iter().find_map(Reader::lines);
        let lines = lines.expect("a pipeline without any text encoder is refused");
        Ok(lines.tokenizer.count(text, true)? as u32)
    }
}

impl Reader {
    fn of(
        files: &Files,
        [name, folder]: [&'static str; 2],
        encoder: &Value,
        family: Family,
    ) -> Result<Self, Failure> {
        let tokenizer =
            Tokenizer::from_repository(&|path| files.bytes(&format!("{folder}/{path}")));
        let tokenizer = tokenizer.map_err(|error| {
            let failure = Failure::from(error);
            let message = format!("{folder}: {}", failure.message);
            Failure { message, ..failure }.text("component", folder)
        })?;
        // Without a token of its own for padding the reference pads with the end of a text.
        let padding =
            ["pad_token", "eos_token"].into_iter().find_map(|role| tokenizer.special_id(role));
        let Some(padding) = padding else {
            let message = format!("{folder} names no pad_token, which every text is padded with");
            return Err(Failure::new(Code::CorruptCheckpoint, message).text("component", folder));
        };
        let is_t5 = encoder.get("model_type").and_then(Value::as_str) == Some("t5");
        if let (true, Some(length)) = (is_t5, family.t5_length()) {
            return Ok(Self::T5(Lines { name, tokenizer, length, padding }));
        }
        let positions = encoder.get("max_position_embeddings").and_then(Value::as_u64);
        let positions = positions.map_or(77, |positions| positions as usize);
        let length = tokenizer.model_max_length().map_or(positions, |most| most.min(positions));
        Ok(Self::Clip(Lines { name, tokenizer, length, padding }))
    }

    fn lines(&self) -> Option<&Lines> {
        match self {
            Self::Clip(lines) | Self::T5(lines) => Some(lines),
            Self::Missing => None,
        }
    }
}

impl Lines {
    /// So many ids. `only_begins`: that what is too long is not read to its end is no reason to refuse it.
    fn read(
        &self,
        text: &str,
        length: usize,
        reading: &Reading,
        only_begins: bool,
        notices: &mut Vec<String>,
    ) -> Result<Vec<u32>, Failure> {
        let mut encoding = self.tokenizer.encode(text, true)?;
        let (tokens, field) = (encoding.len(), reading.field);
        if tokens > length {
            if !reading.truncate && !only_begins {
                let message = format!(
                    "{field} has {tokens} tokens, the model reads {length}; options.truncate cuts it"
                );
                return Err(Failure::new(Code::InputTooLong, message)
                    .at(field)
                    .number("tokens", tokens as u64)
                    .number("limit", length as u64));
            }
            cut(&mut encoding, length);
            notices.push(if only_begins {
                let name = self.name;
                format!("of {field}, {name} reads {length} of {tokens} tokens; T5 reads on")
            } else {
                format!("{field} was cut from {tokens} tokens to {length}")
            });
        }
        encoding.ids.resize(length, self.padding);
        Ok(encoding.ids)
    }
}

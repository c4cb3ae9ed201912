//! Defaults of writing a target text: beams and constraints of `generation_config.json`.
//!
//! Reference: `transformers/generation/configuration_utils.py`.

use serde_json::{Map, Value};

use super::{
    TextError,
    generation_config::{FILE, Fields},
};

/// When a beam search stops early, as the file says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopRule {
    /// `false`
    Heuristic,
    /// `true`
    AtOnce,
    /// `"never"`
    Never,
}

/// What a repository says about how its model writes, beside [`super::GenerationConfig`]. Nothing is validated but the
/// types; what would change the answer and is not known here is refused.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DecodingConfig {
    pub num_beams: Option<u32>,
    pub num_return_sequences: Option<u32>,
    pub length_penalty: Option<f64>,
    pub early_stopping: Option<StopRule>,
    pub no_repeat_ngram_size: Option<u32>,
    pub encoder_no_repeat_ngram_size: Option<u32>,
    pub bad_words_ids: Vec<Vec<u32>>,
    pub forced_bos_token_id: Option<u32>,
    pub forced_eos_token_ids: Vec<u32>,
    /// After how many tokens the end becomes likelier, and by which factor.
    pub exponential_decay_length_penalty: Option<(u32, f64)>,
    pub suppress_tokens: Vec<u32>,
    pub begin_suppress_tokens: Vec<u32>,
    pub renormalize_logits: bool,
}

/// Fields that change the answer, and the values at which they don't.
const UNKNOWN: [(&str, &[f64]); 13] = [
    ("constraints", &[]),
    ("diversity_penalty", &[0.0]),
    ("dola_layers", &[]),
    ("encoder_repetition_penalty", &[1.0]),
    ("force_words_ids", &[]),
    ("forced_decoder_ids", &[]),
    ("guidance_scale", &[1.0]),
    ("max_time", &[]),
    ("num_beam_groups", &[0.0, 1.0]),
    ("penalty_alpha", &[0.0]),
    ("sequence_bias", &[]),
    ("top_h", &[]),
    ("watermarking_config", &[]),
];

impl DecodingConfig {
    /// Of the file's values.
    pub fn of(values: &Map<String, Value>) -> Result<Self, TextError> {
        for (field, neutral) in UNKNOWN {
            let is_neutral = match values.get(field) {
                None | Some(Value::Null) => true,
                Some(Value::Array(items)) => items.is_empty(),
                Some(value) => value.as_f64().is_some_and(|value| neutral.contains(&value)),
            };
            if !is_neutral {
                let value = values.get(field).map(Value::to_string).unwrap_or_default();
                return Err(TextError::Value { file: FILE, field, value });
            }
        }
        let fields = Fields { file: FILE, values };
        Ok(Self {
            num_beams: fields.count("num_beams")?,
            num_return_sequences: fields.count("num_return_sequences")?,
            length_penalty: fields.number("length_penalty")?,
            early_stopping: fields.get("early_stopping", "true, false or \"never\"", |value| {
                match value {
                    Value::Bool(true) => Some(StopRule::AtOnce),
                    Value::Bool(false) => Some(StopRule::Heuristic),
                    Value::String(word) if word == "never" => Some(StopRule::Never),
                    _ => None,
                }
            })?,
            no_repeat_ngram_size: fields.count("no_repeat_ngram_size")?,
            encoder_no_repeat_ngram_size: fields.count("encoder_no_repeat_ngram_size")?,
            bad_words_ids: fields
                .get("bad_words_ids", "a list of lists of token ids", |value| {
                    value.as_array()?.iter().map(words).collect::<Option<Vec<_>>>()
                })?
                .unwrap_or_default(),
            forced_bos_token_id: fields.id("forced_bos_token_id")?,
            forced_eos_token_ids: fields.ids("forced_eos_token_id")?,
            exponential_decay_length_penalty: fields.get(
                "exponential_decay_length_penalty",
                "a number of tokens and a factor above 0",
                decay,
            )?,
            suppress_tokens: fields.ids("suppress_tokens")?,
            begin_suppress_tokens: fields.ids("begin_suppress_tokens")?,
            renormalize_logits: fields
                .get("renormalize_logits", "true or false", Value::as_bool)?
                .unwrap_or(false),
        })
    }
}

fn decay(value: &Value) -> Option<(u32, f64)> {
    match value.as_array()?.as_slice() {
        [start, factor] => {
            let factor = factor.as_f64().filter(|&factor| factor > 0.0)?;
            Some((start.as_u64()?.try_into().ok()?, factor))
        }
        _ => None,
    }
}

fn words(value: &Value) -> Option<Vec<u32>> {
    value.as_array()?.iter().map(|id| id.as_u64()?.try_into().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<DecodingConfig, TextError> {
        DecodingConfig::of(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn marians_file_is_read() {
        let read = read(
            r#"{"bad_words_ids": [[58100]], "forced_eos_token_id": 0, "max_length": 512, "num_beams": 4,
                "renormalize_logits": true, "early_stopping": "never", "typical_p": 1.0, "guidance_scale": null}"#,
        )
        .unwrap();
        assert_eq!((read.bad_words_ids, read.num_beams), (vec![vec![58100]], Some(4)));
        assert_eq!(read.early_stopping, Some(StopRule::Never));
        assert!(read.renormalize_logits);
    }

    #[test]
    fn what_would_change_the_answer_and_is_not_known_is_refused_by_name() {
        for (text, expected) in [
            (r#"{"top_h": 0.9}"#, "`top_h` = 0.9 is not supported"),
            (
                r#"{"exponential_decay_length_penalty": [2, 0]}"#,
                "`exponential_decay_length_penalty` must be a number of tokens and a factor above 0",
            ),
            (r#"{"force_words_ids": [[1]]}"#, "`force_words_ids` = [[1]] is not supported"),
            (r#"{"early_stopping": "soon"}"#, "`early_stopping` must be true, false"),
            (r#"{"bad_words_ids": [1]}"#, "`bad_words_ids` must be a list of lists"),
        ] {
            let refusal = read(text).unwrap_err().to_string();
            assert!(refusal.contains(expected), "{refusal}");
        }
    }
}

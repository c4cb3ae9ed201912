//! Defaults of text generation: `generation_config.json`, with `config.json` behind it.
//!
//! Reference: `transformers/generation/configuration_utils.py`.

use serde_json::{Map, Value};

use super::TextError;

pub(super) const FILE: &str = "generation_config.json";
const FALLBACK: &str = "config.json";

/// What a repository says about how its model generates. Nothing is validated here but the types;
/// ranges are checked where options are resolved.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GenerationConfig {
    pub bos_token_id: Option<u32>,
    /// Any of these ends the text. Empty: the model never ends by itself.
    pub eos_token_ids: Vec<u32>,
    pub pad_token_id: Option<u32>,
    pub decoder_start_token_id: Option<u32>,
    pub do_sample: Option<bool>,
    pub temperature: Option<f64>,
    pub top_k: Option<u32>,
    pub top_p: Option<f64>,
    pub min_p: Option<f64>,
    pub typical_p: Option<f64>,
    pub epsilon_cutoff: Option<f64>,
    pub eta_cutoff: Option<f64>,
    pub repetition_penalty: Option<f64>,
    /// Tokens that may be generated.
    pub max_new_tokens: Option<u32>,
    pub min_new_tokens: Option<u32>,
    /// Prompt and generated tokens together.
    pub max_length: Option<u32>,
    /// Prompt and generated tokens together.
    pub min_length: Option<u32>,
    /// Any of these ends the text too.
    pub stop_strings: Vec<String>,
}

impl GenerationConfig {
    /// Reads both files. Without `generation_config.json` every value comes from `config.json`, as in the reference;
    /// with it `config.json` still gives the token ids that it leaves out. In `config.json` a nested `text_config`
    /// stands behind the outer values.
    pub fn from_files(
        generation_config: Option<&str>,
        config: Option<&str>,
    ) -> Result<Self, TextError> {
        let mut fallback =
            config.map(|text| object(FALLBACK, text)).transpose()?.unwrap_or_default();
        if let Some(Value::Object(nested)) = fallback.remove("text_config") {
            for (name, value) in nested {
                let outer = fallback.entry(name).or_insert(Value::Null);
                if outer.is_null() {
                    *outer = value;
                }
            }
        }
        let Some(text) = generation_config else {
            return Fields { file: FALLBACK, values: &fallback }.read();
        };
        let mut read = Fields { file: FILE, values: &object(FILE, text)? }.read()?;
        let behind = Fields { file: FALLBACK, values: &fallback };
        if read.eos_token_ids.is_empty() {
            read.eos_token_ids = behind.ids("eos_token_id")?;
        }
        for (id, name) in [
            (&mut read.bos_token_id, "bos_token_id"),
            (&mut read.pad_token_id, "pad_token_id"),
            (&mut read.decoder_start_token_id, "decoder_start_token_id"),
        ] {
            if id.is_none() {
                *id = behind.id(name)?;
            }
        }
        Ok(read)
    }
}

fn object(file: &'static str, text: &str) -> Result<Map<String, Value>, TextError> {
    serde_json::from_str(text).map_err(|source| TextError::Json { file, source })
}

/// One file's values, read by name with their types checked.
pub(super) struct Fields<'a> {
    pub(super) file: &'static str,
    pub(super) values: &'a Map<String, Value>,
}

impl Fields<'_> {
    fn read(&self) -> Result<GenerationConfig, TextError> {
        Ok(GenerationConfig {
            bos_token_id: self.id("bos_token_id")?,
            eos_token_ids: self.ids("eos_token_id")?,
            pad_token_id: self.id("pad_token_id")?,
            decoder_start_token_id: self.id("decoder_start_token_id")?,
            do_sample: self.get("do_sample", "true or false", Value::as_bool)?,
            temperature: self.number("temperature")?,
            top_k: self.count("top_k")?,
            top_p: self.number("top_p")?,
            min_p: self.number("min_p")?,
            typical_p: self.number("typical_p")?,
            epsilon_cutoff: self.number("epsilon_cutoff")?,
            eta_cutoff: self.number("eta_cutoff")?,
            repetition_penalty: self.number("repetition_penalty")?,
            max_new_tokens: self.count("max_new_tokens")?,
            min_new_tokens: self.count("min_new_tokens")?,
            max_length: self.count("max_length")?,
            min_length: self.count("min_length")?,
            stop_strings: self
                .get("stop_strings", "a text or a list of them", texts)?
                .unwrap_or_default(),
        })
    }

    pub(super) fn get<T>(
        &self,
        name: &str,
        expected: &'static str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, TextError> {
        match self.values.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| TextError::Field {
                file: self.file,
                field: name.to_owned(),
                expected,
            }),
        }
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<f64>, TextError> {
        self.get(name, "a number", Value::as_f64)
    }

    pub(super) fn count(&self, name: &str) -> Result<Option<u32>, TextError> {
        self.get(name, "a whole number", |value| value.as_u64()?.try_into().ok())
    }

    /// The first of the ids; a decoder's start or a padding id can only be one.
    pub(super) fn id(&self, name: &str) -> Result<Option<u32>, TextError> {
        Ok(self.ids(name)?.first().copied())
    }

    /// One id or a list. A negative id is how some repositories write that there is none.
    pub(super) fn ids(&self, name: &str) -> Result<Vec<u32>, TextError> {
        let read = |value: &Value| match value {
            Value::Array(items) => items.iter().map(Value::as_i64).collect::<Option<Vec<_>>>(),
            one => Some(vec![one.as_i64()?]),
        };
        let ids = self.get(name, "a token id or a list of them", read)?.unwrap_or_default();
        Ok(ids.into_iter().filter_map(|id| u32::try_from(id).ok()).collect())
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(one) => Some(vec![one.clone()]),
        several => several.as_array()?.iter().map(|one| Some(one.as_str()?.to_owned())).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_may_end_at_one_string_or_several() {
        let read = |text: &str| GenerationConfig::from_files(Some(text), None);
        for (text, expected) in [
            (r#"{"stop_strings": "User:"}"#, vec!["User:"]),
            (r#"{"stop_strings": ["User:", "\n\n"]}"#, vec!["User:", "\n\n"]),
            (r#"{"stop_strings": null}"#, vec![]),
        ] {
            assert_eq!(read(text).unwrap().stop_strings, expected);
        }
        assert!(read(r#"{"stop_strings": [7]}"#).is_err());
    }

    #[test]
    fn an_end_may_be_one_id_or_several() {
        let one = GenerationConfig::from_files(Some(r#"{"eos_token_id": 2}"#), None).unwrap();
        let several =
            GenerationConfig::from_files(Some(r#"{"eos_token_id": [2, 7]}"#), None).unwrap();
        assert_eq!((one.eos_token_ids, several.eos_token_ids), (vec![2], vec![2, 7]));
    }

    #[test]
    fn the_model_config_stands_behind() {
        let config =
            r#"{"text_config": {"eos_token_id": 5, "temperature": 0.5}, "bos_token_id": 1}"#;
        let alone = GenerationConfig::from_files(None, Some(config)).unwrap();
        assert_eq!(
            (alone.eos_token_ids, alone.temperature, alone.bos_token_id),
            (vec![5], Some(0.5), Some(1))
        );
        let behind = GenerationConfig::from_files(Some(r#"{"top_k": 3}"#), Some(config)).unwrap();
        assert_eq!(
            (behind.eos_token_ids, behind.temperature, behind.top_k),
            (vec![5], None, Some(3))
        );
    }

    #[test]
    fn a_negative_id_means_none() {
        let read = GenerationConfig::from_files(
            Some(r#"{"pad_token_id": -1, "eos_token_id": null}"#),
            None,
        )
        .unwrap();
        assert_eq!((read.pad_token_id, read.eos_token_ids), (None, vec![]));
    }

    #[test]
    fn a_wrong_type_names_file_and_field() {
        let error = GenerationConfig::from_files(Some(r#"{"top_p": "much"}"#), None).unwrap_err();
        assert_eq!(error.to_string(), "generation_config.json: `top_p` must be a number");
        assert!(GenerationConfig::from_files(Some("[]"), None).is_err());
    }
}

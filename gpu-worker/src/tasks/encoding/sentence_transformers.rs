//! What a sentence-transformers repository says about pooling, scaling, prompts and length.
//!
//! Reference: `sentence_transformers/SentenceTransformer.py` and `sentence_transformers/models/`.
//! A repository without `modules.json` is a plain encoder: mean pooling, as the reference then chooses.

use serde_json::Value;

use crate::{
    failure::{Code, Failure},
    tasks::{Files, Pooling, TokenRow},
    text::{Encoding, Tokenizer},
};

pub struct SentenceModules {
    tokenizer: Tokenizer,
    pub pooling: Pooling,
    /// Its last module scales vectors to length 1.
    pub normalizes: bool,
    /// Length of a vector, where the config says so.
    pub dim: Option<usize>,
    /// Most tokens of a text, special ones included.
    max_tokens: Option<usize>,
    lowercases: bool,
    pools_prompt: bool,
    prompts: Vec<(String, String)>,
    default_prompt: Option<String>,
}

impl SentenceModules {
    pub fn read(files: &Files) -> Result<Self, Failure> {
        let tokenizer = crate::tasks::tokenizer(files)?;
        let config = files.json("config.json")?.unwrap_or_default();
        let number = |value: &Value, name: &str| {
            value.get(name).and_then(Value::as_u64).map(|number| number as usize)
        };
        let transformer = files.json("sentence_bert_config.json")?.unwrap_or_default();
        let limits = [
            number(&transformer, "max_seq_length"),
            number(&config, "max_position_embeddings"),
            tokenizer.model_max_length(),
        ];
        let mut modules = Self {
            pooling: Pooling::Mean,
            normalizes: false,
            dim: number(&config, "hidden_size").or(number(&config, "d_model")),
            max_tokens: limits.into_iter().flatten().min(),
            lowercases: transformer.get("do_lower_case").and_then(Value::as_bool).unwrap_or(false),
            pools_prompt: true,
            prompts: Vec::new(),
            default_prompt: None,
            tokenizer,
        };
        if let Some(list) = files.json("modules.json")? {
            modules.read_modules(files, &list)?;
        }
        modules.read_prompts(&files.json("config_sentence_transformers.json")?.unwrap_or_default());
        Ok(modules)
    }

    fn read_modules(&mut self, files: &Files, list: &Value) -> Result<(), Failure> {
        for module in list.as_array().into_iter().flatten() {
            let field = |name: &str| module.get(name).and_then(Value::as_str).unwrap_or_default();
            match field("type").rsplit('.').next().unwrap_or_default() {
                "Transformer" => {}
                "Normalize" => self.normalizes = true,
                "Pooling" => {
                    let path = format!("{}/config.json", field("path"));
                    let config = files.json(&path)?.ok_or_else(|| {
                        Failure::new(Code::CorruptCheckpoint, format!("{path} is missing"))
                            .text("file", path.as_str())
                    })?;
                    self.read_pooling(&config)?;
                }
                other => {
                    let message =
                        format!("the sentence-transformers module {other:?} cannot be run yet");
                    return Err(
                        Failure::new(Code::FormatNotSupported, message).text("module", other)
                    );
                }
            }
        }
        Ok(())
    }

    fn read_pooling(&mut self, config: &Value) -> Result<(), Failure> {
        const MODES: &[(&str, &str, Pooling)] = &[
            ("pooling_mode_cls_token", "cls", Pooling::Cls),
            ("pooling_mode_mean_tokens", "mean", Pooling::Mean),
            ("pooling_mode_max_tokens", "max", Pooling::Max),
            ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", Pooling::MeanSqrtLen),
            ("pooling_mode_weightedmean_tokens", "weightedmean", Pooling::WeightedMean),
            ("pooling_mode_lasttoken", "lasttoken", Pooling::Last),
        ];
        let named = config.get("pooling_mode").and_then(Value::as_str);
        let is_on = |flag: &str| config.get(flag).and_then(Value::as_bool).unwrap_or(false);
        let chosen: Vec<Pooling> = MODES
            .iter()
            .filter(|(flag, name, _)| named.map_or_else(|| is_on(flag), |named| named == *name))
            .map(|&(_, _, pooling)| pooling)
            .collect();
        let [pooling] = chosen[..] else {
            let message = "the Pooling module does not choose exactly one way of pooling, which cannot be run yet";
            return Err(Failure::new(Code::FormatNotSupported, message).text("module", "Pooling"));
        };
        self.pooling = pooling;
        self.pools_prompt = config.get("include_prompt").and_then(Value::as_bool).unwrap_or(true);
        Ok(())
    }

    fn read_prompts(&mut self, config: &Value) {
        let prompts = config.get("prompts").and_then(Value::as_object);
        self.prompts = prompts
            .into_iter()
            .flatten()
            .filter_map(|(name, text)| Some((name.clone(), text.as_str()?.to_owned())))
            .collect();
        self.default_prompt =
            config.get("default_prompt_name").and_then(Value::as_str).map(str::to_owned);
    }

    /// The text of a named prompt, or of the model's default one; empty when there is none.
    pub fn prompt(&self, name: Option<&str>) -> Result<&str, Failure> {
        let Some(wanted) = name.or(self.default_prompt.as_deref()) else { return Ok("") };
        match self.prompts.iter().find(|(known, _)| known == wanted) {
            Some((_, text)) => Ok(text),
            None => {
                let known = self.prompts.iter().map(|(name, _)| name.clone()).collect();
                Err(Failure::invalid(
                    "options.prompt_name",
                    format!("is {wanted:?}, which this model does not have"),
                )
                .texts("prompts", known))
            }
        }
    }

    /// The text of the first of these prompts that the model has, else of its default one.
    pub fn prompt_of(&self, names: &[&str]) -> Result<&str, Failure> {
        let known = |name: &&&str| self.prompts.iter().any(|(known, _)| known == **name);
        self.prompt(names.iter().find(known).copied())
    }

    /// The tokens of every text behind `prompt`.
    pub fn rows(
        &self,
        texts: &[String],
        prompt: &str,
        truncate: bool,
        field: &str,
    ) -> Result<Vec<TokenRow>, Failure> {
        let prompt_tokens = if prompt.is_empty() || self.pools_prompt {
            0
        } else {
            // Without the special token at its end.
            self.tokenizer.encode(prompt, true)?.ids.len().saturating_sub(1)
        };
        texts.iter().map(|text| self.row(text, prompt, prompt_tokens, truncate, field)).collect()
    }

    fn row(
        &self,
        text: &str,
        prompt: &str,
        prompt_tokens: usize,
        truncate: bool,
        field: &str,
    ) -> Result<TokenRow, Failure> {
        let text = if self.lowercases {
            format!("{prompt}{text}").to_lowercase()
        } else {
            format!("{prompt}{text}")
        };
        let mut encoding = self.tokenizer.encode(&text, true)?;
        if encoding.ids.is_empty() {
            return Err(Failure::invalid(field, "has no tokens"));
        }
        if let Some(limit) = self.max_tokens.filter(|&limit| encoding.ids.len() > limit) {
            if !truncate {
                let message = format!("has {} tokens, the model takes {limit}", encoding.ids.len());
                return Err(Failure::new(Code::InputTooLong, format!("{field} {message}"))
                    .at(field)
                    .number("tokens", encoding.ids.len() as u64)
                    .number("limit", limit as u64));
            }
            encoding = cut(encoding, limit);
        }
        Ok(TokenRow { ids: encoding.ids, type_ids: encoding.type_ids, prompt_tokens })
    }
}

/// The first tokens, with the special ones that end a text kept at its end.
fn cut(mut encoding: Encoding, limit: usize) -> Encoding {
    let ending = encoding.special.iter().rev().take_while(|&&special| special).count().min(limit);
    let gap = limit - ending..encoding.ids.len() - ending;
    encoding.ids.drain(gap.clone());
    encoding.type_ids.drain(gap.clone());
    encoding.special.drain(gap);
    encoding
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cutting_keeps_the_token_that_ends_a_text() {
        let special = vec![true, false, false, false, true];
        let encoding = Encoding {
            ids: vec![101, 1, 2, 3, 102],
            type_ids: vec![0; 5],
            offsets: vec![(0, 0); 5],
            sequence: vec![None; 5],
            words: vec![None; 5],
            special,
        };
        assert_eq!(cut(encoding, 3).ids, [101, 1, 102]);
    }
}

//! What a repository says about how its model writes, for each task that it names in `task_specific_params`.

use serde_json::{Map, Value};

use super::languages::Pair;
use crate::{
    failure::{Code, Failure},
    tasks::Files,
    text::{DecodingConfig, GenerationConfig},
};

/// The defaults of one task.
#[derive(Clone, Debug)]
pub struct Defaults {
    pub generation: GenerationConfig,
    pub decoding: DecodingConfig,
    /// What stands before every text (`summarize: `).
    pub prefix: String,
}

pub struct DefaultsByTask {
    general: Defaults,
    /// By the names of the file: `summarization`, `translation_en_to_de` …
    by_name: Vec<(String, Defaults)>,
}

impl DefaultsByTask {
    pub fn of(files: &Files) -> Result<Self, Failure> {
        let config = object(files, "config.json")?.unwrap_or_default();
        let generation = object(files, "generation_config.json")?;
        let specific = config.get("task_specific_params").and_then(Value::as_object);
        let read = |own: &Map<String, Value>| {
            // Without a file of its own all stands in the model's config, as in the reference.
            let mut values = generation.clone().unwrap_or_else(|| config.clone());
            values.extend(own.iter().map(|(name, value)| (name.clone(), value.clone())));
            let prefix = own.get("prefix").or(config.get("prefix")).and_then(Value::as_str);
            let text = Value::Object(values.clone()).to_string();
            Ok::<_, Failure>(Defaults {
                generation: GenerationConfig::from_files(Some(&text), files.text("config.json"))?,
                decoding: DecodingConfig::of(&values)?,
                prefix: prefix.unwrap_or_default().to_owned(),
            })
        };
        let by_name = specific
            .into_iter()
            .flatten()
            .map(|(name, own)| Ok((name.clone(), read(params(name, own)?)?)))
            .collect::<Result<_, Failure>>()?;
        Ok(Self { general: read(&Map::new())?, by_name })
    }

    pub fn clear_prefixes(&mut self) {
        self.general.prefix.clear();
        self.by_name.iter_mut().for_each(|(_, defaults)| defaults.prefix.clear());
    }

    /// The task's own where the file names it, else those of the model.
    pub fn of_task(&self, task: &str) -> &Defaults {
        self.named(task).unwrap_or(&self.general)
    }

    /// Of a pair of languages, in a model that the file gives such pairs; nothing where it doesn't, or none is asked for.
    pub fn of_pair(&self, pair: &Pair) -> Result<Option<&Defaults>, Failure> {
        let pairs: Vec<(&str, &str)> =
            self.by_name.iter().filter_map(|(name, _)| languages(name)).collect();
        if pairs.is_empty() || *pair == Pair::default() {
            return Ok(None);
        }
        let fits =
            |asked: &Option<String>, own: &str| asked.as_deref().is_none_or(|asked| asked == own);
        let fitting: Vec<&(&str, &str)> = pairs
            .iter()
            .filter(|(source, target)| fits(&pair.source, source) && fits(&pair.target, target))
            .collect();
        let name = match fitting.as_slice() {
            [(source, target)] => format!("translation_{source}_to_{target}"),
            _ => {
                let known = pairs.iter().map(|(source, target)| format!("{source} to {target}"));
                let message = "does not choose one of the pairs that this model knows";
                return Err(
                    Failure::invalid("inputs.tgt_lang", message).texts("known", known.collect())
                );
            }
        };
        Ok(self.named(&name))
    }

    fn named(&self, name: &str) -> Option<&Defaults> {
        self.by_name.iter().find(|(known, _)| known == name).map(|(_, defaults)| defaults)
    }
}

/// The parameters of one task.
fn params<'a>(name: &str, own: &'a Value) -> Result<&'a Map<String, Value>, Failure> {
    own.as_object().ok_or_else(|| {
        let message = format!("config.json: `task_specific_params.{name}` must be an object");
        Failure::new(Code::CorruptCheckpoint, message)
    })
}

/// `en` and `de` of `translation_en_to_de`.
fn languages(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix("translation_")?.split_once("_to_")
}

fn object(files: &Files, path: &str) -> Result<Option<Map<String, Value>>, Failure> {
    match files.json(path)? {
        None => Ok(None),
        Some(Value::Object(fields)) => Ok(Some(fields)),
        Some(_) => Err(Failure::new(Code::CorruptCheckpoint, format!("{path} holds no object"))),
    }
}

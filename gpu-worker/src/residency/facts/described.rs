//! What a repository says that it is: one model, or a pipeline of several.
//!
//! A pipeline is loaded as if it were one model: its class is its architecture, its config is one document
//!
//! ```json
//! {"_class_name": …, "index": model_index.json, "components": {"unet": unet/config.json, "scheduler": …}}
//! ```
//!
//! and its tensors have the names of their folders before their own.

use serde_json::{Map, Value, json};

use super::bare::Bare;
use crate::{
    failure::{Code, Failure},
    hub::{Repository, select::inside},
    models::diffusion::needs_float32,
    tasks::Files,
};

/// A part that has weights.
pub(super) struct PartConfig {
    /// Empty for the repository's root.
    pub(super) folder: String,
    pub(super) config: Value,
    /// Its checkpoint, where that has a name of its own.
    pub(super) file: Option<String>,
    /// It is float32 also where the rest is a half type.
    pub(super) in_float32: bool,
}

pub(super) struct Described {
    pub(super) config: String,
    pub(super) model_type: String,
    pub(super) parts: Vec<PartConfig>,
}

/// Ends of the classes that have no weights, with the file that configures them, if a pipeline cannot do without it.
const WITHOUT_WEIGHTS: [(&str, Option<&str>); 7] = [
    ("Scheduler", Some("scheduler_config.json")),
    ("Tokenizer", None),
    ("TokenizerFast", None),
    ("ImageProcessor", None),
    ("ImageProcessorFast", None),
    ("FeatureExtractor", None),
    ("Processor", None),
];

impl Described {
    pub(super) fn single(files: &Files, config: Value) -> Self {
        let model_type = config.get("model_type").and_then(Value::as_str).unwrap_or_default();
        Self {
            config: files.text("config.json").unwrap_or_default().to_owned(),
            model_type: model_type.to_owned(),
            parts: vec![PartConfig {
                folder: String::new(),
                config,
                file: None,
                in_float32: false,
            }],
        }
    }

    /// Of a repository without a config.
    pub(super) fn bare(Bare { config, file }: Bare) -> Self {
        let model_type = config.get("model_type").and_then(Value::as_str).unwrap_or_default();
        Self {
            config: config.to_string(),
            model_type: model_type.to_owned(),
            parts: vec![PartConfig {
                folder: String::new(),
                config,
                file: Some(file),
                in_float32: false,
            }],
        }
    }

    /// Of a repository with a `model_index.json`. A component that the index names and the repository lacks is an error
    /// that names it. `in_root` is the one whose weights lie in no folder.
    pub(super) fn pipeline(
        repository: &Repository,
        files: &Files,
        index: &Value,
        in_root: Option<&str>,
    ) -> Result<Self, Failure> {
        let id = repository.model_id();
        let class = index.get("_class_name").and_then(Value::as_str);
        let (Some(class), Some(entries)) = (class, index.as_object()) else {
            let message = "model_index.json names no pipeline (_class_name)";
            return Err(Failure::new(Code::CorruptCheckpoint, message));
        };
        let (mut parts, mut configs) = (Vec::new(), Map::new());
        for (name, of) in components(entries) {
            let without = WITHOUT_WEIGHTS.iter().find(|(end, _)| of.ends_with(end));
            let file = without.map_or(Some("config.json"), |(_, file)| *file);
            let Some(file) = file else { continue };
            let path = inside(name, file);
            let Some(config) = files.json(&path)? else {
                let message = format!("{id} has no {path}, which its model_index.json asks for");
                return Err(Failure::new(Code::CorruptCheckpoint, message)
                    .text("component", name)
                    .text("file", path));
            };
            configs.insert(name.to_owned(), config.clone());
            if without.is_none() {
                let in_float32 = needs_float32(of, &config);
                let folder = if in_root == Some(name) { "" } else { name }.to_owned();
                parts.push(PartConfig { folder, config, file: None, in_float32 });
            }
        }
        let config = json!({"_class_name": class, "index": index, "components": configs});
        Ok(Self { config: config.to_string(), model_type: class.to_owned(), parts })
    }
}

/// Names and classes of the components that are there: `["diffusers", "AutoencoderKL"]`, but not `[null, null]`, and not
/// what the index says beside them.
pub(super) fn components(index: &Map<String, Value>) -> impl Iterator<Item = (&str, &str)> {
    index.iter().filter_map(|(name, of)| match of.as_array().map(Vec::as_slice) {
        Some([library, class]) => {
            library.as_str().and(class.as_str()).map(|of| (name.as_str(), of))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_the_pairs_of_names() {
        let index = json!({
            "_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.30.0",
            "unet": ["diffusers", "UNet2DConditionModel"], "safety_checker": [null, null],
            "requires_safety_checker": false, "odd": ["one"], "other": [1, 2],
            "scheduler": ["diffusers", "DDIMScheduler"],
        });
        let mut found: Vec<(&str, &str)> = components(index.as_object().unwrap()).collect();
        found.sort_unstable();
        assert_eq!(found, [("scheduler", "DDIMScheduler"), ("unet", "UNet2DConditionModel")]);
    }
}

//! Which files of a repository hold its weights. Pure: file names, `config.json` and the shard index in, paths out.

mod formats;
mod pickles;

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use super::RepoFile;

pub use self::pickles::{TORCH_BIN, is_torch, pickle_files, pickles_index};

/// Names that `transformers` and `diffusers` give to weights, before `.safetensors`.
const STEMS: [&str; 3] = ["model", "diffusion_pytorch_model", "pytorch_model"];

/// What is being looked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct WeightsQuery<'a> {
    /// Folder of the component, such as `unet`; empty: the repository's root.
    pub folder: &'a str,
    /// The component's `config.json`, which says whether its weights are quantised.
    pub config: Option<&'a Value>,
    /// Variant to prefer where there is one, such as `fp16`.
    pub variant: Option<&'a str>,
}

/// The files to fetch, and no others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightFiles {
    /// Safetensors files, each once, sorted.
    pub files: Vec<String>,
    /// The shard index, where there are shards.
    pub index: Option<String>,
    /// The variant these are.
    pub variant: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    #[error(
        "the weights are {format}, which is not supported; safetensors and pytorch_model.bin are"
    )]
    FormatNotSupported { format: String },
    #[error("the repository has no weights in {place}")]
    NoWeights { place: String },
    #[error("the shard index {path} must be read to know the weight files")]
    IndexNeeded { path: String },
    #[error("the shard index {path} cannot be read")]
    IndexInvalid { path: String, source: serde_json::Error },
    #[error("the shard index {path} names no file")]
    IndexEmpty { path: String },
    #[error("the shard index {path} names files that are missing: {}", missing.join(", "))]
    ShardsMissing { path: String, missing: Vec<String> },
}

impl SelectError {
    /// The stable code of the error envelope.
    pub fn code(&self) -> &'static str {
        match self {
            Self::FormatNotSupported { .. } | Self::NoWeights { .. } => "format_not_supported",
            Self::IndexNeeded { .. } => "load_failed",
            Self::IndexInvalid { .. } | Self::IndexEmpty { .. } | Self::ShardsMissing { .. } => {
                "corrupt_checkpoint"
            }
        }
    }
}

#[derive(Deserialize)]
struct ShardIndex {
    weight_map: std::collections::HashMap<String, String>,
}

/// One way in which weights are stored here.
struct Candidate<'a> {
    path: &'a str,
    variant: Option<&'a str>,
    is_index: bool,
}

/// The shard index that has to be fetched before [`select_weights`] can answer; `None` where there are no shards.
pub fn weights_index(files: &[RepoFile], query: WeightsQuery<'_>) -> Option<String> {
    best(files, query)
        .filter(|candidate| candidate.is_index)
        .map(|candidate| candidate.path.to_owned())
}

/// The weights to load: safetensors, in the variant asked for where there is one, otherwise without a variant.
/// `index` is the content of the file that [`weights_index`] names.
pub fn select_weights(
    files: &[RepoFile],
    query: WeightsQuery<'_>,
    index: Option<&str>,
) -> Result<WeightFiles, SelectError> {
    if let Some(format) = formats::quantisation(files, query) {
        return Err(SelectError::FormatNotSupported { format });
    }
    let Some(candidate) = best(files, query) else {
        return Err(formats::explain(files, query.folder));
    };
    let variant = candidate.variant.map(str::to_owned);
    let path = candidate.path.to_owned();
    if !candidate.is_index {
        return Ok(WeightFiles { files: vec![path], index: None, variant });
    }
    let Some(index) = index else { return Err(SelectError::IndexNeeded { path }) };
    let shards = match serde_json::from_str::<ShardIndex>(index) {
        Ok(index) => index.weight_map.into_values().collect::<BTreeSet<String>>(),
        Err(source) => return Err(SelectError::IndexInvalid { path, source }),
    };
    if shards.is_empty() {
        return Err(SelectError::IndexEmpty { path });
    }
    let shards: Vec<String> = shards.iter().map(|shard| inside(query.folder, shard)).collect();
    let missing: Vec<String> = shards
        .iter()
        .filter(|shard| !files.iter().any(|file| file.path == **shard))
        .cloned()
        .collect();
    if !missing.is_empty() {
        return Err(SelectError::ShardsMissing { path, missing });
    }
    Ok(WeightFiles { files: shards, index: Some(path), variant })
}

/// The variant asked for before the plain one before any other, the usual name first, one file before shards.
fn best<'a>(files: &'a [RepoFile], query: WeightsQuery<'_>) -> Option<Candidate<'a>> {
    let rank = |(stem, candidate): &(usize, Candidate<'_>)| {
        let variant = match (candidate.variant, query.variant) {
            (Some(found), Some(wanted)) if found == wanted => 0,
            (None, _) => 1,
            _ => 2,
        };
        (variant, *stem, candidate.is_index)
    };
    let candidates = files.iter().filter_map(|file| candidate(&file.path, query.folder));
    candidates
        .min_by(|a, b| rank(a).cmp(&rank(b)).then(a.1.path.cmp(b.1.path)))
        .map(|(_, candidate)| candidate)
}

/// Reads `model.safetensors`, `model.fp16.safetensors`, `model.safetensors.index.json` and
/// `model.safetensors.index.fp16.json`; shards and everything else are no candidates.
fn candidate<'a>(path: &'a str, folder: &str) -> Option<(usize, Candidate<'a>)> {
    let name = name_in(path, folder)?;
    STEMS.iter().enumerate().find_map(|(rank, stem)| {
        let rest = name.strip_prefix(stem)?.strip_prefix('.')?;
        let (variant, is_index) = match rest {
            "safetensors" => (None, false),
            "safetensors.index.json" => (None, true),
            _ => match rest
                .strip_prefix("safetensors.index.")
                .and_then(|rest| rest.strip_suffix(".json"))
            {
                Some(variant) => (Some(variant), true),
                None => match rest.strip_suffix(".safetensors.index.json") {
                    Some(variant) => (Some(variant), true),
                    None => (Some(rest.strip_suffix(".safetensors")?), false),
                },
            },
        };
        let plain =
            variant.is_none_or(|variant| !variant.is_empty() && !variant.contains(['.', '-']));
        plain.then_some((rank, Candidate { path, variant, is_index }))
    })
}

/// The name of a file directly in `folder`.
fn name_in<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    let name =
        if folder.is_empty() { path } else { path.strip_prefix(folder)?.strip_prefix('/')? };
    (!name.contains('/')).then_some(name)
}

/// The path of a file in `folder`, which is empty for the root.
pub fn inside(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn files(paths: &[&str]) -> Vec<RepoFile> {
        paths.iter().map(|path| RepoFile::new(*path, 1)).collect()
    }

    fn chosen(paths: &[&str], query: WeightsQuery<'_>, index: Option<&str>) -> Vec<String> {
        select_weights(&files(paths), query, index).unwrap().files
    }

    fn format_of(paths: &[&str], config: &Value) -> String {
        let query = WeightsQuery { config: Some(config), ..WeightsQuery::default() };
        match select_weights(&files(paths), query, None).unwrap_err() {
            SelectError::FormatNotSupported { format } => format,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn one_file_is_enough_whatever_else_is_there() {
        let everything = [
            "README.md",
            "config.json",
            "consolidated.safetensors",
            "flax_model.msgpack",
            "model.fp16.safetensors",
            "model.safetensors",
            "model-00001-of-00002.safetensors",
            "model.safetensors.index.json",
            "onnx/model.onnx",
            "pytorch_model.bin",
            "tf_model.h5",
            "unet/diffusion_pytorch_model.safetensors",
        ];
        assert_eq!(chosen(&everything, WeightsQuery::default(), None), ["model.safetensors"]);
        let half = WeightsQuery { variant: Some("fp16"), ..WeightsQuery::default() };
        assert_eq!(chosen(&everything, half, None), ["model.fp16.safetensors"]);
        let missing = WeightsQuery { variant: Some("bf16"), ..WeightsQuery::default() };
        assert_eq!(chosen(&everything, missing, None), ["model.safetensors"]);
        let component = WeightsQuery { folder: "unet", ..WeightsQuery::default() };
        assert_eq!(
            chosen(&everything, component, None),
            ["unet/diffusion_pytorch_model.safetensors"]
        );
    }

    #[test]
    fn a_variant_is_taken_when_it_is_all_there_is() {
        let found =
            select_weights(&files(&["model.fp16.safetensors"]), WeightsQuery::default(), None)
                .unwrap();
        assert_eq!(found.variant.as_deref(), Some("fp16"));
    }

    #[test]
    fn shards_are_those_of_the_index_each_once() {
        let paths = [
            "t/model.safetensors.index.json",
            "t/model-00001-of-00002.safetensors",
            "t/model-00002-of-00002.safetensors",
            "t/model-00003-of-00003.safetensors",
        ];
        let query = WeightsQuery { folder: "t", ..WeightsQuery::default() };
        let index = json!({"metadata": {"total_size": 9}, "weight_map": {
            "b": "model-00002-of-00002.safetensors", "a": "model-00001-of-00002.safetensors",
            "c": "model-00002-of-00002.safetensors",
        }});
        assert_eq!(
            weights_index(&files(&paths), query).as_deref(),
            Some("t/model.safetensors.index.json")
        );
        assert_eq!(chosen(&paths, query, Some(&index.to_string())), paths[1..3]);
    }

    #[test]
    fn both_spellings_of_a_variants_index_are_known() {
        for name in ["model.safetensors.index.fp16.json", "model.fp16.safetensors.index.json"] {
            let query = WeightsQuery { variant: Some("fp16"), ..WeightsQuery::default() };
            let paths = files(&[name, "model.safetensors.index.json"]);
            assert_eq!(weights_index(&paths, query).as_deref(), Some(name));
        }
    }

    #[test]
    fn a_bad_index_is_an_error_that_names_it() {
        let paths = files(&["model.safetensors.index.json", "a.safetensors"]);
        let fault = |index: Option<&str>| {
            select_weights(&paths, WeightsQuery::default(), index).unwrap_err()
        };
        assert!(matches!(fault(None), SelectError::IndexNeeded { .. }));
        for bad in ["", "[]", "{\"weight_map\": {\"a\": 3}}", "{\"weight_map\": {}}"] {
            assert_eq!(fault(Some(bad)).code(), "corrupt_checkpoint", "{bad}");
        }
        for shard in ["b.safetensors", "../a.safetensors", "/etc/passwd"] {
            let index = json!({"weight_map": {"a": "a.safetensors", "b": shard}}).to_string();
            let error = fault(Some(&index));
            assert!(error.to_string().contains(shard), "{error}");
        }
    }

    #[test]
    fn formats_that_are_not_read_are_named() {
        let none = json!({});
        let cases = [
            ("pytorch_model.bin", "PyTorch pickle (.bin)"),
            ("pytorch_model-00001-of-00002.bin", "PyTorch pickle (.bin)"),
            ("model-q4_k_m.gguf", "GGUF"),
            ("onnx/model.onnx", "ONNX"),
            ("tf_model.h5", "TensorFlow"),
            ("flax_model.msgpack", "Flax"),
            ("openvino_model.bin", "OpenVINO"),
            ("best.pt", "PyTorch pickle (.pt)"),
            ("adapter_model.safetensors", "an adapter (PEFT) without its base model"),
        ];
        for (path, expected) in cases {
            assert_eq!(format_of(&["config.json", path], &none), expected);
        }
        assert!(format_of(&["v1-5-pruned.safetensors"], &none).contains("v1-5-pruned.safetensors"));
        let empty =
            select_weights(&files(&["README.md"]), WeightsQuery::default(), None).unwrap_err();
        assert!(matches!(empty, SelectError::NoWeights { .. }));
        // What another component has explains nothing.
        let vae = WeightsQuery { folder: "vae", ..WeightsQuery::default() };
        let other = ["vae/config.json", "unet/model.safetensors", "vae_1/model.onnx"];
        let error = select_weights(&files(&other), vae, None).unwrap_err();
        assert_eq!(error.to_string(), "the repository has no weights in vae/");
    }

    #[test]
    fn quantised_safetensors_are_named_by_their_method() {
        let by_config = |config: Value| format_of(&["model.safetensors"], &config);
        assert_eq!(
            by_config(json!({"quantization_config": {"quant_method": "gptq", "bits": 4}})),
            "GPTQ"
        );
        assert_eq!(by_config(json!({"quantization_config": {"quant_method": "awq"}})), "AWQ");
        assert_eq!(
            by_config(json!({"quantization_config": {"load_in_4bit": true}})),
            "quantised: bitsandbytes"
        );
        assert_eq!(
            by_config(json!({"quantization_config": {"quant_method": "fp8"}})),
            "quantised: fp8"
        );
        assert_eq!(
            by_config(json!({"quantization": {"group_size": 64, "bits": 4}})),
            "MLX, quantised"
        );
        assert_eq!(format_of(&["model.safetensors", "quantize_config.json"], &json!({})), "GPTQ");
        let plain = json!({"quantization_config": null});
        let query = WeightsQuery { config: Some(&plain), ..WeightsQuery::default() };
        assert_eq!(chosen(&["model.safetensors"], query, None), ["model.safetensors"]);
    }
}

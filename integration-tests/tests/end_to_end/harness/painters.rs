//! Small diffusion pipelines: the repositories of `gpu-worker/tests/fixtures/diffusion` with their hashed weights, and
//! what `diffusers` paints with them.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{hashed, zoo::list};

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../gpu-worker/tests/fixtures")
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).expect("the file is there")).expect("JSON")
}

/// Writes the pipeline into `hub/painters/name` and answers its id.
pub fn write(hub: &Path, name: &str) -> String {
    let model_id = format!("painters/{name}");
    let (from, to) = (fixtures().join("diffusion").join(name), hub.join(&model_id));
    let copy = |from: &Path, to: &Path| {
        fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        fs::copy(from, to).expect("copied");
    };
    copy(&from.join("model_index.json"), &to.join("model_index.json"));
    let index = json(&from.join("model_index.json"));
    for (component, of) in index.as_object().expect("an object") {
        if !of[1].is_string() {
            continue;
        }
        let (from, to) = (from.join(component), to.join(component));
        for file in ["config.json", "preprocessor_config.json", "scheduler_config.json"] {
            if from.join(file).exists() {
                copy(&from.join(file), &to.join(file));
            }
        }
        if from.join("tensors.json").exists() {
            let weights = to.join("diffusion_pytorch_model.safetensors");
            hashed::write(&weights, &json(&from.join("tensors.json")));
        }
        if component.starts_with("tokenizer") {
            let (folder, files) = tokenizer(of);
            for file in files {
                copy(&fixtures().join("tokenizers").join(folder).join(file), &to.join(file));
            }
        }
    }
    model_id
}

/// The fixture of a tokenizer by its entry in the index, and its files.
fn tokenizer(of: &Value) -> (&'static str, [&'static str; 3]) {
    match of[1].as_str() {
        Some("T5Tokenizer") => ("t5", ["config.json", "spiece.model", "tokenizer_config.json"]),
        _ => ("clip", ["merges.txt", "tokenizer_config.json", "vocab.json"]),
    }
}

/// Names and shapes of a component's tensors.
pub fn tensors_of(pipeline: &str, component: &str) -> Value {
    json(&fixtures().join("diffusion").join(pipeline).join(component).join("tensors.json"))
}

/// What was asked of a pipeline, and what the reference made of it; pictures are bytes, row by row.
pub struct Case {
    pub request: Value,
    /// The picture and the mask that the request brings, `request.image` pixels wide and high.
    pub image: Option<Vec<u8>>,
    pub mask: Option<Vec<u8>>,
    pub expected: Vec<u8>,
}

pub fn cases(name: &str) -> Vec<Case> {
    let folder = fixtures().join("diffusion").join(name);
    let mut tensors = tensors(&folder.join("expected.safetensors"));
    let requests = json(&folder.join("cases.json"));
    list(&requests)
        .iter()
        .enumerate()
        .map(|(case, request)| Case {
            request: request.clone(),
            image: tensors.remove(&format!("image {case}")),
            mask: tensors.remove(&format!("mask {case}")),
            expected: tensors.remove(&case.to_string()).expect("pictures of the case"),
        })
        .collect()
}

/// The bytes of every tensor of a file.
fn tensors(path: &Path) -> HashMap<String, Vec<u8>> {
    let file = fs::read(path).expect("the file is there");
    let (length, rest) = file.split_at(8);
    let length = u64::from_le_bytes(length.try_into().expect("eight bytes")) as usize;
    let (header, data) = rest.split_at(length);
    let header: Value = serde_json::from_slice(header).expect("JSON");
    let tensors = header.as_object().expect("an object").iter();
    let at = |offset: &Value| offset.as_u64().expect("an offset") as usize;
    tensors
        .filter(|(name, _)| *name != "__metadata__")
        .map(|(name, tensor)| {
            let offsets = &tensor["data_offsets"];
            (name.clone(), data[at(&offsets[0])..at(&offsets[1])].to_vec())
        })
        .collect()
}

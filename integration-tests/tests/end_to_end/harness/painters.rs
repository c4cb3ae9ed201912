//! Small diffusion pipelines: the repositories of `gpu-worker/tests/fixtures/diffusion` with their hashed weights, and
//! what `diffusers` paints with them.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{hashed, models::safetensors_header_with, zoo::list};

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../gpu-worker/tests/fixtures")
}

fn read(path: &Path) -> Value {
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
    let index = read(&from.join("model_index.json"));
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
            hashed::write(&weights, &read(&from.join("tensors.json")));
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
    read(&fixtures().join("diffusion").join(pipeline).join(component).join("tensors.json"))
}

/// The name of an adapter's file where nothing else is said.
pub const ADAPTER_FILE: &str = "pytorch_lora_weights.safetensors";

/// Writes the adapter of a fixture into `hub/painters/name`, and answers its id and that of the pipeline it is for.
pub fn write_adapter(hub: &Path, name: &str) -> (String, String) {
    let model_id = format!("painters/{name}");
    let described = read(&fixtures().join("diffusion").join(name).join("adapter.json"));
    let size = |size: &Value| size.as_u64().expect("a size") as usize;
    let shapes = described["tensors"].as_object().expect("an object").iter();
    let mut tensors: Vec<(String, Vec<usize>)> = shapes
        .map(|(name, shape)| (name.clone(), list(shape).iter().map(size).collect()))
        .collect();
    let seed = described["seed"].as_u64().expect("a seed");
    let mut bytes: Vec<u8> = tensors
        .iter()
        .flat_map(|(name, shape)| hashed::values(name, shape, seed))
        .flat_map(f32::to_le_bytes)
        .collect();
    for (name, value) in described["values"].as_object().expect("an object") {
        tensors.push((name.clone(), Vec::new()));
        bytes.extend((value.as_f64().expect("a number") as f32).to_le_bytes());
    }
    let mut metadata = json!({"format": "pt"});
    if described["settings"].is_object() {
        metadata["lora_adapter_metadata"] = described["settings"].to_string().into();
    }
    let folder = hub.join(&model_id);
    fs::create_dir_all(&folder).expect("a folder");
    let header = safetensors_header_with(&tensors, &metadata);
    fs::write(folder.join(ADAPTER_FILE), [header, bytes].concat()).expect("written");
    (model_id, format!("painters/{}", described["base"].as_str().expect("a name")))
}

/// What was asked of a pipeline, and what the reference made of it; pictures are bytes, row by row.
pub struct Case {
    pub request: Value,
    /// The picture and the mask that the request brings, `request.image` pixels wide and high.
    pub image: Option<Vec<u8>>,
    pub mask: Option<Vec<u8>>,
    /// What is painted after, `request.control` pixels wide and high.
    pub control: Option<Vec<u8>>,
    pub expected: Vec<u8>,
}

pub fn cases(name: &str) -> Vec<Case> {
    let folder = fixtures().join("diffusion").join(name);
    let mut tensors = tensors(&folder.join("expected.safetensors"));
    let requests = read(&folder.join("cases.json"));
    list(&requests)
        .iter()
        .enumerate()
        .map(|(case, request)| Case {
            request: request.clone(),
            image: tensors.remove(&format!("image {case}")),
            mask: tensors.remove(&format!("mask {case}")),
            control: tensors.remove(&format!("control {case}")),
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

//! Small encoder–decoder models with the zoo's tokenizer: weights from a hash, answers by the reference
//! (`integration-tests/writers/make.py`).

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{
    models::{safetensors_header, write_json},
    zoo::{self, list},
};

/// All of them.
pub const WRITERS: [&str; 3] = ["summariser", "translator", "instructed"];

/// Tokens of the zoo's tokenizer.
const N_TOKENS: usize = 886;
const SEED: u64 = 7;
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// What `make.py` wrote of a model.
pub fn read(name: &str) -> Value {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("writers");
    let text = fs::read_to_string(folder.join(format!("{name}.json"))).expect("the file is there");
    serde_json::from_str(&text).expect("JSON")
}

/// Writes the model into `hub/writers/name` and answers its id.
pub fn write(hub: &Path, name: &str) -> String {
    let model_id = format!("writers/{name}");
    let folder = hub.join(&model_id);
    fs::create_dir_all(&folder).expect("a folder");
    let model = read(name);
    for (file, content) in model["files"].as_object().expect("an object") {
        write_json(&folder.join(file), content);
    }
    let source = zoo::folder(zoo::STORYTELLER).join("tokenizer.json");
    let text = fs::read_to_string(source).expect("the file is there");
    let mut tokenizer: Value = serde_json::from_str(&text).expect("JSON");
    let added = tokenizer["added_tokens"].as_array_mut().expect("a list");
    for (number, language) in list(&model["languages"]).iter().enumerate() {
        added.push(json!({
            "id": N_TOKENS + number, "content": language, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true,
        }));
    }
    write_json(&folder.join("tokenizer.json"), &tokenizer);
    let size = |size: &Value| size.as_u64().expect("a size") as usize;
    let tensors: Vec<(String, Vec<usize>)> = model["tensors"]
        .as_object()
        .expect("an object")
        .iter()
        .map(|(name, shape)| (name.clone(), list(shape).iter().map(size).collect()))
        .collect();
    let mut file = BufWriter::new(File::create(folder.join("model.safetensors")).expect("a file"));
    file.write_all(&safetensors_header(&tensors)).expect("written");
    for (name, shape) in &tensors {
        for value in values(name, shape) {
            file.write_all(&value.to_le_bytes()).expect("written");
        }
    }
    file.flush().expect("written");
    model_id
}

/// As `hashed_weights.py`: around 1 for norms, else around 0.
fn values(name: &str, shape: &[usize]) -> Vec<f32> {
    let start = fnv1a(name).wrapping_add(SEED.wrapping_mul(GOLDEN));
    let unit = |step: u64| {
        let bits = mix(start.wrapping_add(step.wrapping_mul(GOLDEN))) >> 40;
        (bits as i64 - (1 << 23)) as f32 / (1 << 23) as f32
    };
    let scaled = |value: f32| match shape {
        [_] if name.ends_with("weight") => 1.0 + value * 0.25,
        [_] => value * 0.125,
        _ => value * 0.25,
    };
    (1..=shape.iter().product::<usize>() as u64).map(|step| scaled(unit(step))).collect()
}

fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

fn fnv1a(name: &str) -> u64 {
    name.bytes().fold(0xCBF2_9CE4_8422_2325, |value, byte| {
        (value ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3)
    })
}

//! Small models that answer questions about tables: weights from a hash, answers by the reference
//! (`gpu-worker/tests/fixtures/make_tables`).

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{hashed, models::write_json, zoo::list};

/// All of them; the last writes its answers.
pub const TABLE_MODELS: [&str; 3] = ["aggregating", "choosing", "writing"];

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../gpu-worker/tests/fixtures")
}

fn read(name: &str) -> Value {
    let file = if name == "writing" { "writing" } else { "answers" };
    let path = fixtures().join("tables").join(format!("{file}.json"));
    let text = fs::read_to_string(path).expect("the file is there");
    let mut made: Value = serde_json::from_str(&text).expect("JSON");
    if name == "writing" {
        return made;
    }
    let mut model = made[name].take();
    model["files"] =
        json!({"config.json": model["config"], "tokenizer_config.json": model["tokenizer_config"]});
    model
}

pub fn model_id(name: &str) -> String {
    format!("tables/{name}")
}

/// Writes the model into `hub`.
pub fn write(hub: &Path, name: &str) {
    let model = read(name);
    let folder = hub.join(model_id(name));
    fs::create_dir_all(&folder).expect("a folder");
    for (file, content) in model["files"].as_object().expect("an object") {
        write_json(&folder.join(file), content);
    }
    let (tokenizer, vocabulary) = match name {
        "writing" => ("bart", &["vocab.json", "merges.txt"][..]),
        _ => ("tapas", &["vocab.txt"][..]),
    };
    for file in vocabulary {
        let source = fixtures().join("tokenizers").join(tokenizer).join(file);
        fs::copy(source, folder.join(file)).expect("copied");
    }
    hashed::write(&folder.join("model.safetensors"), &model["tensors"]);
}

/// The requests of a model with what the reference answers.
pub fn cases(name: &str) -> Vec<Value> {
    list(&read(name)["cases"]).to_vec()
}

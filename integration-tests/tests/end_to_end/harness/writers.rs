//! Small encoder–decoder models with the zoo's tokenizer: weights from a hash, answers by the reference
//! (`integration-tests/writers/make.py`).

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{
    hashed,
    models::write_json,
    zoo::{self, list},
};

/// All of them.
pub const WRITERS: [&str; 3] = ["summariser", "translator", "instructed"];

/// Tokens of the zoo's tokenizer.
const N_TOKENS: usize = 886;

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
    hashed::write(&folder.join("model.safetensors"), &model["tensors"]);
    model_id
}

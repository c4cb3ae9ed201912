//! Small encoders with a head and the tokenizer of the zoo's sentences: weights from a hash, answers by the reference
//! (`integration-tests/judges/make.py`).

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{hashed, models::write_json, zoo};

/// All of them.
pub const JUDGES: [&str; 6] = ["mood", "topics", "degree", "follows", "follows-first", "ranker"];

/// What `make.py` wrote of a model.
pub fn read(name: &str) -> Value {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("judges");
    let text = fs::read_to_string(folder.join(format!("{name}.json"))).expect("the file is there");
    serde_json::from_str(&text).expect("JSON")
}

/// Writes the model into `hub/judges/name` and answers its id.
pub fn write(hub: &Path, name: &str) -> String {
    let model_id = format!("judges/{name}");
    let folder = hub.join(&model_id);
    fs::create_dir_all(&folder).expect("a folder");
    let model = read(name);
    write_json(&folder.join("config.json"), &model["config"]);
    for file in ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"] {
        fs::copy(zoo::folder(zoo::SENTENCES).join(file), folder.join(file)).expect("a copy");
    }
    hashed::write(&folder.join("model.safetensors"), &model["tensors"]);
    model_id
}

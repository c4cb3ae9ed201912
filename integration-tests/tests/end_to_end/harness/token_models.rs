//! Tiny BERTs that look at tokens, with tokenizers of three kinds: weights from a hash, answers by the reference
//! (`gpu-worker/tests/fixtures/make_answers/make.py`).

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{hashed, models::write_json, zoo::list};

/// All of them.
pub const TOKEN_MODELS: [&str; 3] = ["token", "question", "masked"];

/// What `make.py` wrote.
pub fn read(name: &str) -> Value {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let file = format!("../gpu-worker/tests/fixtures/answers/{name}.json");
    let text = fs::read_to_string(folder.join(file)).expect("the file is there");
    serde_json::from_str(&text).expect("JSON")
}

/// The id of a model with one of the tokenizers.
pub fn model_id(name: &str, tokenizer: &str) -> String {
    format!("tokens/{name}-{tokenizer}")
}

/// Writes the model into `hub`, once for every tokenizer.
pub fn write(hub: &Path, name: &str) {
    let model = read(name);
    for (tokenizer, files) in read("tokenizers").as_object().expect("an object") {
        let folder = hub.join(model_id(name, tokenizer));
        fs::create_dir_all(&folder).expect("a folder");
        write_json(&folder.join("config.json"), &model["config"]);
        for (file, content) in files.as_object().expect("an object") {
            write_json(&folder.join(file), content);
        }
        hashed::write(&folder.join("model.safetensors"), &model["tensors"]);
    }
}

/// The requests of a model with what the reference answers, each with the id of its model.
pub fn cases(name: &str) -> Vec<(String, Value)> {
    let model = read(name);
    let of = |case: &Value| {
        let tokenizer = case["tokenizer"].as_str().expect("a name");
        (model_id(name, tokenizer), case.clone())
    };
    list(&model["cases"]).iter().map(of).collect()
}

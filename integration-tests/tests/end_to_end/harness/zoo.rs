//! The models of the zoo and what they are expected to answer.

use std::{fs, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

pub const STORYTELLER: &str = "zoo/storyteller";
pub const SENTENCES: &str = "zoo/sentences";
pub const SHAPES: &str = "zoo/shape-classifier";
pub const TRANSLATOR: &str = "zoo/translator";
pub const PAINTER: &str = "zoo/shape-painter";
pub const UPSCALER: &str = "zoo/shape-upscaler";
pub const GAP_FILLER: &str = "zoo/gap-filler";
pub const MOOD_READER: &str = "zoo/mood-reader";
pub const NAME_FINDER: &str = "zoo/name-finder";
pub const ANSWER_FINDER: &str = "zoo/answer-finder";
pub const LABEL_CHOOSER: &str = "zoo/label-chooser";
pub const PASSAGE_RANKER: &str = "zoo/passage-ranker";
pub const TABLE_READER: &str = "zoo/table-reader";
pub const SUMMARISER: &str = "zoo/summariser";

fn zoo() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).with_file_name("zoo")
}

/// The hub folder.
pub fn hub() -> PathBuf {
    zoo().join("hub")
}

/// The folder of a model, such as `zoo/storyteller`.
pub fn folder(model_id: &str) -> PathBuf {
    hub().join(model_id)
}

fn expected_folder(model_id: &str) -> PathBuf {
    zoo().join("expected").join(model_id.rsplit('/').next().expect("a name"))
}

fn read(model_id: &str, file: &str) -> Value {
    let path = expected_folder(model_id).join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).expect("JSON")
}

/// Inputs and outputs to be equal to.
pub fn parity(model_id: &str) -> Value {
    read(model_id, "parity.json")
}

/// Held-out cases and the share of them that must be right.
pub fn cases(model_id: &str) -> (Vec<Value>, f64) {
    let cases = read(model_id, "cases.json");
    let least = cases["least_share"].as_f64().expect("a share");
    (list(&cases["cases"]).to_vec(), least)
}

/// How many decibels enlarged pictures must be nearer to the truth than interpolated ones, on average over the cases.
pub fn least_gain(model_id: &str) -> f64 {
    read(model_id, "cases.json")["least_gain_db"].as_f64().expect("decibels")
}

/// A picture of `shape-classifier` as base64.
pub fn picture(file: &str) -> String {
    STANDARD.encode(picture_bytes(file))
}

pub fn picture_bytes(file: &str) -> Vec<u8> {
    picture_of(SHAPES, &Value::from(file))
}

/// The bytes of a picture among what a model is expected to answer.
pub fn picture_of(model_id: &str, file: &Value) -> Vec<u8> {
    let path = expected_folder(model_id).join(file.as_str().expect("a file"));
    fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}"))
}

pub fn numbers(value: &Value) -> Vec<f64> {
    list(value).iter().map(|value| value.as_f64().expect("a number")).collect()
}

/// Fails unless enough cases were right; the wrong ones are shown.
#[track_caller]
pub fn assert_share(what: &str, n_cases: usize, wrong: &[String], least: f64) {
    let share = 1.0 - wrong.len() as f64 / n_cases as f64;
    println!("{what}: {:.1} % of {n_cases} cases", share * 100.0);
    assert!(share >= least, "{what}: {share} of {n_cases}, wrong are:\n{}", wrong.join("\n"));
}

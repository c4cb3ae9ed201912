//! Text and sampling against what the reference computed; `fixtures/make_text/make.py` makes the fixtures.

#![allow(clippy::unwrap_used)]

#[path = "text/chats.rs"]
mod chats;
#[path = "text/families.rs"]
mod families;
#[path = "text/languages.rs"]
mod languages;
#[path = "text/limits.rs"]
mod limits;
#[path = "text/sampling.rs"]
mod sampling;
#[path = "text/tables.rs"]
mod tables;
#[path = "text/tokenizers.rs"]
mod tokenizers;
#[path = "text/vocabularies.rs"]
mod vocabularies;

/// A fixture as JSON.
fn fixture(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

/// A list of ids.
fn ids(value: &serde_json::Value) -> Vec<u32> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|id| u32::try_from(id.as_u64().unwrap()).unwrap())
        .collect()
}

//! Tables as tokens and as text, as TAPAS's and TAPEX's own tokenizers make them; `fixtures/make_tables` makes the fixtures.

use std::{fs, path::PathBuf};

use gpu_worker::text::{FlatTables, Table, TableEncoder, TableError, TableTokens, Tokenizer};
use serde_json::{Value, json};

use crate::{fixture, ids};

fn files(name: &str) -> impl Fn(&str) -> Option<Vec<u8>> {
    let folder =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizers").join(name);
    move |file| fs::read(folder.join(file)).ok()
}

/// The tokenizer of a folder, with these settings for its config.
fn tokenizer(name: &str, config: &str) -> Tokenizer {
    let read = files(name);
    let names = ["config.json", "vocab.txt", "vocab.json", "merges.txt"];
    let kept: Vec<(&str, Vec<u8>)> =
        names.into_iter().filter_map(|name| Some((name, read(name)?))).collect();
    let find = |file: &str| {
        if file == "tokenizer_config.json" {
            return Some(config.as_bytes());
        }
        kept.iter().find(|(name, _)| *name == file).map(|(_, bytes)| &**bytes)
    };
    Tokenizer::from_repository(&find).unwrap()
}

fn encoder(settings: &Value) -> TableEncoder {
    let mut config = json!({"tokenizer_class": "TapasTokenizer"});
    config.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    let config = config.to_string();
    TableEncoder::new(tokenizer("tapas", &config), Some(&config)).unwrap()
}

fn table(case: &Value) -> Table {
    Table {
        columns: serde_json::from_value(case["columns"].clone()).unwrap(),
        rows: serde_json::from_value(case["rows"].clone()).unwrap(),
    }
}

fn encode(case: &Value) -> Result<TableTokens, TableError> {
    let question = case["question"].as_str().unwrap();
    let truncate = case["truncate"].as_bool().unwrap();
    encoder(&case["settings"]).encode(question, &table(case), truncate, usize::MAX)
}

/// A channel of the fixture, whose runs of equal values are counted.
fn channel(runs: &Value) -> Vec<u32> {
    let runs: Vec<(u32, usize)> = serde_json::from_value(runs.clone()).unwrap();
    runs.into_iter().flat_map(|(value, count)| vec![value; count]).collect()
}

#[test]
fn tables_are_the_tokens_of_the_reference() {
    let cases = fixture(include_str!("../fixtures/tables/tokens.json"));
    let mut wrong = Vec::new();
    for case in cases.as_array().unwrap() {
        let what = || format!("{} {}: {}", case["question"], case["settings"], case["rows"]);
        let found = encode(case);
        if case.get("error").is_some() {
            assert!(found.is_err(), "{}", what());
            continue;
        }
        let found = found.unwrap();
        if found.ids != ids(&case["ids"]) {
            wrong.push(format!("ids of {}: {:?} instead of {}", what(), found.ids, case["ids"]));
            continue;
        }
        for (at, runs) in case["channels"].as_array().unwrap().iter().enumerate() {
            let column: Vec<u32> = found.channels.iter().map(|channels| channels[at]).collect();
            let expected = channel(runs);
            if column != expected {
                wrong.push(format!(
                    "channel {at} of {}: {column:?} instead of {expected:?}",
                    what()
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(8)].join("\n")
    );
}

#[test]
fn a_table_of_another_size_is_refused_with_the_limit() {
    let table = |columns: usize, rows: usize| Table {
        columns: vec!["a".into(); columns],
        rows: vec![vec!["1".into(); columns]; rows],
    };
    let encoder = encoder(&json!({"max_row_id": 4, "max_column_id": 3, "max_question_length": 2}));
    let says = |question: &str, columns, rows, drops| {
        encoder.encode(question, &table(columns, rows), drops, 9).unwrap_err().to_string()
    };
    assert_eq!(says("a", 3, 1, true), "has 3 columns, the model takes 2");
    assert_eq!(says("a", 2, 4, false), "has 4 rows, the model takes 3");
    assert_eq!(encoder.encode("a", &table(2, 4), true, 99).unwrap().rows, 3);
    assert_eq!(says("a", 2, 3, false), "has 11 tokens with the question, the model takes 9");
    assert_eq!(says("a b c", 2, 1, false), "has 3 tokens, this model takes questions of 0 to 2");
}

#[test]
fn tables_are_the_text_of_the_reference() {
    let cases = fixture(include_str!("../fixtures/tables/flat.json"));
    for case in cases.as_array().unwrap() {
        let mut config = json!({"tokenizer_class": "TapexTokenizer"});
        config.as_object_mut().unwrap().extend(case["settings"].as_object().unwrap().clone());
        let config = config.to_string();
        let tokenizer = tokenizer("bart", &config);
        let tables = FlatTables::new(tokenizer.clone(), Some(&config)).unwrap();
        let text = tables.text(case["question"].as_str().unwrap(), &table(case)).unwrap();
        assert_eq!(text, case["text"].as_str().unwrap(), "{case}");
        assert_eq!(tokenizer.encode(&text, true).unwrap().ids, ids(&case["ids"]), "{case}");
    }
}

//! Tokenizers without `tokenizer.json`: ids, types, offsets and text as the reference's own classes have them.

use std::{collections::HashMap, path::PathBuf};

use gpu_worker::text::Tokenizer;
use serde_json::Value;

use crate::{fixture, ids};

const NAMES: [&str; 29] = [
    "albert",
    "bart",
    "bert_cased",
    "bert_uncased",
    "camembert",
    "deberta",
    "deberta_v2",
    "distilbert",
    "electra",
    "gemma",
    "gpt2",
    "gpt_neox",
    "llama",
    "llama_new",
    "m2m_100",
    "marian",
    "mbart",
    "mbart50",
    "mistral",
    "mpnet",
    "nllb",
    "opt",
    "pegasus",
    "qwen2",
    "roberta",
    "t5",
    "tapas",
    "umt5",
    "xlm_roberta",
];

struct Case {
    name: &'static str,
    tokenizer: Tokenizer,
    expected: Value,
}

fn files(name: &str) -> HashMap<String, Vec<u8>> {
    let folder =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizers").join(name);
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .collect()
}

fn build(files: &HashMap<String, Vec<u8>>) -> Result<Tokenizer, gpu_worker::text::TextError> {
    Tokenizer::from_repository(&|name| files.get(name).map(Vec::as_slice))
}

fn all() -> impl Iterator<Item = Case> {
    NAMES.into_iter().map(|name| {
        let files = files(name);
        let tokenizer = build(&files).unwrap_or_else(|error| panic!("{name}: {error}"));
        let expected = fixture(std::str::from_utf8(&files["expected.json"]).unwrap());
        Case { name, tokenizer, expected }
    })
}

fn checksum(values: impl IntoIterator<Item = u64>) -> u64 {
    values.into_iter().fold(0, |sum, value| (sum * 31 + value) % 1_000_000_007)
}

#[test]
fn encodes_as_the_class() {
    let mut wrong = Vec::new();
    for Case { name, tokenizer, expected } in all() {
        for expected in expected["encodings"].as_array().unwrap() {
            let texts: Vec<&str> = expected["texts"]
                .as_array()
                .unwrap()
                .iter()
                .map(|text| text.as_str().unwrap())
                .collect();
            let add = expected["add_special_tokens"].as_bool().unwrap();
            let encoding = match texts[..] {
                [text] => tokenizer.encode(text, add).unwrap(),
                [text, pair] => tokenizer.encode_pair(text, pair, add).unwrap(),
                _ => panic!("one text or two"),
            };
            let mut check = |what: &str, found: Value, expected: &Value| {
                if *expected != Value::Null && found != *expected {
                    wrong.push(format!(
                        "{name}: {what} of {texts:?}: {found} instead of {expected}"
                    ));
                }
            };
            check("ids", encoding.ids.clone().into(), &expected["ids"]);
            let types = checksum(encoding.type_ids.iter().map(|&kind| kind.into()));
            check("types", types.into(), &expected["type_ids"]);
            let special = checksum(encoding.special.iter().map(|&flag| flag.into()));
            check("special", special.into(), &expected["special"]);
            let offsets = encoding.offsets.iter().flat_map(|&(a, b)| [a as u64, b as u64]);
            check("offsets", checksum(offsets).into(), &expected["offsets"]);
            let last = texts[texts.len() - 1].chars().count();
            assert!(encoding.offsets.iter().all(|&(a, b)| a <= b), "{name}: {texts:?}");
            assert!(texts.len() > 1 || encoding.offsets.iter().all(|&(_, b)| b <= last));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(12)].join("\n")
    );
}

#[test]
fn decodes_as_the_class() {
    let mut wrong = Vec::new();
    for Case { name, tokenizer, expected } in all() {
        for expected in expected["decodings"].as_array().unwrap() {
            let ids = ids(&expected["ids"]);
            for (skip, key) in [(false, "all"), (true, "skipped")] {
                let text = tokenizer.decode(&ids, skip).unwrap();
                if text != expected[key].as_str().unwrap() {
                    wrong.push(format!("{name}: {key} of {ids:?}: {text:?} for {}", expected[key]));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(12)].join("\n")
    );
}

#[test]
fn has_the_same_special_tokens_and_size() {
    for Case { name, tokenizer, expected } in all() {
        for (role, id) in expected["special_ids"].as_object().unwrap() {
            assert_eq!(tokenizer.special_id(role).map(u64::from), id.as_u64(), "{name}: {role}");
        }
        assert_eq!(tokenizer.vocab_size() as u64, expected["len"].as_u64().unwrap(), "{name}");
    }
}

#[test]
fn a_hundred_thousand_letters_without_a_space_are_cut_alike() {
    for Case { name, tokenizer, expected } in all() {
        let ids = tokenizer.encode(&"ab".repeat(50_000), true).unwrap().ids;
        let found = (ids.len() as u64, checksum(ids.iter().map(|&id| id.into())));
        let expected = &expected["long"];
        let expected = (expected["len"].as_u64().unwrap(), expected["checksum"].as_u64().unwrap());
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn damaged_files_are_errors() {
    for name in NAMES {
        let whole = files(name);
        let vocabularies: Vec<&String> = whole
            .keys()
            .filter(|file| !["expected.json", "config.json"].contains(&file.as_str()))
            .collect();
        for file in vocabularies {
            let mut cut = whole.clone();
            for length in [0, 1, 9, whole[file].len() / 2, whole[file].len() - 1] {
                cut.insert(file.clone(), whole[file][..length].to_vec());
                // Whatever comes of it, it is no panic; what isn't there is named.
                let _ = build(&cut);
            }
            cut.remove(file);
            let is_needed = !file.ends_with("_config.json") && !file.contains("tokens");
            if is_needed && file != "target.spm" {
                let error = build(&cut).err().unwrap_or_else(|| panic!("{name} without {file}"));
                assert_eq!(error.code(), "format_not_supported", "{name} without {file}");
            }
        }
    }
}

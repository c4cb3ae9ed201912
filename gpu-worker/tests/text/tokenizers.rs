//! Ids, offsets and text as the reference has them; streams that never take back a character.

use gpu_worker::text::Tokenizer;
use proptest::prelude::*;
use serde_json::Value;

use crate::{fixture, ids};

const NAMES: [&str; 3] = ["byte_level", "word_piece", "metaspace"];

fn all() -> Value {
    fixture(include_str!("../fixtures/text/tokenizers.json"))
}

fn build(case: &Value) -> Tokenizer {
    let json = case["tokenizer_json"].to_string();
    Tokenizer::from_files(json.as_bytes(), Some(&case["tokenizer_config"].to_string()), None)
        .unwrap()
}

#[test]
fn encodes_as_the_reference() {
    let cases = all();
    for name in NAMES {
        let tokenizer = build(&cases[name]);
        for expected in cases[name]["encodings"].as_array().unwrap() {
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
            assert_eq!(encoding.ids, ids(&expected["ids"]), "{name}: {texts:?}");
            assert_eq!(encoding.type_ids, ids(&expected["type_ids"]), "{name}: {texts:?}");
            let special: Vec<u32> = encoding.special.iter().map(|&flag| u32::from(flag)).collect();
            assert_eq!(special, ids(&expected["special"]), "{name}: {texts:?}");
            let offsets = serde_json::to_value(&encoding.offsets).unwrap();
            assert_eq!(offsets, expected["offsets"], "{name}: {texts:?}");
        }
    }
}

#[test]
fn decodes_as_the_reference() {
    let cases = all();
    for name in NAMES {
        let tokenizer = build(&cases[name]);
        for expected in cases[name]["decodings"].as_array().unwrap() {
            let ids = ids(&expected["ids"]);
            assert_eq!(
                tokenizer.decode(&ids, false).unwrap(),
                expected["all"].as_str().unwrap(),
                "{name}: {ids:?}"
            );
            assert_eq!(
                tokenizer.decode(&ids, true).unwrap(),
                expected["skipped"].as_str().unwrap(),
                "{name}: {ids:?}"
            );
        }
    }
}

#[test]
fn knows_the_special_tokens() {
    let cases = all();
    for name in NAMES {
        let tokenizer = build(&cases[name]);
        for (role, id) in cases[name]["special_ids"].as_object().unwrap() {
            assert_eq!(tokenizer.special_id(role).map(u64::from), id.as_u64(), "{name}: {role}");
        }
    }
    assert_eq!(build(&cases["byte_level"]).model_max_length(), Some(64));
    assert_eq!(build(&cases["word_piece"]).model_max_length(), None);
}

#[test]
fn a_hundred_thousand_letters_without_a_space_are_tokenised_alike() {
    let cases = all();
    for name in NAMES {
        let encoding = build(&cases[name]).encode(&"ab".repeat(50_000), true).unwrap();
        let checksum =
            encoding.ids.iter().fold(0u64, |sum, &id| (sum * 31 + u64::from(id)) % 1_000_000_007);
        let expected = &cases[name]["long"];
        assert_eq!(
            (encoding.len() as u64, checksum),
            (expected["len"].as_u64().unwrap(), expected["checksum"].as_u64().unwrap())
        );
    }
}

/// The library's own tokenizer, with the reference's tidying: the oracle for the stream.
fn oracle(case: &Value, tokenizer: &tokenizers::Tokenizer, ids: &[u32]) -> String {
    let text = tokenizer.decode(ids, true).unwrap();
    let config = &case["tokenizer_config"];
    if config["clean_up_tokenization_spaces"] != true
        || case["tokenizer_json"]["model"]["type"] == "BPE"
    {
        return text;
    }
    [" .", " ?", " !", " ,"]
        .iter()
        .fold(text, |text, mark| text.replace(mark, mark.trim_start()))
        .replace(" ' ", "'")
        .replace(" n't", "n't")
        .replace(" 'm", "'m")
        .replace(" 's", "'s")
        .replace(" 've", "'ve")
        .replace(" 're", "'re")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn pieces_of_a_stream_are_beginnings_of_the_whole(drawn in prop::collection::vec(0u32..320, 0..60)) {
        thread_local! {
            static BUILT: Vec<(Value, Tokenizer, tokenizers::Tokenizer)> = {
                let cases = all();
                let library = |case: &Value| {
                    let json = case["tokenizer_json"].to_string();
                    let mut library = tokenizers::Tokenizer::from_bytes(json.as_bytes()).unwrap();
                    library.with_padding(None);
                    library
                };
                NAMES.map(|name| (cases[name].clone(), build(&cases[name]), library(&cases[name]))).into()
            };
        }
        BUILT.with(|built| {
            for (case, tokenizer, library) in built {
                // What only the configuration adds is special and so skipped by both.
                let size = u32::try_from(library.get_vocab_size(true)).unwrap();
                let drawn: Vec<u32> = drawn.iter().map(|id| id % size).collect();
                let whole = oracle(case, library, &drawn);
                let mut stream = tokenizer.detokenizer(true);
                let mut text = String::new();
                for &id in &drawn {
                    text.push_str(&stream.push(id).unwrap());
                    prop_assert!(whole.starts_with(&text), "{text:?} does not begin {whole:?}");
                }
                text.push_str(&stream.finish().unwrap());
                prop_assert_eq!(text, whole);
            }
            Ok(())
        })?;
    }
}

#[test]
fn a_character_of_several_tokens_comes_out_whole() {
    let cases = all();
    for name in ["byte_level", "metaspace"] {
        let tokenizer = build(&cases[name]);
        let text = "a👩‍👩‍👧‍👦b日本 c";
        let mut stream = tokenizer.detokenizer(true);
        let mut pieces = Vec::new();
        for &id in &tokenizer.encode(text, false).unwrap().ids {
            pieces.push(stream.push(id).unwrap());
        }
        pieces.push(stream.finish().unwrap());
        assert!(pieces.iter().all(|piece| !piece.contains('\u{fffd}')), "{name}: {pieces:?}");
        assert_eq!(pieces.concat(), text);
    }
}

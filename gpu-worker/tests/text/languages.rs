//! How translators are told their languages: the reference's tokens around a source and its first token of a target.

use std::collections::HashMap;

use gpu_worker::{
    failure::Failure,
    tasks::{self, Files, Work, Write},
};
use proto::{InferRequest, Texts, TranslationInputs, TranslationRequest, infer_request::Input};
use serde_json::{Value, json};

use crate::{fixture, ids};

const LANGUAGES: &str = include_str!("../fixtures/text/languages.json");

/// What a translator makes of a request.
fn translate(
    files: &Value,
    text: &str,
    src_lang: Option<&str>,
    tgt_lang: Option<&str>,
) -> Result<Write, Failure> {
    let files: HashMap<String, Vec<u8>> = files
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, content)| (name.clone(), content.to_string().into_bytes()))
        .collect();
    let task = tasks::find("translation").unwrap();
    let processor = (task.processor)(&Files::new(files)).unwrap_or_else(|error| panic!("{error}"));
    let inputs = TranslationInputs {
        text: Some(Texts { items: vec![text.to_owned()], is_list: false }),
        src_lang: src_lang.map(str::to_owned),
        tgt_lang: tgt_lang.map(str::to_owned),
    };
    let request = TranslationRequest { inputs: Some(inputs), options: None };
    let request = InferRequest { input: Some(Input::Translation(request)), ..Default::default() };
    match processor.prepare(&request)?.work {
        Work::Write(work) => Ok(*work),
        _ => panic!("nothing to write"),
    }
}

/// A model's files with the two that every one needs.
fn files_of(model: &Value) -> Value {
    let mut files = model["files"].clone();
    files["config.json"] =
        json!({"model_type": model["model_type"], "max_position_embeddings": 64});
    files["generation_config.json"] = json!({"decoder_start_token_id": 2, "eos_token_id": 2});
    files
}

#[test]
fn codes_stand_where_the_reference_puts_them() {
    for (name, model) in fixture(LANGUAGES).as_object().unwrap() {
        let files = files_of(model);
        for case in model["cases"].as_array().unwrap() {
            let text = |field: &str| case[field].as_str();
            let work = translate(&files, text("text").unwrap(), text("src_lang"), text("tgt_lang"));
            let work = work.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(work.sources, [ids(&case["ids"])], "{name}: {case}");
            let forced = work.decoding.constraints.forced_bos_token_id;
            assert_eq!(forced.map(u64::from), case["forced_bos"].as_u64(), "{name}: {case}");
        }
    }
}

#[test]
fn what_is_no_language_is_refused_with_those_there_are() {
    let models = fixture(LANGUAGES);
    for (name, wrong) in [("mbart", "ro"), ("nllb", "boat"), ("nllb", "</s>")] {
        let files = files_of(&models[name]);
        let refusal = translate(&files, "a boat", None, Some(wrong)).err().unwrap();
        assert!(refusal.to_string().contains(wrong), "{refusal}");
    }
}

#[test]
fn a_target_that_starts_with_its_language_is_not_forced_to_say_it_again() {
    let models = fixture(LANGUAGES);
    let mut files = files_of(&models["mbart"]);
    let case = &models["mbart"]["cases"][0];
    files["generation_config.json"]["decoder_start_token_id"] = case["forced_bos"].clone();
    let work = translate(&files, "a boat", None, case["tgt_lang"].as_str()).unwrap();
    assert_eq!(work.decoding.constraints.forced_bos_token_id, None);
}

/// A tokenizer of whole words, with marks of languages among them.
fn marked(model_type: &str, marks: [&str; 2]) -> Value {
    let vocab = json!({"<unk>": 0, "</s>": 1, "a": 2, "boat": 3, marks[0]: 4, marks[1]: 5});
    json!({
        "config.json": {"model_type": model_type},
        "generation_config.json": {"decoder_start_token_id": 1, "eos_token_id": 1},
        "tokenizer.json": {
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
            "pre_tokenizer": {"type": "WhitespaceSplit"}, "decoder": null,
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
                "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}},
            },
            "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "<unk>"},
        },
    })
}

#[test]
fn a_mark_before_the_source_names_the_target() {
    for (model_type, marks, name) in
        [("marian", [">>fra<<", ">>deu<<"], "deu"), ("t5", ["<2fr>", "<2de>"], "de")]
    {
        let files = marked(model_type, marks);
        let sources =
            |tgt_lang| translate(&files, "a boat", None, tgt_lang).map(|work| work.sources);
        assert_eq!(sources(Some(name)).ok(), Some(vec![vec![5, 2, 3, 1]]));
        assert_eq!(sources(Some(marks[1])).ok(), Some(vec![vec![5, 2, 3, 1]]));
        assert_eq!(sources(None).ok(), Some(vec![vec![2, 3, 1]]));
        let refusal = sources(Some("xx")).err().unwrap();
        assert!(refusal.to_string().contains("\"xx\" is no language"), "{refusal}");
    }
    // Marian's texts may say it themselves.
    let files = marked("marian", [">>fra<<", ">>deu<<"]);
    let work = translate(&files, ">>fra<< a boat", None, None).unwrap();
    assert_eq!(work.sources, [vec![4, 2, 3, 1]]);
}

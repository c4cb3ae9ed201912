//! `text2text-generation`, `summarization` and `translation` through the public API: what the reference writes, one by
//! one and all at once, as lists and as streams, and what is refused.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::harness::{
    events::{check_whole, joined},
    system::{Setup, System},
    writers::{self, WRITERS},
    zoo::list,
};

struct Writers {
    system: System,
    _hub: tempfile::TempDir,
}

async fn writers() -> Writers {
    let hub = tempfile::tempdir().expect("a folder");
    for name in WRITERS {
        writers::write(hub.path(), name);
    }
    Writers { system: Setup::of(&[hub.path()]).start().await, _hub: hub }
}

fn request(name: &str, case: &Value) -> Value {
    json!({
        "model_id": format!("writers/{name}"), "task": case["task"], "inputs": case["inputs"],
        "options": case["options"],
    })
}

/// The answers as the task's output shows them.
fn shown(case: &Value) -> Value {
    match list(&case["answers"]) {
        [only] => only.clone(),
        several => json!({"choices": several}),
    }
}

#[tokio::test]
async fn writers_write_what_the_reference_writes() {
    let writers = writers().await;
    let api = writers.system.api();
    for name in WRITERS {
        let model = writers::read(name);
        let cases = list(&model["cases"]);
        for case in cases {
            assert_eq!(api.output(&request(name, case)).await, shown(case), "{name}: {case}");
        }
        let requests: Vec<Value> = cases.iter().map(|case| request(name, case)).collect();
        let outputs = join_all(requests.iter().map(|request| api.output(request))).await;
        for (output, case) in outputs.iter().zip(cases) {
            assert_eq!(*output, shown(case), "{name}, together: {case}");
        }
    }
}

#[tokio::test]
async fn a_list_is_answered_in_order() {
    let writers = writers().await;
    let model = writers::read("summariser");
    let cases = list(&model["cases"]);
    let same = |case: &&Value| case["options"] == cases[0]["options"];
    let cases: Vec<&Value> = cases.iter().filter(same).collect();
    let texts: Vec<&Value> = cases.iter().map(|case| &case["inputs"]["text"]).collect();
    let mut asked = request("summariser", cases[0]);
    asked["inputs"]["text"] = json!(texts);
    let expected: Vec<Value> = cases.iter().map(|case| shown(case)).collect();
    assert_eq!(writers.system.api().output(&asked).await, json!({"batch": expected}));
}

#[tokio::test]
async fn tokens_are_streamed_and_beams_tell_their_progress() {
    let writers = writers().await;
    let api = writers.system.api();
    let model = writers::read("summariser");
    for case in list(&model["cases"]) {
        let events = api.stream(&request("summariser", case)).await.all().await;
        let done = check_whole(&events);
        assert_eq!(done["result"]["task_output"], shown(case), "{case}");
        let named = |name: &str| events.iter().filter(|event| event.name == name).count();
        if case["options"]["num_beams"] == 1 {
            assert_eq!(joined(&events, 0), case["answers"][0]["text"].as_str().expect("a text"));
            assert!(named("token") > 0 && named("progress") == 0);
            continue;
        }
        assert!(named("token") == 0 && named("progress") > 0);
        let mut progress = events.iter().filter(|event| event.name == "progress");
        let steps: Vec<u64> =
            progress.clone().map(|event| event.data["step"].as_u64().expect("a step")).collect();
        assert!(steps.is_sorted(), "{steps:?}");
        assert!(progress.next_back().is_some_and(|last| last.data["percent"] == 100.0));
    }
}

#[tokio::test]
async fn draws_of_one_seed_are_the_same_and_several_differ() {
    let writers = writers().await;
    let api = writers.system.api();
    let asked = json!({
        "model_id": "writers/instructed", "task": "text2text-generation",
        "inputs": {"text": "Tell of a red circle."},
        "options": {"do_sample": true, "temperature": 3.0, "num_return_sequences": 3, "seed": 5},
    });
    let first = api.output(&asked).await;
    assert_eq!(first, api.output(&asked).await);
    let texts: Vec<&Value> = list(&first["choices"]).iter().map(|choice| &choice["text"]).collect();
    assert_eq!(texts.len(), 3);
    assert!(texts[0] != texts[1] && texts[1] != texts[2], "{texts:?}");
}

#[tokio::test]
async fn what_cannot_be_written_is_refused_by_its_field() {
    let writers = writers().await;
    let api = writers.system.api();
    let text = "A small red circle.";
    for (model, task, inputs, options, code, field) in [
        (
            "translator",
            "translation",
            json!({"text": text}),
            json!({}),
            "invalid_request",
            "inputs.tgt_lang",
        ),
        (
            "translator",
            "translation",
            json!({"text": text, "tgt_lang": "fr"}),
            json!({}),
            "invalid_request",
            "inputs.tgt_lang",
        ),
        (
            "translator",
            "translation",
            json!({"text": text, "src_lang": "circle", "tgt_lang": "fra_Latn"}),
            json!({}),
            "invalid_request",
            "inputs.src_lang",
        ),
        (
            "summariser",
            "translation",
            json!({"text": text, "tgt_lang": "de"}),
            json!({}),
            "invalid_request",
            "inputs.tgt_lang",
        ),
        (
            "instructed",
            "translation",
            json!({"text": text, "src_lang": "en"}),
            json!({}),
            "invalid_request",
            "inputs.tgt_lang",
        ),
        (
            "summariser",
            "summarization",
            json!({"text": text}),
            json!({"num_beams": 17}),
            "invalid_request",
            "options.num_beams",
        ),
        (
            "summariser",
            "summarization",
            json!({"text": text}),
            json!({"num_return_sequences": 5}),
            "invalid_request",
            "options.num_return_sequences",
        ),
        (
            "summariser",
            "summarization",
            json!({"text": text}),
            json!({"early_stopping": "soon"}),
            "invalid_request",
            "options.early_stopping",
        ),
        (
            "summariser",
            "summarization",
            json!({"text": text}),
            json!({"do_sample": true}),
            "invalid_request",
            "options.do_sample",
        ),
        (
            "summariser",
            "summarization",
            json!({"text": text}),
            json!({"warmth": 1}),
            "unknown_option",
            "options.warmth",
        ),
        (
            "summariser",
            "summarization",
            json!({"text": ["a", text.repeat(60)]}),
            json!({}),
            "input_too_long",
            "inputs.text[1]",
        ),
        (
            "summariser",
            "summarization",
            json!({"text": 7}),
            json!({}),
            "invalid_request",
            "inputs.text",
        ),
        ("summariser", "summarization", json!({}), json!({}), "missing_inputs", ""),
    ] {
        let asked = json!({
            "model_id": format!("writers/{model}"), "task": task, "inputs": inputs, "options": options,
        });
        let error = api.infer(&asked).await.fails(422, code);
        if !field.is_empty() {
            assert_eq!(error["details"]["field"], field, "{error}");
        }
        if code == "input_too_long" {
            assert_eq!(error["details"]["limit"], 128, "{error}");
        }
    }
    let known = json!({
        "model_id": "writers/translator", "task": "translation",
        "inputs": {"text": text, "tgt_lang": "xx"},
    });
    let error = api.infer(&known).await.fails(422, "invalid_request");
    assert_eq!(error["details"]["known"], json!(["eng_Latn", "fra_Latn", "deu_Latn"]));
}

#[tokio::test]
async fn a_text_that_is_too_long_is_cut_where_that_is_asked_for() {
    let writers = writers().await;
    let asked = json!({
        "model_id": "writers/summariser", "task": "summarization",
        "inputs": {"text": "A small red circle. ".repeat(60)}, "options": {"truncate": true},
    });
    let output = writers.system.api().output(&asked).await;
    assert_eq!(output["prompt_tokens"], 128);
}

#[tokio::test]
async fn the_task_of_a_model_is_told_by_its_config() {
    let writers = writers().await;
    let asked = json!({
        "model_id": "writers/translator",
        "inputs": {"text": "A circle.", "tgt_lang": "fra_Latn"}, "options": {"max_new_tokens": 3},
    });
    let answer = writers.system.api().infer(&asked).await.ok();
    assert_eq!(answer["result"]["metadata"]["task"], "translation");
}

//! `token-classification`, `question-answering` and `fill-mask` through the public API: what the reference answers, one by
//! one and all at once, as a stream, and what is refused.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::harness::{
    assert_alike,
    events::check_whole,
    system::{Setup, System},
    token_models::{self, TOKEN_MODELS, cases},
};

const TOLERANCE: f64 = 1e-5;

struct Models {
    system: System,
    _hub: tempfile::TempDir,
}

async fn models() -> Models {
    let hub = tempfile::tempdir().expect("a folder");
    for name in TOKEN_MODELS {
        token_models::write(hub.path(), name);
    }
    Models { system: Setup::of(&[hub.path()]).start().await, _hub: hub }
}

fn task(name: &str) -> &'static str {
    match name {
        "token" => "token-classification",
        "question" => "question-answering",
        _ => "fill-mask",
    }
}

fn request(task: &str, model_id: &str, case: &Value) -> Value {
    json!({
        "model_id": model_id, "task": task, "inputs": case["inputs"], "options": case["options"],
    })
}

async fn answers_as_the_reference(name: &str) {
    let models = models().await;
    let api = models.system.api();
    let cases = cases(name);
    let ask = |(model_id, case): &(String, Value)| request(task(name), model_id, case);
    let requests: Vec<Value> = cases.iter().map(ask).collect();
    for (request, (model_id, case)) in requests.iter().zip(&cases) {
        let what = format!("{model_id}: {case}");
        assert_alike(&what, &api.output(request).await, &case["output"], TOLERANCE);
    }
    let outputs = join_all(requests.iter().map(|request| api.output(request))).await;
    for (output, (model_id, case)) in outputs.iter().zip(&cases) {
        let what = format!("{model_id}, together: {case}");
        assert_alike(&what, output, &case["output"], TOLERANCE);
    }
    let events = api.stream(&requests[0]).await.all().await;
    let done = check_whole(&events);
    let streamed = &done["result"]["task_output"];
    assert_alike("as a stream", streamed, &cases[0].1["output"], TOLERANCE);
}

#[tokio::test]
async fn entities_are_those_of_the_reference() {
    answers_as_the_reference("token").await;
}

#[tokio::test]
async fn answers_are_those_of_the_reference() {
    answers_as_the_reference("question").await;
}

#[tokio::test]
async fn filled_masks_are_those_of_the_reference() {
    answers_as_the_reference("masked").await;
}

#[tokio::test]
async fn the_task_is_told_by_the_models_class_and_has_its_alias() {
    let models = models().await;
    let api = models.system.api();
    let model_id = token_models::model_id("token", "word_piece");
    let inputs = json!({"text": "Ada lives in London."});
    let told = api.infer(&json!({"model_id": model_id, "inputs": inputs})).await.ok();
    assert_eq!(told["result"]["metadata"]["task"], "token-classification");
    let asked = json!({"model_id": model_id, "task": "ner", "inputs": inputs});
    assert_eq!(api.output(&asked).await, told["result"]["task_output"]);
}

#[tokio::test]
async fn what_cannot_be_looked_at_is_refused_by_its_field() {
    let models = models().await;
    let api = models.system.api();
    let long = "Ada ".repeat(200);
    let asked = |name: &'static str, inputs: Value, options: Value| (name, inputs, options);
    let question =
        |question: &str, context: &str| json!({"question": question, "context": context});
    for ((name, inputs, options), code, field) in [
        (asked("token", json!({"text": []}), json!({})), "missing_inputs", ""),
        (asked("token", json!({"text": long}), json!({})), "input_too_long", "inputs.text"),
        (
            asked("token", json!({"text": "a"}), json!({"stride": 62})),
            "invalid_request",
            "options.stride",
        ),
        (
            asked("token", json!({"text": "a"}), json!({"stride": -1})),
            "invalid_request",
            "options.stride",
        ),
        (
            asked("token", json!({"text": "a"}), json!({"aggregation_strategy": "sum"})),
            "invalid_request",
            "options.aggregation_strategy",
        ),
        (
            asked("token", json!({"text": "a"}), json!({"ignore_labels": [1]})),
            "invalid_request",
            "options.ignore_labels",
        ),
        (asked("question", json!({"question": "Why?"}), json!({})), "missing_inputs", ""),
        (asked("question", question("", "a"), json!({})), "invalid_request", "inputs.question"),
        (asked("question", question("a", ""), json!({})), "invalid_request", "inputs.context"),
        (asked("question", question(&long, "a"), json!({})), "input_too_long", "inputs.question"),
        (
            asked("question", question("a", &long), json!({"doc_stride": 63})),
            "invalid_request",
            "options.doc_stride",
        ),
        (
            asked("question", question("a", "b"), json!({"max_seq_len": 100})),
            "invalid_request",
            "options.max_seq_len",
        ),
        (
            asked("question", question("a", "b"), json!({"top_k": 0})),
            "invalid_request",
            "options.top_k",
        ),
        (asked("masked", json!({"text": "No gap."}), json!({})), "invalid_request", "inputs.text"),
        (asked("masked", json!({"text": ["a"]}), json!({})), "invalid_request", "inputs.text"),
        (
            asked("masked", json!({"text": "[MASK]"}), json!({"top_k": 0})),
            "invalid_request",
            "options.top_k",
        ),
        (
            asked("masked", json!({"text": "[MASK]"}), json!({"targets": ["London"]})),
            "invalid_request",
            "options.targets[0]",
        ),
        (
            asked("masked", json!({"text": "[MASK]"}), json!({"top": 1})),
            "unknown_option",
            "options.top",
        ),
    ] {
        let model_id = token_models::model_id(name, "word_piece");
        let asked = json!({
            "model_id": model_id, "task": task(name), "inputs": inputs, "options": options,
        });
        let error = api.infer(&asked).await.fails(422, code);
        if !field.is_empty() {
            assert_eq!(error["details"]["field"], field, "{error}");
        }
    }
}

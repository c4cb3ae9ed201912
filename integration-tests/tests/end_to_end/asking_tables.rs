//! `table-question-answering` through the public API: what the reference answers, one by one and all at once, as a stream,
//! and what is refused.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::harness::{
    events::check_whole,
    system::{Setup, System},
    table_models::{self, TABLE_MODELS, cases, model_id},
};

const TASK: &str = "table-question-answering";

struct Models {
    system: System,
    _hub: tempfile::TempDir,
}

async fn models() -> Models {
    let hub = tempfile::tempdir().expect("a folder");
    for name in TABLE_MODELS {
        table_models::write(hub.path(), name);
    }
    Models { system: Setup::of(&[hub.path()]).start().await, _hub: hub }
}

fn request(name: &str, case: &Value) -> Value {
    json!({
        "model_id": model_id(name), "task": TASK, "inputs": case["inputs"], "options": case["options"],
    })
}

#[tokio::test]
async fn answers_from_tables_are_those_of_the_reference() {
    let models = models().await;
    let api = models.system.api();
    for name in TABLE_MODELS {
        let cases = cases(name);
        let requests: Vec<Value> = cases.iter().map(|case| request(name, case)).collect();
        for (request, case) in requests.iter().zip(&cases) {
            assert_eq!(api.output(request).await, case["output"], "{name}: {case}");
        }
        let outputs = join_all(requests.iter().map(|request| api.output(request))).await;
        for (output, case) in outputs.iter().zip(&cases) {
            assert_eq!(*output, case["output"], "{name}, together: {case}");
        }
        let events = api.stream(&requests[0]).await.all().await;
        let done = check_whole(&events);
        assert_eq!(done["result"]["task_output"], cases[0]["output"], "{name}, as a stream");
    }
}

#[tokio::test]
async fn the_task_is_told_by_the_models_class_and_a_query_is_a_question() {
    let models = models().await;
    let api = models.system.api();
    let case = &cases("choosing")[0];
    let (question, table) = (&case["inputs"]["question"], &case["inputs"]["table"]);
    let asked =
        json!({"model_id": model_id("choosing"), "inputs": {"query": question, "table": table}});
    let told = api.infer(&asked).await.ok();
    assert_eq!(told["result"]["metadata"]["task"], TASK);
    assert_eq!(told["result"]["task_output"], case["output"]);
}

#[tokio::test]
async fn what_is_no_table_is_refused_by_its_field() {
    let models = models().await;
    let api = models.system.api();
    let long = json!({"a": vec!["the boat left the harbour"; 60]});
    let asked = |table: Value| json!({"question": "Why?", "table": table});
    for (name, inputs, code, field) in [
        ("choosing", json!({"question": "Why?"}), "missing_inputs", ""),
        ("choosing", json!({"table": {"a": ["1"]}}), "missing_inputs", ""),
        (
            "choosing",
            json!({"question": "", "table": {"a": ["1"]}}),
            "invalid_request",
            "inputs.question",
        ),
        (
            "choosing",
            json!({"question": 1, "table": {"a": ["1"]}}),
            "invalid_request",
            "inputs.question",
        ),
        ("choosing", asked(json!("a")), "invalid_request", "inputs.table"),
        ("choosing", asked(json!({"a": ["1"], "b": []})), "invalid_request", "inputs.table"),
        ("choosing", asked(json!([["a", "b"], ["1"]])), "invalid_request", "inputs.table"),
        ("choosing", asked(json!([{"a": null}])), "invalid_request", "inputs.table"),
        ("choosing", asked(json!([])), "invalid_request", "inputs.table"),
        ("choosing", asked(json!({"a": []})), "invalid_request", "inputs.table"),
        ("choosing", asked(long.clone()), "input_too_long", "inputs.table"),
        ("writing", asked(json!([["a"]])), "invalid_request", "inputs.table"),
        ("writing", asked(long), "input_too_long", "inputs.table"),
    ] {
        let request = json!({"model_id": model_id(name), "task": TASK, "inputs": inputs});
        let error = api.infer(&request).await.fails(422, code);
        if !field.is_empty() {
            assert_eq!(error["details"]["field"], field, "{name} {inputs}: {error}");
        }
    }
}

#[tokio::test]
async fn a_model_that_cannot_read_tables_says_why() {
    let models = models().await;
    let api = models.system.api();
    let inputs = json!({"text": "Why?"});
    let request = json!({"model_id": model_id("choosing"), "task": "fill-mask", "inputs": inputs});
    api.infer(&request).await.fails(501, "task_not_supported");
}

//! Models come and go: the status says so as it happens, and memory comes back.

use std::{collections::BTreeSet, path::Path};

use futures::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{
    models::{SLOW, TINY},
    system::{Setup, System},
    zoo::{self, GAP_FILLER, SENTENCES, SHAPES, STORYTELLER, list},
};

async fn with_models(write: impl FnOnce(&Path)) -> (System, TempDir) {
    let hub = tempfile::tempdir().expect("a folder");
    write(hub.path());
    let system = Setup::of(&[hub.path(), &zoo::hub()]).start().await;
    (system, hub)
}

fn tokens(model_id: &str, n: u32) -> Value {
    let options = json!({"max_new_tokens": n, "min_new_tokens": n, "do_sample": false});
    json!({"model_id": model_id, "task": "text-generation", "inputs": {"text": "Once"}, "options": options})
}

#[tokio::test]
async fn the_live_status_tells_a_load_from_its_beginning_to_ready_and_to_gone() {
    let (system, _hub) = with_models(|hub| TINY.write(hub, "it/tiny")).await;
    let api = system.api();
    let mut status = api.status_stream().await;
    let snapshot = status.next().await.expect("a snapshot");
    assert_eq!((snapshot.name.as_str(), &snapshot.data["models"]), ("snapshot", &json!([])));

    let answer = api.infer(&tokens("it/tiny", 4)).await.ok();
    assert!(
        answer["result"]["metadata"]["load_ms"].as_f64().is_some_and(|ms| ms > 0.0),
        "{answer}"
    );
    let ready = status
        .find("model", |model| model["model_id"] == "it/tiny" && model["status"] == "ready")
        .await;
    assert!(ready.data["load_time_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{}", ready.data);
    assert!(ready.data["bytes"]["weights"].as_u64().is_some_and(|bytes| bytes > 100_000));
    assert_eq!((&ready.data["worker"], &ready.data["device"]), (&json!("cpu"), &json!("cpu")));
    let again = api.infer(&tokens("it/tiny", 4)).await.ok();
    assert!(again["result"]["metadata"]["load_ms"].is_null(), "{again}");

    // Ids contain slashes, and the path takes them as they are.
    let gone = api.delete("/api/models/text-generation/it/tiny").await.ok();
    assert_eq!(gone["unloaded"][0]["model_id"], "it/tiny");
    assert!(
        gone["unloaded"][0]["bytes_expected"].as_u64().is_some_and(|bytes| bytes > 0),
        "{gone}"
    );
    status.find("model_gone", |model| model["model_id"] == "it/tiny").await;
    assert_eq!(api.model("it/tiny").await, None);
    let error = api.delete("/api/models/text-generation/it/tiny").await.fails(404, "not_loaded");
    assert_eq!(error["details"]["model_id"], "it/tiny");
}

#[tokio::test]
async fn fifty_first_requests_load_the_model_once() {
    let (system, _hub) = with_models(|_| {}).await;
    let api = system.api();
    let request = tokens(STORYTELLER, 8);
    let mut status = api.status_stream().await;
    let outputs = join_all((0..50).map(|_| api.output(&request))).await;
    assert!(outputs.iter().all(|output| output == &outputs[0]), "{outputs:?}");
    let mut residencies = BTreeSet::new();
    loop {
        let model = status.until("model").await.data;
        residencies.insert(model["residency_id"].as_str().expect("an id").to_owned());
        if model["requests"] == 50 && model["in_flight"] == 0 {
            break;
        }
    }
    assert_eq!(residencies.len(), 1, "{residencies:?}");
}

#[tokio::test]
async fn weights_take_what_the_plan_said_and_matrices_of_a_half_type_stay_half() {
    let system = Setup::of(&[&zoo::hub()]).start().await;
    let api = system.api();
    // Stored in float16; a CPU widens what are no matrices, such as the weights of convolutions.
    for (model_id, of_two_bytes) in
        [(STORYTELLER, 0.99), (SHAPES, 0.8), (GAP_FILLER, 0.98), (SENTENCES, 0.0)]
    {
        let plan = api.post("/api/placement/explain", &json!({"model_id": model_id})).await.ok();
        let planned = plan["estimates"][0]["weight_bytes"].as_u64().expect("bytes");
        let request = api.request(reqwest::Method::POST, "/api/models/load");
        api.events(request.json(&json!({"model_id": model_id}))).await.all().await;
        let model = api.until_model(model_id).await;
        assert_eq!(
            (&model["dtype"], &model["bytes"]["weights"]),
            (&json!("float32"), &json!(planned))
        );
        let values = model["parameters"].as_f64().expect("a number");
        let found = 2.0 - planned as f64 / values / 2.0;
        println!("{model_id}: {found:.3} of the values take two bytes");
        assert!((of_two_bytes..=1.0).contains(&found), "{model}");
    }
}

#[tokio::test]
async fn a_status_that_is_asked_for_after_an_answer_has_what_the_answer_said() {
    let (system, _hub) = with_models(|hub| TINY.write(hub, "it/tiny")).await;
    let api = system.api();
    for round in 0..10 {
        let done = api.post("/api/models/load", &json!({"model_id": "it/tiny"})).await.ok();
        let model = api.model("it/tiny").await.expect("it was loaded");
        assert_eq!(model["status"], "ready");
        assert_eq!(model["residency_id"], done["model"]["residency_id"]);
        let pinned = round % 2 == 0;
        api.patch("/api/models/it/tiny", &json!({"pinned": pinned})).await.ok();
        assert_eq!(api.model("it/tiny").await.expect("it is there")["pinned"], pinned);
        api.post("/api/models/unload", &json!({"model_id": "it/tiny"})).await.ok();
        assert_eq!(api.model("it/tiny").await, None);
    }
}

#[tokio::test]
async fn memory_comes_back_with_an_unload() {
    let (system, _hub) = with_models(|hub| SLOW.write(hub, "it/large")).await;
    let api = system.api();
    let mut status = api.status_stream().await;
    api.infer(&tokens("it/large", 1)).await.ok();
    status.find("model", |model| model["status"] == "ready" && model["in_flight"] == 0).await;
    let loaded = api.until_model("it/large").await;
    let weights = loaded["bytes"]["weights"].as_u64().expect("bytes");
    assert!(weights > 100_000_000, "{loaded}");
    let released = api.post("/api/models/unload", &json!({"model_id": "it/large"})).await.ok();
    let freed = released["bytes_freed"].as_u64().expect("bytes");
    // Mapped weights are file pages and anonymous ones go back to the system: either way the process shrinks.
    println!("{weights} bytes of weights, {freed} bytes came back");
    assert!(freed as f64 > 0.8 * weights as f64, "{released}");
    status.until("model_gone").await;
    assert_eq!(api.model("it/large").await, None);
}

#[tokio::test]
async fn a_model_in_use_stays_unless_forced_and_then_its_stream_ends_with_an_error() {
    let (system, _hub) = with_models(|hub| SLOW.write(hub, "it/slow")).await;
    let api = system.api();
    let mut stream = api.stream(&tokens("it/slow", 1500)).await;
    stream.until("token").await;
    let in_use = api.delete("/api/models/text-generation/it/slow").await.fails(409, "in_use");
    assert!(in_use["details"].is_object(), "{in_use}");
    stream.until("token").await;
    let forced = api.delete("/api/models/text-generation/it/slow?force=true").await.ok();
    assert_eq!(list(&forced["unloaded"]).len(), 1);
    let events = stream.all().await;
    let last = events.last().expect("an end");
    assert_eq!(last.name, "error", "{last:?}");
    assert!(last.data["code"].is_string() && last.data["message"].is_string(), "{last:?}");
    println!("a forced unload ends a stream with {}", last.data);
    // The next request simply loads it again.
    api.infer(&tokens("it/slow", 2)).await.ok();
}

#[tokio::test]
async fn a_load_ahead_of_use_is_told_as_events_and_a_request_that_does_not_wait_is_refused() {
    let (system, _hub) = with_models(|hub| SLOW.write(hub, "it/slow")).await;
    let api = system.api();
    let mut hasty = tokens("it/slow", 1);
    hasty["run"] = json!({"wait": false});
    api.infer(&hasty).await.fails(503, "loading");
    let request = api.request(reqwest::Method::POST, "/api/models/load");
    let request = request.json(&json!({"model_id": "it/slow", "pin": true, "keep_alive": "-1"}));
    let events = api.events(request).await.all().await;
    let done = &events.last().expect("an end").data;
    assert_eq!(done["type"], "done");
    assert_eq!(
        (&done["model"]["status"], &done["model"]["pinned"]),
        (&json!("ready"), &json!(true))
    );
    assert_eq!(done["model"]["keep_alive_s"], -1.0);
    api.infer(&hasty).await.ok();
}

//! A model that is never idle makes room in the end, and what runs on it may end first.

use serde_json::{Value, json};

use crate::harness::{models::SLOW, system::Setup, within};

/// One of the slow models fits, two don't.
const BUDGET: &str = "500MB";

fn story(model_id: &str, n_tokens: u32) -> Value {
    let options =
        json!({"max_new_tokens": n_tokens, "min_new_tokens": n_tokens, "do_sample": false});
    json!({"model_id": model_id, "task": "text-generation", "inputs": {"text": "Once"}, "options": options})
}

#[tokio::test]
async fn a_model_that_is_never_idle_is_drained_for_a_request_that_has_waited() {
    let hub = tempfile::tempdir().expect("a folder");
    for model in ["it/busy", "it/other"] {
        SLOW.write(hub.path(), model);
    }
    let setup = Setup::of(&[hub.path()])
        .argument("--memory-budget", BUDGET)
        .argument("--drain-after", "300ms")
        .argument("--drain-grace", "1s")
        .environment("ANYMODEL_MIN_RESIDENCY", "0s");
    let system = setup.start().await;
    let api = system.api();
    let mut endless = api.stream(&story("it/busy", 1900)).await;
    endless.until("token").await;
    let mut status = api.status_stream().await;
    let asking = system.api();
    let other = tokio::spawn(async move { asking.infer(&story("it/other", 2)).await });
    // What it has goes on while it drains, and it takes nothing new.
    status
        .find("model", |model| model["model_id"] == "it/busy" && model["status"] == "draining")
        .await;
    endless.until("token").await;
    within("the other's answer", other).await.expect("no panic").ok();
    let events = endless.all().await;
    let end = events.last().expect("an end");
    assert_eq!(end.data["code"], "no_room", "{}", end.data);
    assert_eq!(end.data["retryable"], true, "{}", end.data);

    let evictions = api.get("/api/models/evictions").await.ok();
    let eviction = &evictions["evictions"][0];
    assert_eq!(eviction["model_id"], "it/busy", "{evictions}");
    assert_eq!(eviction["made_room_for"], "it/other", "{evictions}");
}

#[tokio::test]
async fn a_request_that_ends_in_time_is_not_cut_off() {
    let hub = tempfile::tempdir().expect("a folder");
    for model in ["it/busy", "it/other"] {
        SLOW.write(hub.path(), model);
    }
    let setup = Setup::of(&[hub.path()])
        .argument("--memory-budget", BUDGET)
        .argument("--drain-after", "100ms")
        .argument("--drain-grace", "2m")
        .environment("ANYMODEL_MIN_RESIDENCY", "0s");
    let system = setup.start().await;
    let api = system.api();
    let mut first = api.stream(&story("it/busy", 300)).await;
    first.until("token").await;
    let asking = system.api();
    let other = tokio::spawn(async move { asking.infer(&story("it/other", 2)).await });
    let events = first.all().await;
    assert_eq!(events.last().expect("an end").name, "done", "{:?}", events.last().map(|e| &e.data));
    within("the other's answer", other).await.expect("no panic").ok();
}

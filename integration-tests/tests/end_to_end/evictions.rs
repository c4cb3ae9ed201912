//! A small memory budget: who leaves, who stays, and what is said when nobody may leave.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{
    models::{Gpt2, SLOW, TINY},
    system::{Setup, System},
};

/// Room for two of the tiny models and not for three.
const BUDGET: &str = "24MB";

async fn small_system() -> (System, TempDir) {
    let hub = tempfile::tempdir().expect("a folder");
    for name in ["it/a", "it/b", "it/c"] {
        TINY.write(hub.path(), name);
    }
    Gpt2 { layers: 2, ..SLOW }.write(hub.path(), "it/large");
    let setup = Setup::of(&[hub.path()]).argument("--memory-budget", BUDGET);
    // Otherwise nothing would leave in its first half minute.
    (setup.environment("ANYMODEL_MIN_RESIDENCY", "0s").start().await, hub)
}

fn ask(model_id: &str) -> Value {
    let options = json!({"max_new_tokens": 2, "do_sample": false});
    json!({"model_id": model_id, "task": "text-generation", "inputs": {"text": "Once"}, "options": options})
}

/// Answers once, and waits until the status says so.
async fn use_once(system: &System, model_id: &str) {
    let api = system.api();
    let mut status = api.status_stream().await;
    let before =
        api.model(model_id).await.map_or(0, |model| model["requests"].as_u64().unwrap_or(0));
    api.infer(&ask(model_id)).await.ok();
    let used = |model: &Value| {
        model["model_id"] == model_id
            && model["in_flight"] == 0
            && model["queued"] == 0
            && model["requests"].as_u64() > Some(before)
    };
    status.find("model", used).await;
}

async fn resident(system: &System) -> Vec<String> {
    let models = system.api().models().await;
    let ready = models.iter().filter(|model| model["status"] == "ready");
    let mut ids: Vec<String> =
        ready.map(|model| model["model_id"].as_str().expect("an id").to_owned()).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn the_least_recently_used_model_makes_room_and_the_log_tells_it() {
    let (system, _hub) = small_system().await;
    let api = system.api();
    for model in ["it/a", "it/b", "it/a"] {
        use_once(&system, model).await;
    }
    assert_eq!(resident(&system).await, ["it/a", "it/b"]);
    let mut status = api.status_stream().await;
    // What would happen is told beforehand, and nothing happens by asking.
    let question = json!({"model_id": "it/c", "task": "text-generation"});
    let mut plan = api.post("/api/placement/explain", &question).await.ok();
    // Counts of requests may need another heartbeat to say that both are idle.
    for _ in 0..20 {
        if plan["decision"] == "load" {
            break;
        }
        status.until("worker").await;
        plan = api.post("/api/placement/explain", &question).await.ok();
    }
    assert!(plan.to_string().contains("it/b"), "{plan}");
    assert_eq!(resident(&system).await, ["it/a", "it/b"]);

    use_once(&system, "it/c").await;
    assert_eq!(resident(&system).await, ["it/a", "it/c"]);
    let told = status.until("eviction").await.data;
    assert_eq!(told["eviction"]["model_id"], "it/b");
    let log = api.get("/api/models/evictions").await.ok();
    let newest = &log["evictions"][0];
    assert_eq!((&newest["model_id"], &newest["made_room_for"]), (&json!("it/b"), &json!("it/c")));
    assert_eq!((&newest["reason"], &newest["worker"]), (&json!("room"), &json!("cpu")));
    assert!(newest["bytes_expected"].as_u64().is_some_and(|bytes| bytes > 100_000), "{newest}");
    assert!(newest["regret"]["regret_s"].as_f64().is_some_and(|regret| regret > 0.0), "{newest}");
    assert!(newest["bytes_freed"].is_u64(), "{newest}");
    let figure = "model_evictions_total{worker=\"cpu\",reason=\"room\"} 1";
    // It comes with the next gauges.
    while !api.get("/metrics").await.text.contains(figure) {
        status.until("worker").await;
    }
}

#[tokio::test]
async fn pinned_models_stay_and_whoever_holds_the_room_is_named() {
    let (system, _hub) = small_system().await;
    let api = system.api();
    for model in ["it/a", "it/b"] {
        use_once(&system, model).await;
        let pinned =
            api.patch(&format!("/api/models/{model}"), &json!({"pinned": true})).await.ok();
        assert_eq!(pinned["workers"], json!(["cpu"]));
    }
    let mut refused = ask("it/c");
    refused["run"] = json!({"on_conflict": "refuse"});
    let error = api.infer(&refused).await.fails(503, "no_room");
    assert!(error["details"]["needed_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{error}");
    let holders = error["details"]["holders"].to_string();
    assert!(holders.contains("it/a") && holders.contains("it/b"), "{error}");
    assert_eq!(error["retryable"], true);
    let mut hasty = ask("it/c");
    hasty["run"] = json!({"wait": false});
    api.infer(&hasty).await.fails(503, "no_room");

    // One that waits says so, and runs as soon as a pin is taken away.
    let mut waiting = api.stream(&ask("it/c")).await;
    let queued = waiting.until("queued").await;
    assert_eq!(queued.data["reason"], "no_room");
    api.patch("/api/models/it/b", &json!({"pinned": false})).await.ok();
    waiting.until("done").await;
    use_once(&system, "it/c").await;
    assert_eq!(resident(&system).await, ["it/a", "it/c"]);
    let mut late = ask("it/b");
    late["run"] = json!({"timeout": "300ms"});
    api.patch("/api/models/it/c", &json!({"pinned": true})).await.ok();
    api.infer(&late).await.fails(504, "deadline_exceeded");
}

#[tokio::test]
async fn a_model_that_never_fits_is_refused_with_its_figures_and_nobody_leaves_for_it() {
    let (system, _hub) = small_system().await;
    let api = system.api();
    use_once(&system, "it/a").await;
    let error = api.infer(&ask("it/large")).await.fails(422, "too_large");
    let bytes = |name: &str| error["details"][name].as_u64().unwrap_or_else(|| panic!("{error}"));
    assert!(bytes("needed_bytes") > bytes("budget_bytes"));
    assert_eq!(bytes("budget_bytes"), 24_000_000);
    assert_eq!(error["retryable"], false);
    assert_eq!(resident(&system).await, ["it/a"]);
    // With more room it runs.
    api.patch("/api/workers/cpu", &json!({"budgets": {"cpu": "2GB"}})).await.ok();
    api.infer(&ask("it/large")).await.ok();
}

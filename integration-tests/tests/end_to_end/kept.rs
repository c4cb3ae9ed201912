//! What a worker keeps over its death: pins, budgets, data types, the log of evictions, learned costs.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{
    models::TINY,
    signals,
    system::{Setup, System},
};

async fn system() -> (System, TempDir) {
    let hub = tempfile::tempdir().expect("a folder");
    for name in ["it/a", "it/b"] {
        TINY.write(hub.path(), name);
    }
    (Setup::of(&[hub.path()]).start().await, hub)
}

fn ask(model_id: &str, prompt: &str) -> Value {
    let options = json!({"max_new_tokens": 2, "do_sample": false});
    json!({"model_id": model_id, "task": "text-generation", "inputs": {"text": prompt}, "options": options})
}

/// Kills the worker without a warning and waits for the next.
async fn kill(system: &System) {
    let api = system.api();
    let mut status = api.status_stream().await;
    let killed = system.worker_pid().await;
    signals::kill(killed);
    let is_another = |all: &Value| {
        let pid = all["workers"][0]["pid"].as_u64();
        pid.is_some_and(|pid| pid != u64::from(killed) && pid != 0)
    };
    status.find("snapshot", is_another).await;
}

#[tokio::test]
async fn a_killed_workers_successor_knows_its_pins_budget_and_evictions() {
    let (system, _hub) = system().await;
    let api = system.api();
    for model in ["it/a", "it/b"] {
        api.infer(&ask(model, "Once")).await.ok();
    }
    let policy = json!({"pinned": true, "keep_alive": "-1", "min_residency": "7s"});
    let answer = api.patch("/api/models/it/a", &policy).await.ok();
    assert_eq!((&answer["workers"], &answer["kept"]), (&json!(["cpu"]), &json!(true)));
    let answer = api.patch("/api/workers/cpu", &json!({"budgets": {"cpu": "3GB"}})).await.ok();
    assert_eq!(answer["kept"], true);
    api.post("/api/models/unload", &json!({"model_id": "it/b"})).await.ok();

    kill(&system).await;
    let workers = api.get("/api/workers").await.ok();
    assert_eq!(workers["workers"][0]["devices"][0]["budget_bytes"], 3_000_000_000_u64, "{workers}");
    let log = api.get("/api/models/evictions").await.ok();
    assert_eq!(
        (&log["evictions"][0]["model_id"], &log["evictions"][0]["reason"]),
        (&json!("it/b"), &json!("unload"))
    );
    api.infer(&ask("it/a", "Once")).await.ok();
    let model = api.until_model("it/a").await;
    assert_eq!((&model["pinned"], &model["keep_alive_s"]), (&json!(true), &json!(-1.0)), "{model}");
}

#[tokio::test]
async fn a_models_own_data_type_holds_for_later_loads_and_can_be_taken_back() {
    let (system, _hub) = system().await;
    let api = system.api();
    let dtype = async || {
        let answer = api.infer(&ask("it/a", "Once")).await.ok();
        answer["result"]["metadata"]["dtype"].as_str().expect("a name").to_owned()
    };
    assert_eq!(dtype().await, "float32");
    let answer = api.patch("/api/models/it/a", &json!({"dtype": "int3"})).await;
    let error = answer.fails(422, "invalid_request");
    assert_eq!(error["details"]["field"], "residencies.dtype", "{error}");
    api.patch("/api/models/it/a", &json!({"dtype": "bfloat16"})).await.ok();
    let mut status = api.status_stream().await;
    while !api.models().await.is_empty() {
        status.until("model_gone").await;
    }
    assert_eq!(dtype().await, "bfloat16");
    kill(&system).await;
    assert_eq!(dtype().await, "bfloat16");
    let mut other = ask("it/a", "Once");
    other["run"] = json!({"dtype": "float32"});
    let answer = api.infer(&other).await.ok();
    assert_eq!(answer["result"]["metadata"]["dtype"], "float32");
}

#[tokio::test]
async fn what_steps_needed_takes_the_place_of_the_estimate_and_is_known_after_a_restart() {
    let (system, _hub) = system().await;
    let api = system.api();
    let explain = json!({"model_id": "it/b", "task": "text-generation"});
    let needed = async || {
        let plan = api.post("/api/placement/explain", &explain).await.ok();
        plan["estimates"][0]["needed_bytes"].as_u64().unwrap_or_else(|| panic!("{plan}"))
    };
    let estimated = needed().await;
    // A prompt that fills a step.
    api.infer(&ask("it/b", &"Once upon a time there was a red circle. ".repeat(30))).await.ok();
    // The answer may come before the status that tells what it cost.
    let mut model = api.until_model("it/b").await;
    for _ in 0..100 {
        if model["learned"]["workspace_bytes"].is_u64() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        model = api.until_model("it/b").await;
    }
    let learned = &model["learned"];
    let workspace = learned["workspace_bytes"].as_u64().unwrap_or_else(|| panic!("{model}"));
    let load = learned["load_seconds"].as_f64().unwrap_or_else(|| panic!("{model}"));
    println!("workspace {workspace}, estimated {}", learned["estimated_workspace_bytes"]);
    assert!(workspace > 0 && load > 0.0, "{learned}");
    assert_eq!(model["bytes"]["workspace"].as_u64(), Some(workspace), "{model}");
    let metrics = api.get("/metrics").await.text;
    assert!(metrics.contains("model_estimate_error_ratio{"), "{metrics}");

    kill(&system).await;
    let known = needed().await;
    let expected =
        estimated - learned["estimated_workspace_bytes"].as_u64().expect("bytes") + workspace;
    assert_eq!(known, expected, "{learned}");
}

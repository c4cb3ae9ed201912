//! Models and workers: status and its stream, load, unload, policy, explanation, catalogue, tasks.

use axum::{body::Body, http::Request};
use futures::StreamExt;
use proto::{
    Gauges, LoadEvent, ResidencyState, UnloadModelResponse, Unloaded, status_event::Change,
};
use serde_json::json;
use tonic::Code as Grpc;
use tower::ServiceExt;

use crate::{
    Server,
    fake_worker::{FakeWorker, Script, detail, similarity, started},
    json_request,
};

fn delete(path: &str) -> Request<Body> {
    Request::delete(path).body(Body::empty()).unwrap()
}

#[tokio::test]
async fn the_status_tells_time_and_memory_of_every_model() {
    let (worker, _cancelled) = FakeWorker::start("w", Script::ready()).await;
    let server = Server::over(&[&worker]).await;
    let model = &server.get("/api/models/status").await.json()["models"][0];
    assert_eq!((&model["model_id"], &model["status"]), (&json!("org/model"), &json!("ready")));
    assert_eq!(
        (&model["worker"], &model["device"], &model["bytes"]["weights"]),
        (&json!("w"), &json!("cpu"), &json!(40))
    );
    assert_eq!((&model["load_time_ms"], &model["keep_alive_s"]), (&json!(12.5), &json!(-1.0)));
    assert!(model["loaded_s_ago"].as_f64() >= Some(60.0));
    let workers = server.get("/api/workers").await.json();
    assert_eq!(
        (&workers["workers"][0]["id"], &workers["workers"][0]["link"]),
        (&json!("w"), &json!("up"))
    );
}

#[tokio::test]
async fn the_status_stream_begins_with_a_snapshot_and_goes_on_with_changes() {
    let (worker, _cancelled) = FakeWorker::start("w", Script::ready()).await;
    let server = Server::over(&[&worker]).await;
    let request = Request::get("/api/models/status/stream").body(Body::empty()).unwrap();
    let response = server.router.clone().oneshot(request).await.unwrap();
    let mut body = response.into_body().into_data_stream();
    let mut seen = String::new();
    let mut told = false;
    while !seen.contains("event: model_gone") {
        seen += std::str::from_utf8(&body.next().await.unwrap().unwrap()).unwrap();
        if seen.contains("event: snapshot") && !told {
            told = true;
            worker.tell(Change::Residency(Script::residency("org/new", 1)));
            worker.tell(Change::ResidencyGone("r-org/new".into()));
        }
    }
    assert!(seen.starts_with("event: snapshot\n"), "{seen}");
    assert!(seen.contains("event: model\n") || seen.contains("org/new"));
}

#[tokio::test]
async fn a_load_answers_when_the_model_is_ready_or_tells_on_the_way() {
    let loading = LoadEvent {
        state: ResidencyState::Loading.into(),
        bytes_done: 5,
        bytes_total: 10,
        ..Default::default()
    };
    let ready = LoadEvent {
        state: ResidencyState::Ready.into(),
        residency: Some(Script::residency("org/other", 40)),
        ..Default::default()
    };
    let mut script = Script::ready();
    for _ in 0..2 {
        script.loads.push_back(vec![Ok(loading.clone()), Ok(ready.clone())]);
    }
    let failed = detail(Grpc::Internal, "corrupt_checkpoint", "", "the file is cut short");
    script.loads.push_back(vec![Err(failed)]);
    let (worker, _cancelled) = FakeWorker::start("w", script).await;
    let server = Server::over(&[&worker]).await;

    let body = json!({"model_id": "org/other", "pin": true, "keep_alive": "10s"});
    let done = server.post("/api/models/load", &body).await;
    assert_eq!(
        (done.status.as_u16(), &done.json()["model"]["status"]),
        (200, &json!("ready")),
        "{}",
        done.text
    );
    assert_eq!((worker.loads()[0].pin, worker.loads()[0].keep_alive_ms), (true, Some(10_000)));

    let mut request = json_request("POST", "/api/models/load", &body);
    request.headers_mut().insert("accept", "text/event-stream".parse().unwrap());
    let events = server.send(request).await.events();
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["loading", "done"]);
    assert_eq!(
        (&events[0].1["state"], &events[0].1["bytes_total"]),
        (&json!("loading"), &json!(10))
    );

    let failed = server.post("/api/models/load", &body).await;
    assert_eq!((failed.status.as_u16(), failed.code().as_str()), (500, "corrupt_checkpoint"));
}

#[tokio::test]
async fn ids_with_slashes_can_be_deleted_encoded_or_not() {
    let freed = || {
        let unloaded = Unloaded {
            residency_id: "r".into(),
            model_id: "org/model".into(),
            bytes_expected: 40,
            bytes_freed: 38,
            weights_kept: false,
        };
        Ok(UnloadModelResponse { unloaded: vec![unloaded] })
    };
    let busy = Err(detail(Grpc::FailedPrecondition, "in_use", "", "it is in use"));
    let script = Script { unloads: [freed(), freed(), freed(), busy].into(), ..Script::ready() };
    let (worker, _cancelled) = FakeWorker::start("w", script).await;
    let server = Server::over(&[&worker]).await;
    for path in [
        "/api/models/text-generation/org/model",
        "/api/models/text-generation/org%2Fmodel?force=true",
    ] {
        let answer = server.send(delete(path)).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["bytes_freed"]),
            (200, &json!(38)),
            "{path}"
        );
    }
    let asked = worker.unloads();
    assert_eq!(asked[1].model.as_ref().map(|model| model.model_id.as_str()), Some("org/model"));
    assert_eq!(
        (asked[0].force, asked[1].force, asked[1].task.as_str()),
        (false, true, "text-generation")
    );

    let posted = server.post("/api/models/unload", &json!({"model_id": "org/model"})).await;
    assert_eq!(posted.json()["unloaded"][0]["worker"], "w");
    let busy = server.send(delete("/api/models/text-generation/org/model")).await;
    assert_eq!((busy.status.as_u16(), busy.code().as_str()), (409, "in_use"));
    let gone = server.send(delete("/api/models/text-generation/org/model")).await;
    assert_eq!((gone.status.as_u16(), gone.code().as_str()), (404, "not_loaded"));
}

#[tokio::test]
async fn pins_and_budgets_reach_the_worker() {
    let (worker, _cancelled) = FakeWorker::start("w", Script::ready()).await;
    let server = Server::over(&[&worker]).await;
    let pin = json!({"pinned": true, "keep_alive": "-1", "min_residency": "30s"});
    let pinned = server.send(json_request("PATCH", "/api/models/org/model", &pin)).await;
    assert_eq!(
        (pinned.status.as_u16(), &pinned.json()["workers"]),
        (200, &json!(["w"])),
        "{}",
        pinned.text
    );
    let policy = &worker.configures()[0].residencies[0];
    assert_eq!(
        (policy.pinned, policy.keep_alive_ms, policy.min_residency_ms),
        (Some(true), Some(-1), Some(30_000))
    );
    let nowhere = server.send(json_request("PATCH", "/api/models/org/other", &pin)).await;
    assert_eq!(nowhere.code(), "not_loaded");

    // A data type is for later loads, so that no model has to be there.
    for (dtype, sent) in [("bfloat16", "bfloat16"), ("auto", "")] {
        let change = json!({"dtype": dtype});
        let answer = server.send(json_request("PATCH", "/api/models/org/other", &change)).await;
        assert_eq!(answer.json()["kept"], true, "{}", answer.text);
        let told = worker.configures().pop().unwrap();
        assert_eq!(told.residencies[0].dtype.as_deref(), Some(sent));
    }

    let half = json!({"budgets": {"cpu": "50%"}, "drain": true});
    let answer = server.send(json_request("PATCH", "/api/workers/w", &half)).await;
    assert_eq!(
        answer.json(),
        json!({"id": "w", "budgets": [{"device": "cpu", "bytes": 100}], "draining": true, "kept": true})
    );
    let wrong = json!({"budgets": {"cuda:7": "1GB"}});
    let answer = server.send(json_request("PATCH", "/api/workers/w", &wrong)).await;
    assert_eq!(answer.json()["error"]["details"]["field"], "budgets.cuda:7");
    assert_eq!(
        server.send(json_request("PATCH", "/api/workers/x", &half)).await.code(),
        "not_found"
    );
}

#[tokio::test]
async fn placement_is_explained_without_being_done() {
    let script = Script { budget: 50, ..Script::ready() };
    let (worker, _cancelled) = FakeWorker::start("w", script).await;
    let server = Server::over(&[&worker]).await;
    let answer =
        server.post("/api/placement/explain", &json!({"model_id": "org/other"})).await.json();
    assert_eq!((&answer["decision"], &answer["worker"]), (&json!("load"), &json!("w")), "{answer}");
    assert_eq!(answer["evict"][0]["model_id"], "org/model");
    // Twelve milliseconds of loading count as the shortest reload there is.
    let candidate = &answer["estimates"][0]["candidates"][0];
    assert_eq!(
        (&candidate["model_id"], &candidate["state"]),
        (&json!("org/model"), &json!("idle"))
    );
    assert_eq!(candidate["regret"]["reload_s"], 0.25);
    let regret_s = candidate["regret"]["regret_s"].as_f64().unwrap();
    assert!(regret_s > 0.0 && regret_s < 0.25, "{answer}");
    assert_eq!(
        (&answer["estimates"][0]["needed_bytes"], &answer["estimates"][0]["free_bytes"]),
        (&json!(40), &json!(10))
    );
    let resident =
        server.post("/api/placement/explain", &json!({"model_id": "org/model"})).await.json();
    assert_eq!(resident["decision"], "use");
    assert!(worker.loads().is_empty() && worker.infers().is_empty());
}

#[tokio::test]
async fn the_catalogue_says_what_can_be_run() {
    let hub = tempfile::tempdir().unwrap();
    for name in ["org/model", "org/strange", "org/unheard"] {
        std::fs::create_dir_all(hub.path().join(name)).unwrap();
        std::fs::write(hub.path().join(name).join("config.json"), "{}").unwrap();
    }
    let (worker, _cancelled) = FakeWorker::start("w", Script::ready()).await;
    let server = Server::with(&[&worker], &["--hub", hub.path().to_str().unwrap()]).await;
    let all = server.get("/api/models").await.json();
    let rows = all["models"].as_array().unwrap();
    let runnable: Vec<_> = rows
        .iter()
        .map(|row| (row["model_id"].as_str().unwrap(), row["runnable"] == true))
        .collect();
    assert_eq!(runnable, [("org/model", true), ("org/strange", false), ("org/unheard", false)]);
    assert_eq!(
        (&rows[0]["loaded"], &rows[1]["reason"]["code"]),
        (&json!(true), &json!("architecture_not_supported"))
    );

    let first = server.get("/api/models?limit=2").await.json();
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = server.get(&format!("/api/models?limit=2&cursor={cursor}")).await.json();
    assert_eq!(
        (second["models"].as_array().map(Vec::len), second.get("next_cursor")),
        (Some(1), None)
    );
    assert_eq!(server.get("/api/models?search=STRANGE").await.json()["total"], 1);
    assert_eq!(server.get("/api/models?sort=trending").await.code(), "invalid_request");
    assert_eq!(server.get("/api/models?licence=mit").await.status.as_u16(), 422);
}

#[tokio::test]
async fn the_task_of_a_model_is_told_by_its_repository() {
    let mut script = Script::ready().infer([started(), similarity(vec![0.5])]);
    script.plans.get_mut("org/model").unwrap().task = "sentence-similarity";
    let (worker, _cancelled) = FakeWorker::start("w", script).await;
    let server = Server::over(&[&worker]).await;
    let inputs = json!({"source_sentence": "a", "sentences": ["b"]});
    let answer = server.infer(&json!({"model_id": "org/model", "inputs": inputs})).await;
    assert_eq!(answer.json()["result"]["task_output"], json!({"scores": [0.5]}), "{}", answer.text);
    assert_eq!(worker.infers()[0].task, "sentence-similarity");
}

#[tokio::test]
async fn tasks_and_intents_say_what_a_worker_supports() {
    let (worker, _cancelled) = FakeWorker::start("w", Script::ready()).await;
    let server = Server::over(&[&worker]).await;
    let task = server.get("/api/tasks/conversational").await.json();
    assert_eq!((&task["id"], &task["supported"]), (&json!("text-generation"), &json!(true)));
    assert!(task["options_schema"]["properties"]["temperature"].is_object());
    assert_eq!(server.get("/api/tasks/tea").await.code(), "unknown_task");
    let tasks = server.get("/api/tasks").await.json();
    let vectors =
        tasks["tasks"].as_array().unwrap().iter().find(|task| task["id"] == "feature-extraction");
    assert_eq!(vectors.unwrap()["supported"], false);
    assert!(server.get("/api/intents").await.json()["intents"].as_array().unwrap().len() > 20);
}

#[tokio::test]
async fn operators_find_health_figures_and_documentation() {
    let (worker, _cancelled) = FakeWorker::start("w", Script::ready()).await;
    let server = Server::over(&[&worker]).await;
    assert_eq!(server.get("/readyz").await.status.as_u16(), 200);
    let metrics = server.get("/metrics").await.text;
    for figure in
        ["worker_up{worker=\"w\"} 1", "model_bytes{worker=\"w\",model_name=\"org/model\"} 40"]
    {
        assert!(metrics.contains(figure), "{metrics}");
    }
    let document = server.get("/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(server.get("/docs/").await.status.as_u16(), 200);
    let page = server.get("/").await;
    assert!(page.status.as_u16() == 200 || page.text.contains("npm run build"));
}

#[tokio::test]
async fn figures_of_every_worker_are_passed_on() {
    let gauges = Gauges {
        cancelled: 3,
        cancel_seconds: Some(proto::Histogram {
            bounds: vec![0.1, 0.5],
            counts: vec![2, 1, 0],
            sum: 0.75,
        }),
        cancel_seconds_max: 0.5,
        generated_tokens: 1234,
        running: 2,
        ..Default::default()
    };
    let script = Script { gauges, ..Script::ready() };
    let (first, _cancelled) = FakeWorker::start("first", script).await;
    let (second, _cancelled) = FakeWorker::start("second", Script::ready()).await;
    let server = Server::over(&[&first, &second]).await;
    server.until(|fleet| fleet.workers().iter().all(|worker| worker.view().gauges.is_some())).await;
    let metrics = server.get("/metrics").await.text;
    for figure in [
        "inference_cancelled_total{worker=\"first\"} 3",
        "inference_cancelled_total{worker=\"second\"} 0",
        "inference_cancel_seconds_bucket{worker=\"first\",le=\"0.1\"} 2",
        "inference_cancel_seconds_bucket{worker=\"first\",le=\"+Inf\"} 3",
        "inference_cancel_seconds_sum{worker=\"first\"} 0.75",
        "inference_cancel_seconds_max{worker=\"first\"} 0.5",
        "inference_generated_tokens_total{worker=\"first\"} 1234",
        "inference_running{worker=\"first\"} 2",
        "worker_memory_used_bytes{worker=\"first\",device=\"cpu\"} 0",
        "worker_memory_total_bytes{worker=\"first\",device=\"cpu\"} 200",
        "worker_memory_budget_bytes{worker=\"first\",device=\"cpu\"} 100",
        "worker_memory_charged_bytes{worker=\"first\",device=\"cpu\"} 40",
        "worker_memory_reserved_bytes{worker=\"first\",device=\"cpu\"} 0",
    ] {
        assert!(metrics.lines().any(|line| line == figure), "{figure}\n{metrics}");
    }
    let mut types: Vec<&str> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let all = types.len();
    types.sort_unstable();
    types.dedup();
    assert_eq!(types.len(), all, "a metric is declared twice\n{metrics}");
}

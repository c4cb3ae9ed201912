//! Every error has its status, its code, and the field at fault.

use axum::{body::Body, http::Request};
use serde_json::{Value, json};
use tonic::{Code as Grpc, Status};

use crate::{
    Server,
    fake_worker::{FakeWorker, Script, Step, detail, embedding, started, text},
    json_request, story,
};

#[tokio::test]
async fn bad_requests_name_what_is_wrong() {
    let (worker, _cancelled) = FakeWorker::start("w", Script::ready()).await;
    let server = Server::over(&[&worker]).await;
    let story_with = |name: &str, value: Value| {
        let mut body = story("org/model");
        body[name] = value;
        body
    };
    for (body, status, code, field) in [
        (json!({}), 422, "invalid_request", "model_id"),
        (json!({"model_id": "../etc"}), 422, "invalid_request", "model_id"),
        (story_with("task", json!("tea-making")), 400, "unknown_task", "task"),
        (story_with("task", json!("text-to-3d")), 501, "task_not_supported", "task"),
        (story_with("options", json!({"warmth": 1})), 422, "unknown_option", "options.warmth"),
        (story_with("options", json!({"top_k": -5})), 422, "invalid_request", "options.top_k"),
        (story_with("inputs", json!({"words": "x"})), 422, "invalid_request", "inputs.words"),
        (story_with("run", json!({"resumable": true})), 422, "unknown_option", "run.resumable"),
        (story_with("run", json!({"timeout": "99d"})), 422, "invalid_request", "run.timeout"),
        (story_with("colour", json!(1)), 422, "invalid_request", "colour"),
        (story("org/nothing"), 404, "model_not_found", "model_id"),
        (json!({"model_id": "org/silent", "inputs": {}}), 400, "missing_task", "task"),
    ] {
        let answer = server.infer(&body).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (status, code), "{body}");
        assert_eq!(answer.json()["error"]["details"]["field"], field, "{body}");
    }
    assert!(worker.infers().is_empty());
}

#[tokio::test]
async fn missing_inputs_come_with_an_example() {
    let (worker, _cancelled) = FakeWorker::start("w", Script::ready()).await;
    let server = Server::over(&[&worker]).await;
    let answer = server
        .infer(&json!({"model_id": "org/model", "task": "sentence-similarity", "inputs": {}}))
        .await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (422, "missing_inputs"));
    let details = &answer.json()["error"]["details"];
    assert_eq!(details["missing"], json!(["source_sentence", "sentences"]));
    assert!(details["example"]["inputs"]["sentences"].is_array());
}

#[tokio::test]
async fn bodies_that_are_no_json_say_why() {
    let (worker, _cancelled) = FakeWorker::start("w", Script::ready()).await;
    let server = Server::with(&[&worker], &["--body-limit", "1000"]).await;
    let post = |kind: &str, body: Vec<u8>| {
        Request::post("/api/inference").header("content-type", kind).body(Body::from(body)).unwrap()
    };
    let nan = br#"{"model_id": "org/model", "options": {"temperature": NaN}}"#;
    for (kind, body, status, code) in [
        ("application/json", b"{".to_vec(), 400, "invalid_json"),
        ("application/json", b"".to_vec(), 400, "invalid_json"),
        ("application/json", b"{\"model_id\": \"\xff\"}".to_vec(), 400, "invalid_json"),
        ("application/json", nan.to_vec(), 422, "invalid_request"),
        ("application/json", vec![b' '; 2000], 413, "payload_too_large"),
        ("text/plain", b"{}".to_vec(), 415, "unsupported_media_type"),
    ] {
        let answer = server.send(post(kind, body)).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code().as_str()),
            (status, code),
            "{}",
            answer.text
        );
    }
    let large = server.send(post("application/json", vec![b' '; 2000])).await.json();
    assert_eq!(
        (&large["error"]["details"]["limit"], &large["error"]["details"]["size"]),
        (&1000.into(), &2000.into())
    );
}

#[tokio::test]
async fn unknown_paths_methods_and_types_are_json_too() {
    let (worker, _cancelled) = FakeWorker::start("w", Script::ready()).await;
    let server = Server::over(&[&worker]).await;
    let missing = server.get("/api/nothing").await;
    assert_eq!((missing.status.as_u16(), missing.code().as_str()), (404, "not_found"));
    let wrong = server.get("/api/inference").await;
    assert_eq!((wrong.status.as_u16(), wrong.code().as_str()), (405, "method_not_allowed"));
    let mut picky = json_request("POST", "/api/inference", &story("org/model"));
    picky.headers_mut().insert("accept", "image/png".parse().unwrap());
    let picky = server.send(picky).await;
    assert_eq!((picky.status.as_u16(), picky.code().as_str()), (406, "not_acceptable"));
}

#[tokio::test]
async fn what_a_worker_refuses_keeps_its_code_field_and_figures() {
    let refusal =
        detail(Grpc::InvalidArgument, "input_too_long", "inputs.text", "600 tokens are too many");
    let script = Script::ready()
        .infer([Step::Refuse(refusal)])
        .infer([started(), Step::Fail(Status::internal("libtorch at 0xdead"))])
        .infer([started(), embedding(vec![f32::NAN])]);
    let (worker, _cancelled) = FakeWorker::start("w", script).await;
    let server = Server::over(&[&worker]).await;

    let long = server.infer(&story("org/model")).await;
    assert_eq!((long.status.as_u16(), long.code().as_str()), (422, "input_too_long"));
    assert_eq!(long.json()["error"]["details"], json!({"field": "inputs.text", "limit": 9}));

    let failed = server.infer(&story("org/model")).await;
    assert_eq!((failed.status.as_u16(), failed.code().as_str()), (500, "inference_failed"));
    assert!(!failed.text.contains("0xdead"));

    let nan = server.infer(&story("org/model")).await;
    assert_eq!((nan.status.as_u16(), nan.code().as_str()), (500, "inference_failed"));
}

#[tokio::test]
async fn without_a_worker_it_says_so_and_when_to_try_again() {
    let server = Server::over(&[]).await;
    let answer = server.infer(&story("org/model")).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "no_worker"));
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(server.get("/readyz").await.status.as_u16(), 503);
    assert_eq!(server.get("/healthz").await.status.as_u16(), 200);
}

#[tokio::test]
async fn a_request_keeps_its_id_and_its_echo() {
    let script = Script::ready().infer([started(), text("upon")]);
    let (worker, _cancelled) = FakeWorker::start("w", script).await;
    let server = Server::over(&[&worker]).await;
    let mut body = story("org/model");
    body["intent_id"] = json!("write");
    let mut request = json_request("POST", "/api/inference", &body);
    request.headers_mut().insert("x-request-id", "mine-1".parse().unwrap());
    let answer = server.send(request).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text);
    assert_eq!(answer.headers["x-request-id"], "mine-1");
    let json = answer.json();
    assert_eq!(json["result"]["echo"], json!({"intent_id": "write"}));
    assert_eq!(json["result"]["task_output"]["text"], "upon");
    assert_eq!(json["result"]["metadata"]["load_ms"], Value::Null);
    assert_eq!(
        (&json["model_id"], &json["error"], &json["model_meta"]),
        (&json!("org/model"), &Value::Null, &Value::Null)
    );
    let asked = &worker.infers()[0];
    assert_eq!((asked.request_id.as_str(), asked.attempt, asked.wait), ("mine-1", 1, Some(true)));
    assert!(asked.seed.is_some() && asked.timeout_ms > 500_000);
}

#[tokio::test]
async fn a_request_without_a_seed_gets_one_that_every_client_can_write_down() {
    let answers = (0..32).fold(Script::ready(), |script, _| script.infer([started(), text("a")]));
    let (worker, _cancelled) = FakeWorker::start("w", answers).await;
    let server = Server::over(&[&worker]).await;
    let mut seeds = Vec::new();
    for _ in 0..31 {
        let answer = server.infer(&story("org/model")).await.json();
        let seed =
            answer["result"]["metadata"]["seed"].as_u64().unwrap_or_else(|| panic!("{answer}"));
        assert!(seed < 1 << 53, "{seed}");
        assert_eq!(worker.infers().last().and_then(|asked| asked.seed), Some(seed));
        seeds.push(seed);
    }
    seeds.sort_unstable();
    seeds.dedup();
    assert_eq!(seeds.len(), 31, "every request draws its own");

    let mut chosen = story("org/model");
    chosen["options"] = json!({"seed": 7});
    let answer = server.infer(&chosen).await.json();
    assert_eq!(answer["result"]["metadata"]["seed"], 7, "{answer}");
    assert_eq!(worker.infers().last().and_then(|asked| asked.seed), Some(7));
}

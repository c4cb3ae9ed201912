//! Streams: order, framing, errors before and after the first event, and clients that go away.

use std::{sync::Arc, time::Duration};

use axum::http::Request;
use futures::StreamExt;
use proto::{LoadingEvent, QueuedEvent, infer_event::Event};
use serde_json::json;
use tokio::{sync::Notify, time::timeout};
use tonic::{Code as Grpc, Status};
use tower::ServiceExt;

use crate::{
    Server,
    fake_worker::{FakeWorker, Script, Step, detail, event, started, text, token},
    json_request, story,
};

const STREAM: &str = "/api/inference/stream";

#[tokio::test]
async fn events_come_in_order_and_end_with_the_whole_result() {
    let queued = event(Event::Queued(QueuedEvent { position: 1, reason: "busy".into() }));
    let script = Script::ready().infer([
        queued,
        started(),
        token(0, "up"),
        token(1, "on\n\u{2028}"),
        text("upon"),
    ]);
    let (worker, _cancelled) = FakeWorker::start("w", script).await;
    let server = Server::over(&[&worker]).await;
    let answer = server.post(STREAM, &story("org/model")).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text);
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    assert_eq!(answer.headers["cache-control"], "no-cache");
    assert_eq!(answer.headers["x-accel-buffering"], "no");

    let events = answer.events();
    let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["queued", "start", "token", "token", "done"]);
    assert!(events.iter().all(|(name, data)| data["type"] == name.as_str()));
    assert_eq!(events[3].1["text"], "on\n\u{2028}");
    let done = &events[4].1;
    assert_eq!(done["result"]["task_output"]["text"], "upon");
    assert_eq!((&done["tokens"], &done["tokens_per_second"]), (&json!(2), &json!(50.0)));
    assert!(done["first_token_latency_ms"].as_f64() <= done["runtime_ms"].as_f64());
}

#[tokio::test]
async fn a_failure_is_a_status_before_the_first_event_and_an_event_after_it() {
    let refusal =
        || detail(Grpc::InvalidArgument, "invalid_request", "options.top_p", "must be above 0");
    let script = Script::ready()
        .infer([Step::Refuse(refusal())])
        .infer([Step::Fail(refusal())])
        .infer([started(), Step::Fail(Status::unavailable("gone"))]);
    let (worker, _cancelled) = FakeWorker::start("w", script).await;
    let server = Server::over(&[&worker]).await;
    for _ in 0..2 {
        let early = server.post(STREAM, &story("org/model")).await;
        assert_eq!((early.status.as_u16(), early.code().as_str()), (422, "invalid_request"));
    }
    let late = server.post(STREAM, &story("org/model")).await;
    assert_eq!(late.status.as_u16(), 200);
    let events = late.events();
    assert_eq!(events.len(), 2);
    assert_eq!((events[1].0.as_str(), &events[1].1["code"]), ("error", &json!("worker_lost")));
    assert_eq!(events[1].1["retryable"], true);
}

#[tokio::test]
async fn a_token_is_passed_on_before_the_next_one_exists() {
    let gate = Arc::new(Notify::new());
    let script = Script::ready().infer([
        started(),
        token(0, "up"),
        Step::Pause(gate.clone()),
        token(1, "on"),
        text("upon"),
    ]);
    let (worker, _cancelled) = FakeWorker::start("w", script).await;
    let server = Server::over(&[&worker]).await;
    let response = server
        .router
        .clone()
        .oneshot(json_request("POST", STREAM, &story("org/model")))
        .await
        .unwrap();
    let mut body = response.into_body().into_data_stream();
    let mut seen = String::new();
    while !seen.contains("\"up\"") {
        seen += std::str::from_utf8(&body.next().await.unwrap().unwrap()).unwrap();
    }
    assert!(!seen.contains("\"on\""));
    gate.notify_one();
    while let Some(bytes) = body.next().await {
        seen += std::str::from_utf8(&bytes.unwrap()).unwrap();
    }
    assert!(seen.contains("event: done"));
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_the_work() {
    let script = Script::ready()
        .infer([started(), token(0, "up"), Step::Hang])
        .infer([started(), Step::Hang]);
    let (worker, mut cancelled) = FakeWorker::start("w", script).await;
    let server = Server::over(&[&worker]).await;

    let response = server
        .router
        .clone()
        .oneshot(json_request("POST", STREAM, &story("org/model")))
        .await
        .unwrap();
    let mut body = response.into_body().into_data_stream();
    body.next().await.unwrap().unwrap();
    drop(body);
    timeout(Duration::from_secs(5), cancelled.recv())
        .await
        .expect("the worker hears of it")
        .unwrap();

    let server_router = server.router.clone();
    let request = json_request("POST", "/api/inference", &story("org/model"));
    let waiting = tokio::spawn(async move { server_router.oneshot(request).await });
    while worker.infers().len() < 2 {
        tokio::task::yield_now().await;
    }
    waiting.abort();
    timeout(Duration::from_secs(5), cancelled.recv())
        .await
        .expect("the worker hears of it")
        .unwrap();

    let metrics = server.get("/metrics").await.text;
    let counted = "inference_requests_total{task=\"text-generation\",code=\"cancelled\"";
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test]
async fn a_request_has_a_deadline() {
    let script = Script::ready().infer([started(), Step::Hang]);
    let (worker, mut cancelled) = FakeWorker::start("w", script).await;
    let server = Server::over(&[&worker]).await;
    let mut body = story("org/model");
    body["run"] = json!({"timeout": "200ms"});
    let answer = server.infer(&body).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (504, "deadline_exceeded"));
    timeout(Duration::from_secs(5), cancelled.recv())
        .await
        .expect("the work is cancelled")
        .unwrap();
}

#[tokio::test]
async fn a_load_that_moves_outlives_the_deadline_and_one_that_stalls_does_not() {
    let loading = |bytes_done| {
        event(Event::Loading(LoadingEvent { bytes_done, bytes_total: 9, ..Default::default() }))
    };
    let gates: Vec<Arc<Notify>> = (0..4).map(|_| Arc::default()).collect();
    let slow = gates.iter().zip(1..).flat_map(|(gate, n)| [loading(n), Step::Pause(gate.clone())]);
    let slow: Vec<Step> = slow.chain([started(), text("upon")]).collect();
    let script = Script::ready().infer(slow).infer([loading(1), loading(1), Step::Hang]);
    let (worker, _cancelled) = FakeWorker::start("w", script).await;
    let server = Server::with(&[&worker], &["--deadline", "1s"]).await;
    let moving = async {
        for gate in &gates {
            tokio::time::sleep(Duration::from_millis(400)).await;
            gate.notify_one();
        }
    };
    let body = story("org/model");
    let (answer, ()) = tokio::join!(server.infer(&body), moving);
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text);
    let stalled = server.infer(&body).await;
    assert_eq!((stalled.status.as_u16(), stalled.code().as_str()), (504, "deadline_exceeded"));
}

#[tokio::test]
async fn an_event_source_asks_by_query_and_never_starts_the_work_twice() {
    let script = Script::ready().infer([started(), text("upon")]);
    let (worker, _cancelled) = FakeWorker::start("w", script).await;
    let server = Server::over(&[&worker]).await;
    let path = "/api/inference/stream?model_id=org/model&prompt=Once&max_new_tokens=2";
    let answer = server.get(path).await;
    assert_eq!(
        answer.events().last().map(|(name, _)| name.as_str()),
        Some("done"),
        "{}",
        answer.text
    );
    let again =
        Request::get(path).header("last-event-id", "2").body(axum::body::Body::empty()).unwrap();
    assert_eq!(server.send(again).await.status.as_u16(), 204);
    assert_eq!(worker.infers().len(), 1);
}

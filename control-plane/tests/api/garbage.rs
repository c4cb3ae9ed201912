//! Workers that say what cannot be: an error that names it, never a wrong answer and never a hang.

use proto::{
    DeviceBytes, InferResult, LoadingEvent, QueuedEvent, Residency, infer_event::Event,
    status_event::Change,
};
use serde_json::json;
use tonic::{Code as Grpc, Status};

use crate::{
    Server,
    fake_worker::{FakeWorker, Script, Step, embedding, event, started, text, token},
    story,
};

async fn answer_to(steps: Vec<Step>) -> (u16, String) {
    let (worker, _cancelled) = FakeWorker::start("w", Script::ready().infer(steps)).await;
    let server = Server::with(&[&worker], &["--lost-after", "500ms"]).await;
    let answer = server.infer(&story("org/model")).await;
    let said = if answer.status.as_u16() == 200 {
        answer.json()["result"]["task_output"]["text"].to_string()
    } else {
        answer.code()
    };
    (answer.status.as_u16(), said)
}

fn failed() -> (u16, String) {
    (500, "inference_failed".to_owned())
}

#[tokio::test]
async fn events_out_of_order_and_impossible_sizes_are_failures() {
    let queued = || event(Event::Queued(QueuedEvent { position: 1, reason: "busy".into() }));
    let loading = |bytes_done| {
        event(Event::Loading(LoadingEvent { bytes_done, bytes_total: 9, ..Default::default() }))
    };
    let nothing = || event(Event::Result(InferResult { metadata: None, output: None }));
    let cases = [
        vec![token(0, "a"), started(), text("a")],
        vec![started(), started(), text("a")],
        vec![started(), queued(), text("a")],
        vec![loading(10), started(), text("a")],
        vec![started(), embedding(vec![0.5])],
        vec![started(), nothing()],
    ];
    for (case, steps) in cases.into_iter().enumerate() {
        assert_eq!(answer_to(steps).await, failed(), "case {case}");
    }
}

#[tokio::test]
async fn of_two_results_the_first_counts() {
    let (status, text) = answer_to(vec![started(), text("a"), text("b")]).await;
    assert_eq!((status, text.as_str()), (200, "\"a\""));
}

#[tokio::test]
async fn a_stream_without_a_result_is_a_loss() {
    assert_eq!(answer_to(vec![started(), token(0, "a")]).await, (503, "worker_lost".to_owned()));
}

#[tokio::test]
async fn a_status_that_means_nothing_is_an_error_that_shows_nothing() {
    for grpc in [Grpc::DataLoss, Grpc::OutOfRange, Grpc::Internal, Grpc::Unknown] {
        let steps = vec![started(), Step::Fail(Status::new(grpc, "at 0x7f\u{0}in libtorch.so"))];
        let (status, code) = answer_to(steps).await;
        assert!(status >= 400, "{grpc:?} became {status} {code}");
    }
    // A detail that is no message.
    let broken = Status::with_details(Grpc::Internal, "no", vec![0xff; 64].into());
    assert_eq!(answer_to(vec![started(), Step::Fail(broken)]).await, failed());
}

#[tokio::test]
async fn figures_that_cannot_be_are_borne() {
    let most = DeviceBytes {
        device: "cpu".into(),
        weights: u64::MAX,
        cache: u64::MAX,
        workspace: u64::MAX,
        ..Default::default()
    };
    let absurd = Residency {
        in_flight: u32::MAX,
        queued: u32::MAX,
        bytes: vec![most],
        loaded_ms_ago: Some(u64::MAX),
        last_used_ms_ago: Some(u64::MAX),
        load_time_ms: Some(f64::NAN),
        retry_in_ms: Some(u64::MAX),
        state: 999,
        ..Script::residency("org/absurd", 1)
    };
    let script = Script::ready().infer([started(), text("a")]);
    let (worker, _cancelled) = FakeWorker::start("w", script).await;
    let server = Server::over(&[&worker]).await;
    worker.tell(Change::Residency(absurd));
    server
        .until(|fleet| {
            let workers = fleet.workers();
            let view = workers[0].view();
            view.status.as_ref().is_some_and(|status| status.residencies.len() == 2)
        })
        .await;
    for path in ["/api/models/status", "/api/workers", "/metrics"] {
        assert_eq!(server.get(path).await.status.as_u16(), 200, "{path}");
    }
    // What is there still answers.
    let answer = server.infer(&story("org/model")).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text);
    let explained = server.post("/api/placement/explain", &json!({"model_id": "org/other"})).await;
    assert_eq!(explained.status.as_u16(), 200, "{}", explained.text);
}

//! A worker that dies in the middle: said at once, and mended.

use serde_json::{Value, json};

use crate::harness::{
    models::SLOW,
    signals,
    system::{Setup, System},
};
use tempfile::TempDir;

fn tokens(n: u32) -> Value {
    let options = json!({"max_new_tokens": n, "min_new_tokens": n, "do_sample": false});
    json!({"model_id": "it/slow", "task": "text-generation", "inputs": {"text": "Once"}, "options": options})
}

async fn system() -> (System, TempDir) {
    let hub = tempfile::tempdir().expect("a folder");
    SLOW.write(hub.path(), "it/slow");
    (Setup::of(&[hub.path()]).start().await, hub)
}

#[tokio::test]
async fn a_stream_of_a_killed_worker_ends_with_worker_lost_and_the_next_request_works() {
    let (system, _hub) = system().await;
    let api = system.api();
    let mut status = api.status_stream().await;
    let mut stream = api.stream(&tokens(1500)).await;
    stream.until("token").await;
    let killed = system.worker_pid().await;
    signals::kill(killed);
    let error = stream.until("error").await.data;
    assert_eq!(error["code"], "worker_lost", "{error}");
    assert_eq!(error["retryable"], true);
    assert!(stream.next().await.is_none(), "an error is the last event");

    // Sent while nobody is there: it waits for the new worker.
    let output = api.output(&tokens(2)).await;
    assert_eq!(output["generated_tokens"], 2);
    assert_ne!(system.worker_pid().await, killed);
    status
        .find("snapshot", |all| {
            all["workers"][0]["pid"]
                .as_u64()
                .is_some_and(|pid| pid != u64::from(killed) && pid != 0)
        })
        .await;
    let metrics = api.get("/metrics").await.text;
    assert!(metrics.contains("worker_restarts_total{worker=\"cpu\"} 1"), "{metrics}");
    assert!(metrics.contains("worker_up{worker=\"cpu\"} 1"), "{metrics}");
}

#[tokio::test]
async fn a_call_without_a_stream_says_worker_lost_too() {
    let (system, _hub) = system().await;
    let api = system.api();
    let mut status = api.status_stream().await;
    let request = tokens(1500);
    let call = api.infer(&request);
    let kill = async {
        status.find("worker", |worker| worker["running"] == 1).await;
        signals::kill(system.worker_pid().await);
    };
    let (answer, ()) = tokio::join!(call, kill);
    answer.fails(503, "worker_lost");
}

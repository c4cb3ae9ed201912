//! SIGTERM ends everything, in order and soon.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{
    system::Setup,
    zoo::{self, STORYTELLER},
};

/// Whether a process of that id exists that is not just waiting to be reaped.
fn is_alive(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let state = status.lines().find(|line| line.starts_with("State:"));
    state.is_some_and(|line| !line.contains("zombie"))
}

#[tokio::test]
async fn sigterm_stops_the_control_plane_and_its_worker_with_success() {
    let mut system = Setup::of(&[&zoo::hub()]).start().await;
    let api = system.api();
    let request = json!({"model_id": STORYTELLER, "inputs": {"text": "Once"}, "options": {"max_new_tokens": 4}});
    api.infer(&request).await.ok();
    let worker = system.worker_pid().await;
    assert!(is_alive(worker));
    // Whoever follows the status is sent home.
    let status = api.status_stream().await;
    let asked = Instant::now();
    system.program.terminate();
    status.all().await;
    let ended = system.program.wait();
    println!("stopped after {:?}", asked.elapsed());
    assert!(ended.success(), "{ended}: {}", system.program.output());
    assert!(!is_alive(worker), "the worker is still there");
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn an_answer_that_has_begun_is_finished_before_the_end() {
    let mut system = Setup::of(&[&zoo::hub()]).start().await;
    let api = system.api();
    let options = json!({"max_new_tokens": 150, "min_new_tokens": 150, "do_sample": false});
    let request = json!({"model_id": STORYTELLER, "inputs": {"text": "Once"}, "options": options});
    let mut stream = api.stream(&request).await;
    stream.until("token").await;
    system.program.terminate();
    let done = stream.until("done").await;
    assert_eq!(done.data["tokens"], 150);
    assert!(system.program.wait().success());
}

//! A worker that is found by name; here the name is an address, which resolves to itself.

use serde_json::json;

use crate::harness::{system::Setup, worker::Worker, zoo::STORYTELLER};

#[tokio::test]
async fn a_worker_behind_a_name_is_found_and_answers() {
    let worker = Worker::start(&[]);
    let system = Setup::over(&[]).argument("--workers-dns", &worker.address).start().await;
    let workers = system.workers().await;
    assert_eq!(workers.len(), 1, "{workers:?}");
    assert_eq!((&workers[0]["retired"], &workers[0]["process"]), (&json!(false), &json!(null)));
    let body = json!({"model_id": STORYTELLER, "inputs": {"text": "Once"}, "options": {"max_new_tokens": 2}});
    system.api().infer(&body).await.ok();
    // It is not ours to restart.
    let id = workers[0]["id"].as_str().expect("a name");
    let restart = system.api().post(&format!("/api/workers/{id}/restart"), &json!({})).await;
    restart.fails(422, "invalid_request");
}

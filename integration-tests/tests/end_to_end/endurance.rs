//! Thousands of requests over one connection to the worker: none is lost, whoever goes away in between.

use futures::StreamExt;
use serde_json::json;

use crate::harness::{
    system::Setup,
    zoo::{self, SENTENCES, STORYTELLER},
};

/// More than HTTP/2 forgives of streams that end early, by its defaults.
const MANY: usize = 1500;

#[tokio::test]
async fn the_connection_to_a_worker_outlives_thousands_of_answers_and_cancels() {
    let system = Setup::of(&[&zoo::hub()]).start().await;
    let api = system.api();
    let ask = json!({"model_id": SENTENCES, "task": "feature-extraction", "inputs": {"text": "a red circle"}});
    api.infer(&ask).await.ok();
    let requests = futures::stream::iter(0..MANY).for_each_concurrent(8, |_| async {
        api.infer(&ask).await.ok();
    });
    requests.await;

    let story = json!({"model_id": STORYTELLER, "task": "text-generation", "inputs": {"text": "Once"},
        "options": {"max_new_tokens": 400, "min_new_tokens": 400}});
    for _ in 0..MANY / 5 {
        drop(api.stream(&story).await);
    }
    api.infer(&ask).await.ok();
    let workers = api.get("/api/workers").await.ok();
    assert_eq!(workers["workers"][0]["link"], "up", "{workers}");
}

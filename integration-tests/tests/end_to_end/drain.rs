//! A rolling drain: worker after worker is emptied under a stream of requests, and none is lost.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::harness::{models::TINY, system::Setup};

fn ask(n: u32) -> Value {
    let options = json!({"max_new_tokens": n, "min_new_tokens": n, "do_sample": false});
    json!({"model_id": "it/tiny", "task": "text-generation", "inputs": {"text": "Once"}, "options": options})
}

#[tokio::test]
async fn every_request_is_answered_while_each_worker_is_drained_and_restarted_in_turn() {
    let hub = tempfile::tempdir().expect("a folder");
    TINY.write(hub.path(), "it/tiny");
    let system = Setup::of(&[hub.path()]).workers("cpu*2").start().await;
    let api = system.api();
    api.infer(&ask(2)).await.ok();
    let (over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let client = |n: u32| {
        let (api, over, answered) = (system.api(), &over, &answered);
        async move {
            while !over.load(Ordering::Relaxed) {
                let output = api.output(&ask(n)).await;
                assert_eq!(output["generated_tokens"], n);
                answered.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    let roll = async {
        for id in ["cpu-0", "cpu-1"] {
            let before = answered.load(Ordering::Relaxed);
            let drained = api.post(&format!("/api/workers/{id}/drain"), &json!({})).await.ok();
            assert_eq!(
                (&drained["draining"], &drained["empty"], &drained["in_flight"]),
                (&json!(true), &json!(true), &json!(0)),
                "{drained}"
            );
            let worker = |workers: &[Value]| {
                workers.iter().find(|worker| worker["id"] == id).expect("it is known").clone()
            };
            let pid = worker(&system.workers().await)["pid"].clone();
            api.post(&format!("/api/workers/{id}/restart"), &json!({})).await.ok();
            system
                .until_workers("the restart", |workers| {
                    let worker = worker(workers);
                    worker["link"] == "up" && worker["pid"] != pid && worker["draining"] == false
                })
                .await;
            assert!(answered.load(Ordering::Relaxed) > before, "nothing was answered meanwhile");
        }
        over.store(true, Ordering::Relaxed);
    };
    tokio::join!(roll, client(1), client(3), client(20), client(60), client(200), client(200));
    println!("{} requests were answered", answered.load(Ordering::Relaxed));
}

#[tokio::test]
async fn an_end_of_the_drain_and_unknown_workers_are_said() {
    let hub = tempfile::tempdir().expect("a folder");
    TINY.write(hub.path(), "it/tiny");
    let system = Setup::of(&[hub.path()]).start().await;
    let api = system.api();
    api.post("/api/workers/nobody/drain", &json!({})).await.fails(404, "not_found");
    api.post("/api/workers/cpu/drain?timeout=soon", &json!({})).await.fails(422, "invalid_request");
    let drained = api.post("/api/workers/cpu/drain?timeout=5s", &json!({})).await.ok();
    assert_eq!(drained["empty"], true);
    api.infer(&ask(2)).await.fails(503, "no_worker");
    let admits = api.patch("/api/workers/cpu", &json!({"drain": false})).await.ok();
    assert_eq!(admits["draining"], false);
    assert_eq!(api.output(&ask(2)).await["generated_tokens"], 2);
}

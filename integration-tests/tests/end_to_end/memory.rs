//! Memory of the worker: back after a large model, flat over many small ones, and a restart where it is not.

use std::{
    fs,
    time::{Duration, Instant},
};

use futures::future::join_all;
use proto::{LoadModelRequest, ModelRef, UnloadModelRequest};
use serde_json::{Value, json};
use tokio_stream::StreamExt;

use crate::harness::{
    models::Gpt2,
    system::{Setup, System},
    wide_painter,
    worker::Worker,
    zoo::{self, SENTENCES, SHAPES, STORYTELLER},
};

const MIB: u64 = 1 << 20;

/// `RssAnon` of a process, in bytes.
fn anonymous(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("a figure");
    line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("a number") << 10
}

/// The least within the ten seconds for which the allocator keeps what threads free after an unload, and a moment.
async fn settled(pid: u32) -> u64 {
    let end = Instant::now() + Duration::from_secs(12);
    let mut least = u64::MAX;
    while Instant::now() < end {
        least = least.min(anonymous(pid));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    least
}

async fn cycle(system: &System, request: &Value) {
    let api = system.api();
    api.infer(request).await.ok();
    let unload = json!({"model_id": request["model_id"]});
    // The answer is out a moment before the worker counts the request as ended.
    let mut answer = api.post("/api/models/unload", &unload).await;
    while answer.status == 409 {
        tokio::task::yield_now().await;
        answer = api.post("/api/models/unload", &unload).await;
    }
    answer.ok();
}

#[tokio::test]
async fn two_hundred_lives_of_each_kind_of_model_leave_no_more_than_twenty() {
    let text = json!({"text": "Once upon a time"});
    let picture = json!({"image_base64": zoo::picture("pictures/held-out-00.png")});
    let requests = [
        (STORYTELLER, "text-generation", text.clone(), json!({"max_new_tokens": 4})),
        (SENTENCES, "feature-extraction", text, json!({})),
        (SHAPES, "image-classification", picture, json!({})),
    ];
    let lives = requests.map(async |(model_id, task, inputs, options)| {
        let system = Setup::of(&[&zoo::hub()]).start().await;
        let pid = system.worker_pid().await;
        let request =
            json!({"model_id": model_id, "task": task, "inputs": inputs, "options": options});
        let mut early = 0;
        for life in 1..=200 {
            cycle(&system, &request).await;
            if life == 20 {
                early = anonymous(pid);
            }
        }
        (task, early, anonymous(pid))
    });
    for (task, early, late) in join_all(lives).await {
        println!("{task}: {early} bytes after 20 lives, {late} after 200");
        assert!(late <= early + 4 * MIB, "{task}: {early} bytes after 20 lives, {late} after 200");
    }
}

#[tokio::test]
async fn a_gigabyte_comes_back() {
    let hub = tempfile::tempdir().expect("a folder");
    Gpt2 { dim: 1024, layers: 20, positions: 512 }.write_sparse(hub.path(), "it/gigabyte");
    let system = Setup::of(&[hub.path()]).start().await;
    let pid = system.worker_pid().await;
    let options = json!({"max_new_tokens": 1, "do_sample": false});
    let request = json!({"model_id": "it/gigabyte", "task": "text-generation", "inputs": {"text": "Once"}, "options": options});
    let before = anonymous(pid);
    system.api().infer(&request).await.ok();
    let loaded = anonymous(pid);
    cycle(&system, &request).await;
    let after = anonymous(pid);
    println!("{before} bytes before, {loaded} with the model, {after} after it");
    assert!(loaded > before + 900 * MIB, "{loaded} bytes");
    assert!(after < before + 64 * MIB, "{before} bytes before, {after} after");
    let workers = system.api().get("/api/workers").await.ok();
    let device = &workers["workers"][0]["devices"][0];
    assert!(device["anonymous_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{device}");
}

/// Loads of a gigabyte, each from a folder and none mapped.
#[tokio::test]
async fn twenty_lives_of_a_painter_of_a_gigabyte_leave_no_more_than_two() {
    let hub = tempfile::tempdir().expect("a folder");
    let (model_id, bytes) = wide_painter::write(hub.path());
    assert!(bytes > 1_000_000_000, "{bytes} bytes of weights");
    let system = Setup::of(&[hub.path()]).start().await;
    let pid = system.worker_pid().await;
    let options = json!({"num_inference_steps": 1, "width": 16, "height": 16, "seed": 1});
    let request = json!({"model_id": model_id, "task": "text-to-image", "inputs": {"text": "a circle"}, "options": options});
    let begun = Instant::now();
    let mut early = 0;
    for life in 1..=20 {
        cycle(&system, &request).await;
        if life == 2 {
            early = settled(pid).await;
        }
    }
    let late = settled(pid).await;
    println!("{early} bytes after 2 lives of {bytes}, {late} after 20, in {:?}", begun.elapsed());
    assert!(late <= early + 4 * MIB, "{early} bytes after 2 lives, {late} after 20");
}

#[tokio::test]
async fn a_worker_that_has_grown_drains_and_ends_with_a_status_of_its_own() {
    // Nothing may grow: some page does within a few lives.
    let mut worker = Worker::start(&["--baseline-growth-limit", "0"]);
    let mut client = worker.client().await;
    let mut lives = 0;
    'lives: while lives < 200 {
        for model_id in [STORYTELLER, SENTENCES, SHAPES] {
            let model = Some(ModelRef { model_id: model_id.to_owned(), ..ModelRef::default() });
            let load = LoadModelRequest { model: model.clone(), ..LoadModelRequest::default() };
            let Ok(events) = client.load_model(load).await else { break 'lives };
            let events: Vec<_> = events.into_inner().collect().await;
            if events.iter().any(Result::is_err) {
                break 'lives;
            }
            let unload = UnloadModelRequest { model, ..UnloadModelRequest::default() };
            if client.unload_model(unload).await.is_err() {
                break 'lives;
            }
            lives += 1;
        }
    }
    let status = worker.program.wait();
    let output = worker.program.output();
    assert_eq!(status.code(), Some(77), "after {lives} lives:\n{output}");
    assert!(output.contains("the idle worker has grown beyond its bound"), "{output}");
}

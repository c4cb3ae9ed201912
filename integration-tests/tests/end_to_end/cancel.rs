//! A client that goes away takes its work with it, within one step.

use proto::{
    InferRequest, ModelRef, TextGenerationInputs, TextGenerationOptions, TextGenerationRequest,
    WatchStatusRequest, infer_event::Event, infer_request::Input, status_event::Change,
};
use serde_json::{Value, json};

use crate::harness::{
    api::Api,
    events::Events,
    models::SLOW,
    system::Setup,
    within,
    worker::Worker,
    zoo::{self, SENTENCES},
};

const N_TOKENS: u32 = 1500;

fn story() -> Value {
    let options =
        json!({"max_new_tokens": N_TOKENS, "min_new_tokens": N_TOKENS, "do_sample": false});
    json!({"model_id": "it/slow", "task": "text-generation", "inputs": {"text": "Once"}, "options": options})
}

/// Waits until so many requests are cancelled; no step but the one under way may have run for any of them.
async fn cancelled(api: &Api, status: &mut Events, n: u64) -> Value {
    status.find("worker", |worker| worker["cancelled"] == n).await;
    let worker = api.get("/api/workers").await.ok()["workers"][0].take();
    assert_eq!(worker["cancelled"], n, "{worker}");
    let most = worker["steps_after_disconnect_max"].as_u64().expect("a count");
    assert!(most <= 1, "{worker}");
    assert!(worker["steps_after_disconnect"].as_u64().expect("a count") <= n, "{worker}");
    worker
}

#[tokio::test]
async fn a_request_without_a_stream_stops_within_one_step() {
    let hub = tempfile::tempdir().expect("a folder");
    SLOW.write(hub.path(), "it/slow");
    let system = Setup::of(&[hub.path(), &zoo::hub()]).start().await;
    let api = system.api();
    let mut status = api.status_stream().await;
    let text = "The river told a story to the stone. ".repeat(12);
    let inputs = json!({"text": vec![text; 2048]});
    let vectors = json!({"model_id": SENTENCES, "task": "feature-extraction", "inputs": inputs, "options": {"truncate": true}});
    // Of the second kind there are four, so that not all can be done before they are stopped.
    for (n, requests) in [(1, vec![story()]), (5, vec![vectors; 4])] {
        let ask = |request: Value| {
            let asking = system.api();
            tokio::spawn(async move { asking.infer(&request).await })
        };
        let answers: Vec<_> = requests.into_iter().map(ask).collect();
        status.find("worker", |worker| worker["running"].as_u64() >= Some(1)).await;
        answers.iter().for_each(tokio::task::JoinHandle::abort);
        cancelled(&api, &mut status, n).await;
        status.find("worker", |worker| worker["running"] == 0).await;
    }
    let metrics = api.get("/metrics").await.text;
    assert!(metrics.contains("inference_cancel_seconds_count{worker=\"cpu\"} 5"), "{metrics}");
    let buckets = "inference_cancel_seconds_bucket{worker=\"cpu\",le=\"+Inf\"} 5";
    assert!(metrics.contains(buckets), "{metrics}");
}

#[tokio::test]
async fn a_queued_request_leaves_without_a_step() {
    let hub = tempfile::tempdir().expect("a folder");
    SLOW.write(hub.path(), "it/slow");
    let system = Setup::of(&[hub.path()]).start().await;
    let api = system.api();
    let mut status = api.status_stream().await;
    // The cache of keys and values has room for two of them.
    let mut running = [api.stream(&story()).await, api.stream(&story()).await];
    for stream in &mut running {
        stream.until("token").await;
    }
    let mut queued = api.stream(&story()).await;
    queued.until("queued").await;
    status.find("worker", |worker| worker["waiting"] == 1).await;
    drop(queued);
    let worker = cancelled(&api, &mut status, 1).await;
    assert_eq!(worker["steps_after_disconnect"], 0, "{worker}");
    drop(running);
    cancelled(&api, &mut status, 3).await;
}

#[tokio::test]
async fn closing_a_stream_stops_the_worker_and_every_figure_says_so() {
    let hub = tempfile::tempdir().expect("a folder");
    SLOW.write(hub.path(), "it/slow");
    let system = Setup::of(&[hub.path()]).start().await;
    let api = system.api();
    let mut status = api.status_stream().await;
    let mut stream = api.stream(&story()).await;
    for _ in 0..3 {
        stream.until("token").await;
    }
    status.find("worker", |worker| worker["running"] == 1).await;
    drop(stream);

    let stopped = cancelled(&api, &mut status, 1).await;
    let idle = status.find("worker", |worker| worker["running"] == 0).await.data;
    let tokens = idle["generated_tokens"].as_u64().expect("a count");
    assert!(tokens < u64::from(N_TOKENS) / 2, "it went on: {stopped}");
    // Several heartbeats later it is still no more.
    for _ in 0..4 {
        let later = status.until("worker").await.data;
        assert_eq!(later["generated_tokens"], tokens);
    }
    let metrics = api.get("/metrics").await.text;
    assert!(metrics.contains("inference_cancelled_total{worker=\"cpu\"} 1"), "{metrics}");
    let told = "inference_requests_total{task=\"text-generation\",code=\"cancelled\"";
    assert!(metrics.contains(told), "{metrics}");
    let gone = api.delete("/api/models/text-generation/it/slow").await;
    gone.ok();
}

#[tokio::test]
async fn the_worker_lets_go_within_three_tokens_and_a_margin() {
    let hub = tempfile::tempdir().expect("a folder");
    SLOW.write(hub.path(), "it/slow");
    let worker = Worker::start(&["--hub", hub.path().to_str().expect("UTF-8")]);
    let mut client = worker.client().await;
    let watch = client.watch_status(WatchStatusRequest {}).await.expect("a watch");
    let mut watch = watch.into_inner();
    let options = TextGenerationOptions {
        max_new_tokens: Some(N_TOKENS),
        min_new_tokens: Some(N_TOKENS),
        do_sample: Some(false),
        ..TextGenerationOptions::default()
    };
    let inputs = TextGenerationInputs { text: Some("Once".to_owned()), messages: Vec::new() };
    let request = InferRequest {
        model: Some(ModelRef { model_id: "it/slow".to_owned(), revision: String::new() }),
        input: Some(Input::TextGeneration(TextGenerationRequest {
            inputs: Some(inputs),
            options: Some(options),
        })),
        ..InferRequest::default()
    };
    let mut answers = client.infer(request).await.expect("a stream").into_inner();
    let mut seen = Vec::new();
    while seen.len() < 20 {
        let event = within("an event", answers.message()).await.expect("fine").expect("more");
        if matches!(event.event, Some(Event::Token(_))) {
            seen.push(std::time::Instant::now());
        }
    }
    let longest = seen.windows(2).map(|pair| pair[1] - pair[0]).max().expect("twenty tokens");
    drop(answers);
    let gauges = loop {
        let event = within("gauges", watch.message()).await.expect("fine").expect("more");
        match event.change {
            Some(Change::Gauges(gauges)) if gauges.cancelled == 1 => break gauges,
            _ => {}
        }
    };
    println!("let go after {:.4} s; tokens took up to {longest:?}", gauges.cancel_seconds_max);
    // The step that was under way when the client went, and room for a busy machine.
    let bound = 3.0 * longest.as_secs_f64() + 0.1;
    assert!(gauges.cancel_seconds_max <= bound, "{} > {bound}", gauges.cancel_seconds_max);
    assert_eq!(gauges.running, 0);
    assert!(gauges.steps_after_disconnect_max <= 1, "{gauges:?}");
}

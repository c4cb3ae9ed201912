//! Every step of a painting reaches its client while it happens, and none is begun for a client that has left: by the
//! worker's own count of its steps, asked beside the control plane that the client speaks to.

use std::time::{Duration, Instant};

use proto::{Gauges, WatchStatusRequest, status_event::Change, worker_client::WorkerClient};
use serde_json::{Value, json};
use tonic::transport::Channel;

use crate::harness::{api::Api, painters, system::Setup, within, worker::Worker};

/// Steps that are shorter prove nothing: several would fit between an event and the look at the count.
const SHORTEST_STEP: Duration = Duration::from_millis(50);
/// What is looked for, so that a busy machine's moments don't make them shorter.
const WANTED_STEP: Duration = Duration::from_millis(120);

/// The figures of a worker as they are now.
struct Figures(WorkerClient<Channel>);

impl Figures {
    async fn of(worker: &Worker) -> Self {
        Self(worker.client().await)
    }

    /// The first of a watch are not older than the watch.
    async fn now(&mut self) -> Gauges {
        self.next(1).await
    }

    /// The n-th of a new watch; they come four times a second.
    async fn next(&mut self, n: usize) -> Gauges {
        let watch = self.0.watch_status(WatchStatusRequest {}).await.expect("a watch");
        let mut watch = watch.into_inner();
        let mut seen = 0;
        loop {
            let event = within("figures", watch.message()).await.expect("fine").expect("more");
            let Some(Change::Gauges(gauges)) = event.change else { continue };
            seen += 1;
            if seen == n {
                return gauges;
            }
        }
    }

    async fn steps(&mut self) -> u64 {
        steps(&self.now().await)
    }
}

/// All steps since the worker's start.
fn steps(gauges: &Gauges) -> u64 {
    gauges.batch_size.as_ref().map_or(0, |batches| batches.counts.iter().sum())
}

fn request(side: u64, n_steps: u64) -> Value {
    json!({
        "model_id": "painters/pipeline-sd2", "task": "text-to-image", "inputs": {"text": "a circle"},
        "options": {"num_inference_steps": n_steps, "width": side, "height": side, "seed": 1},
    })
}

/// The side of a picture whose steps are long enough here.
async fn slow_side(api: &Api) -> u64 {
    for side in [128, 192, 256, 384, 512, 768] {
        let mut stream = api.stream(&request(side, 3)).await;
        stream.until("progress").await;
        let begun = Instant::now();
        stream.until("progress").await;
        stream.until("progress").await;
        let step = begun.elapsed() / 2;
        stream.all().await;
        if step >= WANTED_STEP {
            println!("{side} pixels a side: {step:?} a step");
            return side;
        }
    }
    panic!("no picture is large enough for steps of {WANTED_STEP:?}");
}

#[tokio::test]
async fn the_client_holds_a_step_before_the_worker_is_two_steps_further() {
    let hub = tempfile::tempdir().expect("a folder");
    painters::write(hub.path(), "pipeline-sd2");
    let worker = Worker::start(&["--hub", hub.path().to_str().expect("UTF-8")]);
    let system = Setup::over(&[&worker]).start().await;
    let api = system.api();
    let mut figures = Figures::of(&worker).await;

    let side = slow_side(&api).await;
    let before = figures.steps().await;
    let mut stream = api.stream(&request(side, 12)).await;
    let mut begun = None;
    for k in 1..=12 {
        let event = stream.until("progress").await;
        assert_eq!(event.data["step"].as_u64(), Some(k));
        // The text was a step of its own.
        let denoised = figures.steps().await - before - 1;
        assert!(denoised <= k + 2, "event {k} came when {denoised} steps were done");
        // Told with its step, and not in advance.
        assert!(denoised + 1 >= k, "event {k} came when {denoised} steps were done");
        begun.get_or_insert_with(Instant::now);
    }
    let step = begun.expect("there were steps").elapsed() / 11;
    assert!(step >= SHORTEST_STEP, "steps of {step:?} show nothing");
    stream.until("done").await;

    let mut stream = api.stream(&request(side, 500)).await;
    stream.find("progress", |data| data["step"].as_u64() >= Some(3)).await;
    drop(stream);
    let at_close = figures.steps().await;
    let ended = loop {
        let gauges = figures.next(2).await;
        if gauges.cancelled == 1 && gauges.running == 0 {
            break gauges;
        }
    };
    // The step that was under way; the worker knows of the close itself, where this client sees it a moment apart.
    assert!(ended.steps_after_disconnect_max <= 1, "{ended:?}");
    assert!(steps(&ended) <= at_close + 2, "{at_close} steps at the close, {}", steps(&ended));
    assert_eq!(steps(&figures.next(4).await), steps(&ended), "it went on");
}

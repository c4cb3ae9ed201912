//! A worker that does what a test tells it to, over the real contract on a real socket.

mod answers;
mod script;

pub use answers::{detail, embedding, event, labels, similarity, started, text, token};
pub use script::{Script, Step};

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{Stream, StreamExt};
use proto::{
    BlobChunk, BlobReceipt, ConfigureRequest, ConfigureResponse, Device, Gauges, InferEvent,
    InferRequest, LoadEvent, LoadModelRequest, ModelPlan, PlanModelRequest, Residency, StatusEvent,
    TaskSupport, UnloadModelRequest, UnloadModelResponse, WatchStatusRequest, WorkerStatus,
    status_event::Change,
    worker_server::{Worker, WorkerServer},
};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    sync::{broadcast, mpsc},
};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};

type Events<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A running fake worker.
pub struct FakeWorker {
    pub url: String,
    state: Arc<State>,
    /// Its own runtime, so that killing it closes every connection at once.
    runtime: Mutex<Option<Runtime>>,
}

struct State {
    id: String,
    script: Mutex<Script>,
    residencies: Mutex<Vec<Residency>>,
    /// What was asked, as it came.
    infers: Mutex<Vec<InferRequest>>,
    loads: Mutex<Vec<LoadModelRequest>>,
    unloads: Mutex<Vec<UnloadModelRequest>>,
    configures: Mutex<Vec<ConfigureRequest>>,
    blobs: Mutex<Vec<usize>>,
    /// Streams that were dropped before their end.
    cancelled: mpsc::UnboundedSender<()>,
    changes: broadcast::Sender<Change>,
}

impl FakeWorker {
    /// Starts one with this name; `cancelled` hears of every stream that a client dropped.
    pub async fn start(id: &str, script: Script) -> (Self, mpsc::UnboundedReceiver<()>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (cancelled, hears) = mpsc::unbounded_channel();
        let state = Arc::new(State {
            id: id.to_owned(),
            residencies: Mutex::new(script.residencies.clone()),
            script: Mutex::new(script),
            infers: Mutex::default(),
            loads: Mutex::default(),
            unloads: Mutex::default(),
            configures: Mutex::default(),
            blobs: Mutex::default(),
            cancelled,
            changes: broadcast::channel(64).0,
        });
        let service = WorkerServer::new(Service(state.clone()))
            .max_decoding_message_size(proto::MAX_MESSAGE_BYTES)
            .max_encoding_message_size(proto::MAX_MESSAGE_BYTES);
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            let incoming = TcpListenerStream::new(listener);
            Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
        (Self { url, state, runtime: Mutex::new(Some(runtime)) }, hears)
    }

    pub fn infers(&self) -> Vec<InferRequest> {
        self.state.infers.lock().unwrap().clone()
    }

    pub fn loads(&self) -> Vec<LoadModelRequest> {
        self.state.loads.lock().unwrap().clone()
    }

    pub fn unloads(&self) -> Vec<UnloadModelRequest> {
        self.state.unloads.lock().unwrap().clone()
    }

    pub fn configures(&self) -> Vec<ConfigureRequest> {
        self.state.configures.lock().unwrap().clone()
    }

    /// Sizes of the blobs that came.
    pub fn blobs(&self) -> Vec<usize> {
        self.state.blobs.lock().unwrap().clone()
    }

    /// Tells a change to whoever watches, and keeps it for the next snapshot.
    pub fn tell(&self, change: Change) {
        match &change {
            Change::Residency(residency) => {
                let mut residencies = self.state.residencies.lock().unwrap();
                residencies.retain(|known| known.residency_id != residency.residency_id);
                residencies.push(residency.clone());
            }
            Change::ResidencyGone(id) => {
                self.state.residencies.lock().unwrap().retain(|known| known.residency_id != *id);
            }
            _ => {}
        }
        let _ = self.state.changes.send(change);
    }

    /// What the next requests meet.
    pub fn script(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.state.script.lock().unwrap());
    }

    /// Dies without a word.
    pub fn kill(&self) {
        if let Some(runtime) = self.runtime.lock().unwrap().take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for FakeWorker {
    fn drop(&mut self) {
        self.kill();
    }
}

struct Service(Arc<State>);

impl State {
    fn status(&self) -> WorkerStatus {
        let script = self.script.lock().unwrap();
        WorkerStatus {
            worker_id: self.id.clone(),
            incarnation: format!("{}-1", self.id),
            contract_version: proto::CONTRACT_VERSION,
            version: "fake".into(),
            devices: self.devices(script.budget),
            tasks: vec![TaskSupport {
                task: "text-generation".into(),
                architectures: vec!["gpt2".into(), "llama".into()],
                kind: "causal_lm".into(),
            }],
            residencies: self.residencies.lock().unwrap().clone(),
            healthy: true,
            ..Default::default()
        }
    }

    fn devices(&self, budget: u64) -> Vec<Device> {
        let residencies = self.residencies.lock().unwrap();
        let charged = residencies
            .iter()
            .flat_map(|residency| &residency.bytes)
            .map(|bytes| bytes.weights)
            .sum();
        vec![Device {
            name: "cpu".into(),
            total_bytes: budget * 2,
            budget_bytes: budget,
            charged_bytes: charged,
            ..Default::default()
        }]
    }

    fn gauges(&self) -> Gauges {
        let (budget, gauges) = {
            let script = self.script.lock().unwrap();
            (script.budget, script.gauges.clone())
        };
        Gauges { devices: self.devices(budget), healthy: true, ..gauges }
    }
}

#[tonic::async_trait]
impl Worker for Service {
    type LoadModelStream = Events<LoadEvent>;
    type InferStream = Events<InferEvent>;
    type WatchStatusStream = Events<StatusEvent>;

    async fn plan_model(
        &self,
        request: Request<PlanModelRequest>,
    ) -> Result<Response<ModelPlan>, Status> {
        let request = request.into_inner();
        let model_id = request.model.unwrap_or_default().model_id;
        let script = self.0.script.lock().unwrap();
        script.plan(&model_id, &request.task).map(Response::new)
    }

    async fn load_model(
        &self,
        request: Request<LoadModelRequest>,
    ) -> Result<Response<Self::LoadModelStream>, Status> {
        self.0.loads.lock().unwrap().push(request.into_inner());
        let steps = self.0.script.lock().unwrap().loads.pop_front();
        let steps = steps.ok_or_else(|| Status::internal("the script has no load left"))?;
        Ok(Response::new(futures::stream::iter(steps).boxed()))
    }

    async fn unload_model(
        &self,
        request: Request<UnloadModelRequest>,
    ) -> Result<Response<UnloadModelResponse>, Status> {
        self.0.unloads.lock().unwrap().push(request.into_inner());
        let answer = self.0.script.lock().unwrap().unloads.pop_front();
        let not_loaded = || detail(tonic::Code::NotFound, "not_loaded", "", "it is not loaded");
        answer.unwrap_or_else(|| Err(not_loaded())).map(Response::new)
    }

    async fn infer(
        &self,
        request: Request<InferRequest>,
    ) -> Result<Response<Self::InferStream>, Status> {
        let request = request.into_inner();
        let seed = request.seed;
        self.0.infers.lock().unwrap().push(request);
        let steps = self.0.script.lock().unwrap().infers.pop_front();
        let mut steps = steps.ok_or_else(|| Status::internal("the script has no answer left"))?;
        steps.iter_mut().for_each(|step| step.say_seed(seed));
        if let Some(Step::Refuse(status)) = steps.front() {
            return Err(status.clone());
        }
        let (events, stream) = mpsc::channel(1);
        let cancelled = self.0.cancelled.clone();
        tokio::spawn(async move {
            if play(&mut steps, &events).await.is_none() {
                let _ = cancelled.send(());
            }
        });
        Ok(Response::new(ReceiverStream::new(stream).boxed()))
    }

    async fn put_blob(
        &self,
        request: Request<Streaming<BlobChunk>>,
    ) -> Result<Response<BlobReceipt>, Status> {
        let mut chunks = request.into_inner();
        let mut bytes = 0;
        while let Some(chunk) = chunks.message().await? {
            bytes += chunk.data.len();
        }
        self.0.blobs.lock().unwrap().push(bytes);
        let receipt =
            BlobReceipt { blob_id: "sha256:fake".into(), bytes: bytes as u64, ttl_ms: 60_000 };
        Ok(Response::new(receipt))
    }

    async fn configure(
        &self,
        request: Request<ConfigureRequest>,
    ) -> Result<Response<ConfigureResponse>, Status> {
        let request = request.into_inner();
        let answer = ConfigureResponse {
            budgets: request.budgets.clone(),
            draining: request.drain.unwrap_or(false),
            kept: true,
        };
        self.0.configures.lock().unwrap().push(request);
        Ok(Response::new(answer))
    }

    async fn watch_status(
        &self,
        _request: Request<WatchStatusRequest>,
    ) -> Result<Response<Self::WatchStatusStream>, Status> {
        let state = self.0.clone();
        let mut changes = state.changes.subscribe();
        let (events, stream) = mpsc::channel(16);
        tokio::spawn(async move {
            let mut sequence = 1;
            let mut next = Change::Snapshot(state.status());
            loop {
                if events.send(Ok(StatusEvent { sequence, change: Some(next) })).await.is_err() {
                    return;
                }
                sequence += 1;
                let beat = tokio::time::timeout(Duration::from_millis(50), changes.recv());
                next = match beat.await {
                    Ok(Ok(change)) => change,
                    _ => Change::Gauges(state.gauges()),
                };
            }
        });
        Ok(Response::new(ReceiverStream::new(stream).boxed()))
    }
}

/// `None` when the client went away.
async fn play(
    steps: &mut VecDeque<Step>,
    events: &mpsc::Sender<Result<InferEvent, Status>>,
) -> Option<()> {
    let mut sequence = 0;
    for step in steps.drain(..) {
        match step {
            Step::Refuse(status) | Step::Fail(status) => events.send(Err(status)).await.ok()?,
            Step::Send(event) => {
                sequence += 1;
                events.send(Ok(InferEvent { sequence, event: Some(*event) })).await.ok()?;
            }
            Step::Pause(gate) => tokio::select! {
                () = gate.notified() => {}
                () = events.closed() => return None,
            },
            Step::Hang => {
                events.closed().await;
                return None;
            }
        }
    }
    Some(())
}

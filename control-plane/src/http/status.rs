//! `GET /api/models/status` and its stream: every model on every worker.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{
    Json,
    extract::State,
    http::HeaderMap,
    response::{Response, sse::Event as Frame},
};
use futures::{StreamExt, stream};
use proto::{Eviction, LearnedCost, LoadingEvent, Residency, ResidencyState, ResidentAdapter};
use serde::Serialize;
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::Instant,
};
use utoipa::ToSchema;

use super::{
    App,
    answer::{ErrorAnswer, ErrorBody},
    body, sse,
    workers::WorkerRow,
};
use crate::{
    failure::Failure,
    fleet::{Change, Fleet, Worker},
};

/// Longest pause after a failed load that is told as a time.
const LONGEST_PAUSE_S: f64 = 365.0 * 86_400.0;

/// Every model on every worker.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StatusAnswer {
    models: Vec<ModelStatus>,
}

/// One model on one worker.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct ModelStatus {
    pub(super) model_id: String,
    /// Its commit.
    revision: String,
    status: ResidencyState,
    /// The task it was loaded for.
    task: String,
    /// Every task whose pipeline is attached.
    tasks: Vec<String>,
    worker: String,
    device: String,
    dtype: String,
    architecture: String,
    /// As which kind of model it is loaded; one repository can be resident as several.
    kind: String,
    parameters: u64,
    bytes: Bytes,
    /// Milliseconds from the load's start to ready; absent before.
    #[serde(skip_serializing_if = "Option::is_none")]
    load_time_ms: Option<f64>,
    /// Seconds since ready; absent before.
    #[serde(skip_serializing_if = "Option::is_none")]
    loaded_s_ago: Option<f64>,
    /// Seconds since the last request ended; absent when there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_s_ago: Option<f64>,
    /// Requests that execute.
    in_flight: u32,
    /// Requests that wait.
    queued: u32,
    /// Requests served since ready.
    requests: u64,
    pinned: bool,
    /// Seconds after the last use; -1: until evicted.
    keep_alive_s: f64,
    /// How far the load is, while it loads.
    #[serde(skip_serializing_if = "Option::is_none")]
    loading: Option<LoadingEvent>,
    /// The last error of its load or of a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<ErrorBody>,
    /// After a failed load: seconds until a new try is admitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_in_s: Option<f64>,
    /// Expected seconds of reloading that losing it now would cost: who has least goes first. Absent unless ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) regret_s: Option<f64>,
    /// What was measured of it on its worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    learned: Option<LearnedCost>,
    /// When that is, by the server's clock, as RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_at: Option<String>,
    /// Unique on its worker.
    residency_id: String,
    /// Changes on load, unload, pin and drain.
    generation: u64,
    /// LoRA adapters that are there beside it or on their way.
    adapters: Vec<ResidentAdapter>,
}

/// Bytes of a model on its device.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
struct Bytes {
    /// Weights, caches, adapters and working memory.
    total: u64,
    weights: u64,
    /// Of the weights: file pages of a map.
    mapped: u64,
    /// Caches of keys and values.
    cache: u64,
    /// LoRA adapters that are there or on their way.
    adapters: u64,
    /// Intermediate tensors.
    workspace: u64,
    /// Growth of the process or the device during the load; absent where it is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    measured: Option<u64>,
}

impl ModelStatus {
    /// `told_at` is when the worker said it: its ages go on from there.
    pub(super) fn of(residency: &Residency, worker: &str, told_at: Instant) -> Self {
        let since = told_at.elapsed().as_secs_f64();
        let age = |ago: u64| ago as f64 / 1e3 + since;
        let mut bytes = Bytes::default();
        for device in &residency.bytes {
            bytes.weights = bytes.weights.saturating_add(device.weights);
            bytes.mapped = bytes.mapped.saturating_add(device.mapped);
            bytes.cache = bytes.cache.saturating_add(device.cache);
            bytes.adapters = bytes.adapters.saturating_add(device.adapters);
            bytes.total = bytes.total.saturating_add(device.charged());
            bytes.workspace = bytes.workspace.saturating_add(device.workspace);
            bytes.measured = device
                .measured
                .map(|more| bytes.measured.unwrap_or(0).saturating_add(more))
                .or(bytes.measured);
        }
        let retry_in_s = residency.retry_in_ms.map(|left| (left as f64 / 1e3 - since).max(0.0));
        let retry_at = retry_in_s.map(|left| {
            // A worker that says more than a year says nothing.
            let at = SystemTime::now() + Duration::from_secs_f64(left.min(LONGEST_PAUSE_S));
            humantime::format_rfc3339_seconds(at).to_string()
        });
        let devices: Vec<&str> =
            residency.bytes.iter().map(|bytes| bytes.device.as_str()).collect();
        Self {
            model_id: residency.model_id.clone(),
            revision: residency.revision.clone(),
            status: residency.state(),
            task: residency.tasks.first().cloned().unwrap_or_default(),
            tasks: residency.tasks.clone(),
            worker: worker.to_owned(),
            device: devices.join("+"),
            dtype: residency.dtype.clone(),
            architecture: residency.architecture.clone(),
            kind: residency.kind.clone(),
            parameters: residency.parameters,
            bytes,
            load_time_ms: residency.load_time_ms,
            loaded_s_ago: residency.loaded_ms_ago.map(age),
            last_used_s_ago: residency.last_used_ms_ago.map(age),
            in_flight: residency.in_flight,
            queued: residency.queued,
            requests: residency.requests,
            pinned: residency.pinned,
            keep_alive_s: if residency.keep_alive_ms < 0 {
                -1.0
            } else {
                residency.keep_alive_ms as f64 / 1e3
            },
            loading: residency.loading.clone(),
            last_error: residency
                .error
                .as_ref()
                .map(|detail| ErrorBody::from(&Failure::from(detail))),
            retry_in_s,
            retry_at,
            regret_s: None,
            learned: residency.learned.clone(),
            adapters: residency.adapters.clone(),
            residency_id: residency.residency_id.clone(),
            generation: residency.generation,
        }
    }
}

/// The models of one worker.
fn models_of(fleet: &Fleet, worker: &Worker) -> Vec<ModelStatus> {
    let id = worker.id();
    let regrets = fleet.regrets(worker);
    let view = worker.view();
    let residencies = view.status.iter().flat_map(|status| &status.residencies);
    residencies
        .map(|residency| {
            let is_ready = residency.state() == ResidencyState::Ready;
            let regret_s = regrets.get(&residency.residency_id).copied().filter(|_| is_ready);
            let status = ModelStatus::of(residency, &id, view.told_at(&residency.residency_id));
            ModelStatus { regret_s, ..status }
        })
        .collect()
}

fn models(fleet: &Fleet) -> Vec<ModelStatus> {
    fleet.workers().iter().flat_map(|worker| models_of(fleet, worker)).collect()
}

/// Every model on every worker
#[utoipa::path(get, path = "/api/models/status", tag = "models", responses((status = 200, body = StatusAnswer)))]
pub(super) async fn status(State(app): State<Arc<App>>) -> Json<StatusAnswer> {
    Json(StatusAnswer { models: models(&app.fleet) })
}

/// One event of the live status; `type` equals the event's name.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum StatusStreamEvent {
    /// Everything; first, and again when the reader was too slow.
    Snapshot { models: Vec<ModelStatus>, workers: Vec<WorkerRow> },
    /// A model is new or different.
    Model(Box<ModelStatus>),
    /// A model is gone.
    ModelGone { worker: String, residency_id: String, model_id: String },
    /// A worker's figures moved.
    Worker(Box<WorkerRow>),
    /// A model was evicted.
    Eviction { worker: String, eviction: Eviction },
}

impl StatusStreamEvent {
    fn name(&self) -> &'static str {
        match self {
            Self::Snapshot { .. } => "snapshot",
            Self::Model(_) => "model",
            Self::ModelGone { .. } => "model_gone",
            Self::Worker(_) => "worker",
            Self::Eviction { .. } => "eviction",
        }
    }

    fn snapshot(fleet: &Fleet) -> Self {
        let workers = fleet.workers().iter().map(|worker| WorkerRow::of(worker)).collect();
        Self::Snapshot { models: models(fleet), workers }
    }

    /// `None` when what changed is gone again.
    fn of(fleet: &Fleet, change: Change) -> Option<Self> {
        let id = |worker: usize| fleet.at(worker).map(|worker| worker.id());
        Some(match change {
            Change::Worker { .. } => Self::snapshot(fleet),
            Change::Gauges { worker } => {
                Self::Worker(Box::new(WorkerRow::of(fleet.at(worker)?.as_ref())))
            }
            Change::Residency { worker, residency_id } => {
                let models = models_of(fleet, fleet.at(worker)?.as_ref());
                Self::Model(Box::new(
                    models.into_iter().find(|model| model.residency_id == residency_id)?,
                ))
            }
            Change::ResidencyGone { worker, residency_id, model_id } => {
                Self::ModelGone { worker: id(worker)?, residency_id, model_id }
            }
            Change::Eviction { worker, eviction } => {
                Self::Eviction { worker: id(worker)?, eviction }
            }
        })
    }
}

/// The status as a stream: a snapshot, then changes
#[utoipa::path(operation_id = "stream_status", get, path = "/api/models/status/stream", tag = "models",
    responses((status = 200, content_type = "text/event-stream", body = StatusStreamEvent),
        (status = 406, body = ErrorAnswer)))]
pub(super) async fn stream(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    body::accepts(&headers, "text/event-stream")?;
    let keep_alive = app.config.stream_keep_alive;
    let stop = app.stop.clone();
    // Subscribed before the snapshot is taken, so that nothing falls between.
    let following = Following { changes: app.fleet.changes(), app, sequence: 0 };
    let frames = stream::unfold(following, |mut following| async move {
        let frame = following.next().await?;
        Some((frame, following))
    });
    let frames = frames.take_until(async move { stop.cancelled().await });
    Ok(sse::respond(frames.boxed(), keep_alive))
}

struct Following {
    app: Arc<App>,
    changes: Receiver<Change>,
    sequence: u64,
}

impl Following {
    async fn next(&mut self) -> Option<Frame> {
        loop {
            let event = if self.sequence == 0 {
                Some(StatusStreamEvent::snapshot(&self.app.fleet))
            } else {
                match self.changes.recv().await {
                    Ok(change) => StatusStreamEvent::of(&self.app.fleet, change),
                    Err(RecvError::Lagged(_)) => Some(StatusStreamEvent::snapshot(&self.app.fleet)),
                    Err(RecvError::Closed) => return None,
                }
            };
            if let Some(event) = event {
                self.sequence += 1;
                return Some(sse::frame(event.name(), &self.sequence.to_string(), &event));
            }
        }
    }
}

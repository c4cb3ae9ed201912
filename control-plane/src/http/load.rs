//! `POST /api/models/load`: loads a model ahead of its use.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::HeaderMap,
    response::{IntoResponse, Response, sse::Event as Frame},
};
use futures::{StreamExt, stream};
use proto::{LoadModelRequest, OnConflict};
use serde::Deserialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::{
    App,
    answer::{ErrorAnswer, ErrorBody},
    body,
    edge::RequestId,
    envelope::{conflict, dtype},
    model::model_ref,
    quantities::{KeepAlive, Span},
    sse::{self, LoadDone, LoadStreamEvent},
    status::ModelStatus,
};
use crate::{
    failure::{Code, Failure},
    fleet::{Load, LoadStep},
    strict, tasks,
};

/// Which model to load, and how.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LoadRequest {
    /// `org/name[@revision]`
    #[schema(required = true, value_type = String)]
    model_id: Option<String>,
    /// Absent: told from the repository.
    #[serde(default)]
    task: Option<String>,
    /// `float32`, `float16` or `bfloat16`; absent: the worker's rule.
    #[serde(default)]
    dtype: Option<String>,
    /// Never evict it.
    #[serde(default)]
    pin: Option<bool>,
    /// How long it stays after its last use; `-1`: until evicted.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "10m")]
    keep_alive: Option<KeepAlive>,
    /// What to do when there is no room (default evict).
    #[serde(default)]
    on_conflict: Option<OnConflict>,
    /// Longest time for the load; absent: it ends when nothing moves for 10m.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "5m")]
    timeout: Option<Span>,
}

/// Loads a model ahead of its use
///
/// Answers when the model is ready; with `Accept: text/event-stream` the load is told as events.
#[utoipa::path(post, path = "/api/models/load", tag = "models", request_body = LoadRequest,
    responses((status = 200, content((LoadDone = "application/json"), (LoadStreamEvent = "text/event-stream"))),
        (status = "4XX", body = ErrorAnswer), (status = "5XX", body = ErrorAnswer)))]
pub(super) async fn load(
    State(app): State<Arc<App>>,
    axum::Extension(id): axum::Extension<RequestId>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Failure> {
    let arrived = Instant::now();
    let as_events = body::wants_events(&headers);
    if !as_events {
        body::accepts(&headers, "application/json")?;
    }
    let body = body::json(request, &app).await?;
    let wanted: LoadRequest = strict::read("", Code::InvalidRequest, Some(body.value))?;
    let mut load = wanted.start(&app, id.0, arrived)?;
    if as_events {
        let Some(first) = load.next().await else { return Err(ended()) };
        return Ok(events(&app, load, first?, arrived));
    }
    while let Some(step) = load.next().await {
        if let LoadStreamEvent::Done(done) = told(step?, arrived) {
            return Ok(Json(*done).into_response());
        }
    }
    Err(ended())
}

impl LoadRequest {
    fn start(self, app: &App, request_id: String, arrived: Instant) -> Result<Load, Failure> {
        let model = model_ref(self.model_id.as_deref(), "model_id")?;
        let task = match self.task.as_deref().filter(|task| !task.is_empty()) {
            Some(task) => tasks::find(task)?.id,
            None => "",
        };
        let request = LoadModelRequest {
            model: Some(model),
            task: task.to_owned(),
            dtype: dtype(self.dtype, "dtype")?,
            victims: Vec::new(),
            pin: self.pin.unwrap_or(false),
            keep_alive_ms: self.keep_alive.map(KeepAlive::milliseconds),
            request_id,
        };
        let patience = self.timeout.is_none().then_some(app.config.deadline);
        let timeout = self.timeout.map_or(app.config.deadline, |timeout| timeout.0);
        let deadline = arrived + timeout.min(app.config.max_deadline);
        Ok(Load::new(app.fleet.clone(), request, conflict(self.on_conflict), deadline, patience))
    }
}

fn ended() -> Failure {
    Failure::new(Code::LoadFailed, "the load ended without a model")
}

fn told(step: LoadStep, arrived: Instant) -> LoadStreamEvent {
    match step {
        LoadStep::Queued(event) => LoadStreamEvent::Queued(event),
        LoadStep::Loading(event) => LoadStreamEvent::Loading(event),
        LoadStep::Ready(residency, worker) => LoadStreamEvent::Done(Box::new(LoadDone {
            model: ModelStatus::of(&residency, &worker.id(), Instant::now()),
            runtime_ms: arrived.elapsed().as_micros() as f64 / 1e3,
        })),
    }
}

fn events(app: &App, load: Load, first: LoadStep, arrived: Instant) -> Response {
    let rest = stream::unfold(load, |mut load| async move {
        let step = load.next().await?;
        Some((step, load))
    });
    let frames = stream::iter([Ok(first)]).chain(rest).enumerate().map(move |(sequence, step)| {
        let event = step.map_or_else(
            |failure| LoadStreamEvent::Error(ErrorBody::from(&failure)),
            |step| told(step, arrived),
        );
        frame(sequence, &event)
    });
    sse::respond(frames.boxed(), app.config.stream_keep_alive)
}

fn frame(sequence: usize, event: &LoadStreamEvent) -> Frame {
    sse::frame(event.name(), &(sequence + 1).to_string(), event)
}

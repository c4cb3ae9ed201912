//! Server-sent events of predictions and loads: their names, their data, their headers.

use std::{convert::Infallible, time::Duration};

use axum::{
    http::{HeaderName, HeaderValue, header::CACHE_CONTROL},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::Stream;
use proto::{
    AudioEvent, LoadingEvent, PartialEvent, ProgressEvent, QueuedEvent, StartedEvent, TokenEvent,
    infer_event::Event as Told,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{answer::ErrorBody, inference::InferenceAnswer, status::ModelStatus};

const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// One event of a prediction; `type` equals the event's name. The last one is `done` or `error`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum StreamEvent {
    /// Waiting for a turn.
    Queued(QueuedEvent),
    /// The model is being loaded.
    Loading(LoadingEvent),
    /// Execution begins.
    Start(StartedEvent),
    /// A piece of generated text.
    Token(TokenEvent),
    /// A step of a loop is complete on the device.
    Progress(ProgressEvent),
    /// A piece of audio.
    Audio(AudioEvent),
    /// A partial result of the task's own kind.
    Partial(PartialEvent),
    /// The result.
    Done(Box<DoneEvent>),
    /// The failure.
    Error(ErrorBody),
}

/// The result of a stream, as `/api/inference` answers it, with the figures of the stream.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DoneEvent {
    #[serde(flatten)]
    pub(super) answer: InferenceAnswer,
    /// Tokens that were generated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tokens: Option<u64>,
    /// Milliseconds from the request's arrival to its first token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first_token_latency_ms: Option<f64>,
    /// Generated tokens per second of device time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tokens_per_second: Option<f64>,
}

/// One event of a load; the last one is `done` or `error`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum LoadStreamEvent {
    /// Waiting for a turn or for room.
    Queued(QueuedEvent),
    /// How far the load is.
    Loading(LoadingEvent),
    /// The model answers.
    Done(Box<LoadDone>),
    /// The failure.
    Error(ErrorBody),
}

/// A model that is loaded.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LoadDone {
    pub(super) model: ModelStatus,
    /// Milliseconds from the request's arrival until the model was ready.
    pub(super) runtime_ms: f64,
}

impl StreamEvent {
    /// `None` for what has no event of its own: the result, which becomes `done`, and bytes that belong to it.
    pub(super) fn of(told: Told) -> Option<Self> {
        Some(match told {
            Told::Queued(event) => Self::Queued(event),
            Told::Loading(event) => Self::Loading(event),
            Told::Started(event) => Self::Start(event),
            Told::Token(event) => Self::Token(event),
            Told::Progress(event) => Self::Progress(event),
            Told::Audio(event) => Self::Audio(event),
            Told::Partial(event) => Self::Partial(event),
            Told::MediaChunk(_) | Told::Result(_) => return None,
        })
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Queued(_) => "queued",
            Self::Loading(_) => "loading",
            Self::Start(_) => "start",
            Self::Token(_) => "token",
            Self::Progress(_) => "progress",
            Self::Audio(_) => "audio",
            Self::Partial(_) => "partial",
            Self::Done(_) => "done",
            Self::Error(_) => "error",
        }
    }
}

impl LoadStreamEvent {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Queued(_) => "queued",
            Self::Loading(_) => "loading",
            Self::Done(_) => "done",
            Self::Error(_) => "error",
        }
    }
}

/// An event in its frame; what cannot be written becomes an `error` event.
pub(super) fn frame(name: &str, id: &str, data: &impl Serialize) -> Event {
    match Event::default().event(name).id(id).json_data(data) {
        Ok(event) => event,
        Err(error) => {
            tracing::error!(%error, name, "an event cannot be written");
            let data = r#"{"type":"error","code":"inference_failed","message":"the event cannot be written","details":{},"retryable":false}"#;
            Event::default().event("error").id(id).data(data)
        }
    }
}

/// The stream as an answer, kept open by comments while nothing happens.
pub(super) fn respond(
    events: impl Stream<Item = Event> + Send + 'static,
    keep_alive: Duration,
) -> Response {
    use futures::StreamExt;

    let events = events.map(Ok::<_, Infallible>);
    let keep_alive = KeepAlive::new().interval(keep_alive).text("keep-alive");
    let mut response = Sse::new(events).keep_alive(keep_alive).into_response();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

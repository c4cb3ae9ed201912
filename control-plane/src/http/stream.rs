//! `/api/inference/stream`: the same predictions as events, from a JSON body or from query parameters.

use std::sync::Arc;

use axum::{
    Extension,
    extract::{RawQuery, Request, State},
    http::{HeaderMap, HeaderName, StatusCode},
    response::{IntoResponse, Response, sse::Event as Frame},
};
use futures::{StreamExt, stream};
use proto::{InferResult, http::fields_of, infer_event::Event, infer_result::Output};
use serde_json::{Value, json};

use super::{
    App,
    answer::{ErrorAnswer, ErrorBody},
    body::{self, JsonBody},
    edge::RequestId,
    form::InferenceForm,
    inference::{Context, Prepared, finish, start},
    openapi::InferenceRequest,
    sse::{self, DoneEvent, StreamEvent},
};
use crate::{
    failure::{Code, Failure},
    fleet::Run,
    metrics::Tally,
};

const EVENTS: &str = "text/event-stream";
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Any prediction as a stream of events
///
/// `queued`, `loading`, `start`, then what the task makes, then exactly one `done` or `error`. Closing the connection cancels.
/// As `multipart/form-data` the part `spec` is the JSON, and files take the place of base64.
#[utoipa::path(operation_id = "stream_inference", post, path = "/api/inference/stream", tag = "inference",
    request_body(content((InferenceRequest = "application/json"), (InferenceForm = "multipart/form-data"))),
    responses((status = 200, content_type = "text/event-stream", body = StreamEvent),
        (status = "4XX", body = ErrorAnswer), (status = "5XX", body = ErrorAnswer)))]
pub(super) async fn post(
    State(app): State<Arc<App>>,
    Extension(id): Extension<RequestId>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Failure> {
    let tally = Tally::start();
    let body = async {
        body::accepts(&headers, EVENTS)?;
        body::prediction(request, &app).await
    };
    match body.await {
        Ok(body) => stream(&app, start(&app, id.0, body, tally).await?).await,
        Err(failure) => Err(finish(tally, failure)),
    }
}

/// Text generation as a stream, for `EventSource` and plain curl
///
/// Takes `model_id`, `prompt` (or `text`) and the options of text generation as query parameters.
#[utoipa::path(operation_id = "stream_text_generation", get, path = "/api/inference/stream", tag = "inference",
    params(("model_id" = String, Query, description = "`org/name[@revision]`"),
        ("prompt" = String, Query, description = "What to continue"),
        ("max_new_tokens" = Option<u32>, Query, description = "As every option of text generation")),
    responses((status = 200, content_type = "text/event-stream", body = StreamEvent),
        (status = 204, description = "A browser reconnected; the work is not started again"),
        (status = "4XX", body = ErrorAnswer), (status = "5XX", body = ErrorAnswer)))]
pub(super) async fn get(
    State(app): State<Arc<App>>,
    Extension(id): Extension<RequestId>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Result<Response, Failure> {
    // An `EventSource` reconnects by itself, even after `done`: that never starts the work again.
    if headers.contains_key(LAST_EVENT_ID) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let tally = Tally::start();
    let body = body::accepts(&headers, EVENTS)
        .and_then(|()| from_query(query.as_deref().unwrap_or_default()));
    match body {
        Ok(value) => {
            let body = JsonBody { value, is_large: false, files: Vec::new() };
            stream(&app, start(&app, id.0, body, tally).await?).await
        }
        Err(failure) => Err(finish(tally, failure)),
    }
}

/// The JSON request that the query parameters stand for.
fn from_query(query: &str) -> Result<Value, Failure> {
    let known = fields_of::<proto::TextGenerationOptions>();
    let mut request = json!({"task": "text-generation", "inputs": {}, "options": {}});
    let pairs = pairs_of(query)?;
    for (name, text) in pairs {
        match name.as_str() {
            "model_id" => request["model_id"] = text.into(),
            "prompt" | "text" => request["inputs"]["text"] = text.into(),
            "stop" => match request["options"].get_mut("stop").and_then(Value::as_array_mut) {
                Some(stops) => stops.push(text.into()),
                None => request["options"]["stop"] = json!([text]),
            },
            option if known.contains(&option) => {
                // `true`, `5` and `0.7` are what they look like; the option's own type is checked later.
                let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
                request["options"][option] = value;
            }
            other => {
                let message = format!("there is no parameter {other}");
                return Err(Failure::new(Code::UnknownOption, message)
                    .with("field", other)
                    .with("options", [&["model_id", "prompt", "text"], known].concat()));
            }
        }
    }
    Ok(request)
}

/// Names and values of a query, percent-decoded.
fn pairs_of(query: &str) -> Result<Vec<(String, String)>, Failure> {
    let uri =
        format!("/?{query}").parse().map_err(|_| Failure::invalid("query", "cannot be read"))?;
    let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri);
    Ok(pairs.map_err(|_| Failure::invalid("query", "cannot be read"))?.0)
}

/// Answers when the first event is there: until then a failure is an HTTP status.
async fn stream(app: &App, prepared: Prepared) -> Result<Response, Failure> {
    let Prepared { mut run, mut context } = prepared;
    let first = match run.next().await {
        Some(Ok(event)) => event,
        Some(Err(failure)) => return Err(finish(context.tally, failure)),
        None => {
            let failure = Failure::new(Code::InferenceFailed, "the request ended without an event");
            return Err(finish(context.tally, failure));
        }
    };
    context.tally.see(&first);
    let events = Events { run, context: Some(context), first: Some(first), sequence: 0 };
    let frames = stream::unfold(events, |mut events| async move {
        let frame = events.next().await?;
        Some((frame, events))
    });
    Ok(sse::respond(frames.boxed(), app.config.stream_keep_alive))
}

/// A run as frames. Dropped, it cancels the run.
struct Events {
    run: Run,
    /// Taken by the last event.
    context: Option<Context>,
    first: Option<Event>,
    sequence: u64,
}

impl Events {
    async fn next(&mut self) -> Option<Frame> {
        loop {
            let context = self.context.as_mut()?;
            let told = match self.first.take() {
                Some(first) => Ok(first),
                None => {
                    let told = self.run.next().await?;
                    if let Ok(event) = &told {
                        context.tally.see(event);
                    }
                    told
                }
            };
            let event = match told {
                Ok(Event::Result(result)) => self.end(|context| done(context, result)),
                Ok(told) => StreamEvent::of(told),
                Err(failure) => self.end(|_| Err(failure)),
            };
            if let Some(event) = event {
                self.sequence += 1;
                return Some(sse::frame(event.name(), &self.sequence.to_string(), &event));
            }
        }
    }

    fn end(
        &mut self,
        last: impl FnOnce(&Context) -> Result<DoneEvent, Failure>,
    ) -> Option<StreamEvent> {
        let context = self.context.take()?;
        Some(match last(&context) {
            Ok(done) => {
                context.tally.finish("ok");
                StreamEvent::Done(Box::new(done))
            }
            Err(failure) => {
                context.tally.finish(failure.code.name());
                StreamEvent::Error(ErrorBody::from(&failure))
            }
        })
    }
}

fn done(context: &Context, result: InferResult) -> Result<DoneEvent, Failure> {
    let tokens = match &result.output {
        Some(Output::Text(text)) => {
            Some(text.choices.iter().map(|choice| u64::from(choice.generated_tokens)).sum())
        }
        _ => None,
    };
    let metadata = result.metadata.as_ref();
    let first_token_latency_ms = context
        .tally
        .first_token_ms()
        .or_else(|| metadata.and_then(|metadata| metadata.first_token_latency_ms));
    let tokens_per_second = metadata.and_then(|metadata| metadata.tokens_per_second);
    let answer = context.answer(result)?;
    Ok(DoneEvent { answer, tokens, first_token_latency_ms, tokens_per_second })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_parameters_become_a_request() {
        let request = from_query(
            "model_id=a%2Fb&prompt=Once%20upon&max_new_tokens=5&temperature=0.7&stop=x&stop=y",
        )
        .unwrap();
        let expected = json!({
            "task": "text-generation", "model_id": "a/b", "inputs": {"text": "Once upon"},
            "options": {"max_new_tokens": 5, "temperature": 0.7, "stop": ["x", "y"]},
        });
        assert_eq!(request, expected);
    }

    #[test]
    fn an_unknown_parameter_is_named() {
        let failure = from_query("model_id=a&warmth=3").unwrap_err();
        assert_eq!(
            (failure.code, &failure.details["field"]),
            (Code::UnknownOption, &"warmth".into())
        );
    }
}

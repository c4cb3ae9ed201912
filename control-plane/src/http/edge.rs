//! What every request passes: its id, its line in the log, panics, compression, other origins.

use std::{any::Any, time::Instant};

use axum::{
    Router,
    body::Body,
    extract::{MatchedPath, Request},
    http::{HeaderName, HeaderValue, Method, header},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
};
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::{
        CompressionLayer,
        predicate::{NotForContentType, Predicate, SizeAbove},
    },
    cors::{AllowOrigin, Any as AnyOrigin, CorsLayer},
};

use tracing::Instrument;

use super::answer::FailureCode;
use crate::{
    config::Config,
    failure::{Code, Failure},
};

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const LONGEST_REQUEST_ID: usize = 128;

/// The id of a request: the client's own, or one of ours.
#[derive(Clone, Debug)]
pub(super) struct RequestId(pub(super) String);

pub(super) fn wrap(router: Router, config: &Config) -> Router {
    // Streams must not be held back to be compressed.
    let compressible = SizeAbove::new(1024)
        .and(NotForContentType::SSE)
        .and(NotForContentType::GRPC)
        .and(NotForContentType::IMAGES);
    let router = router
        .layer(CompressionLayer::new().compress_when(compressible))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(identify));
    match cors(&config.cors_origin) {
        Some(cors) => router.layer(cors),
        None => router,
    }
}

fn cors(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::from(AnyOrigin)
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()))
    };
    let methods = [Method::GET, Method::POST, Method::PATCH, Method::DELETE];
    let headers = [header::CONTENT_TYPE, header::ACCEPT, header::AUTHORIZATION, REQUEST_ID];
    let layer =
        CorsLayer::new().allow_origin(allowed).allow_methods(methods).allow_headers(headers);
    Some(layer.expose_headers([REQUEST_ID, header::RETRY_AFTER]))
}

/// Gives the request its id, and logs one line when the answer begins.
async fn identify(mut request: Request, next: Next) -> Response {
    let arrived = Instant::now();
    let id = request_id(&request);
    let method = request.method().clone();
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    request.extensions_mut().insert(RequestId(id.clone()));

    // The whole answer happens within it, also what a stream makes later.
    let span = tracing::error_span!(
        "request",
        otel.name = format!("{method} {}", path.as_deref().unwrap_or("other")),
        otel.kind = "server",
        request_id = id,
        http.response.status_code = tracing::field::Empty,
        code = tracing::field::Empty,
    );
    telemetry::adopt(&span, request.headers());
    let response = next.run(request).instrument(span.clone()).await;

    let code = response.extensions().get::<FailureCode>().map_or("ok", |code| code.0);
    let milliseconds = arrived.elapsed().as_micros() as f64 / 1e3;
    let status = response.status().as_u16();
    let path = path.as_deref().unwrap_or("other");
    span.record("http.response.status_code", status).record("code", code);
    // Who looks every few seconds whether all is well would fill the log.
    span.in_scope(|| match path {
        "/healthz" | "/readyz" | "/metrics" => {
            tracing::debug!(%method, path, status, code, milliseconds, "request");
        }
        _ => tracing::info!(%method, path, status, code, milliseconds, "request"),
    });
    let mut response = response.map(|body| Body::new(telemetry::FollowedBody::new(body, span)));
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

fn request_id(request: &Request) -> String {
    let given = request.headers().get(&REQUEST_ID).and_then(|value| value.to_str().ok());
    let printable = |id: &&str| {
        !id.is_empty()
            && id.len() <= LONGEST_REQUEST_ID
            && id.bytes().all(|byte| byte.is_ascii_graphic())
    };
    given.filter(printable).map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned)
}

/// A panic is a bug of ours: the client learns that much, the log has the rest.
#[expect(clippy::needless_pass_by_value, reason = "the layer hands the panic over")]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    tracing::error!(panic = text, "a handler panicked");
    Failure::new(Code::InferenceFailed, "the server failed on this request").into_response()
}

pub(super) async fn method_not_allowed(request: Request) -> Failure {
    let message = format!("{} is not possible on {}", request.method(), request.uri().path());
    Failure::new(Code::MethodNotAllowed, message)
}

//! `/healthz`, `/readyz` and `/metrics`.

use std::sync::Arc;

use axum::{
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};

use super::App;
use crate::{fleet, metrics::render_fleet};

const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The process is alive
#[utoipa::path(get, path = "/healthz", tag = "operations", responses((status = 200, body = String)))]
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// A worker is there
#[utoipa::path(get, path = "/readyz", tag = "operations",
    responses((status = 200, body = String), (status = 503, body = super::answer::ErrorAnswer)))]
pub(super) async fn ready(State(app): State<Arc<App>>) -> Response {
    if app.stop.is_cancelled() || !app.fleet.is_ready() {
        return fleet::no_worker().into_response();
    }
    "ready\n".into_response()
}

/// Figures for Prometheus
#[utoipa::path(get, path = "/metrics", tag = "operations", responses((status = 200, body = String)))]
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Response {
    app.recorder.run_upkeep();
    let text = app.recorder.render() + &render_fleet(&app.fleet);
    ([(CONTENT_TYPE, PROMETHEUS_TEXT)], text).into_response()
}

//! HTTP: one file per resource, and the router that puts them together.

mod answer;
mod body;
mod catalogue;
mod edge;
mod envelope;
mod evictions;
mod explain;
mod form;
mod health;
mod inference;
mod load;
mod model;
mod openapi;
mod page;
mod policy;
mod quantities;
mod sse;
mod status;
mod stream;
mod tasks;
mod unload;
mod upload;
mod workers;

pub use openapi::openapi_json;

use std::sync::Arc;

use axum::{
    Router,
    routing::{get, patch, post},
};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;

use crate::{catalog::Catalog, config::Config, fleet::Fleet, metrics};

/// What every handler shares.
pub struct App {
    pub fleet: Arc<Fleet>,
    pub catalog: Catalog,
    pub config: Config,
    /// Cancelled when the server begins to shut down.
    pub stop: CancellationToken,
    recorder: PrometheusHandle,
}

impl App {
    /// # Errors
    /// When the recorder of metrics cannot be installed.
    pub fn new(fleet: Arc<Fleet>, config: Config) -> Result<Arc<Self>, metrics::SetupError> {
        let catalog = Catalog::new(config.hub.clone());
        let recorder = metrics::recorder()?;
        Ok(Arc::new(Self { fleet, catalog, config, stop: CancellationToken::new(), recorder }))
    }
}

/// Every route of the server.
pub fn router(app: &Arc<App>) -> Router {
    let router = Router::new()
        .route("/api/inference", post(inference::infer))
        .route("/api/inference/stream", post(stream::post).get(stream::get))
        .route("/api/models", get(catalogue::list))
        .route("/api/models/status", get(status::status))
        .route("/api/models/status/stream", get(status::stream))
        .route("/api/models/load", post(load::load))
        .route("/api/models/unload", post(unload::unload))
        .route("/api/models/evictions", get(evictions::list))
        // `DELETE {task}/{model_id}` and `PATCH {model_id}`; ids contain slashes, so both share the rest of the path.
        .route("/api/models/{*path}", patch(policy::patch).delete(unload::delete))
        .route("/api/placement/explain", post(explain::explain))
        .route("/api/tasks", get(tasks::list))
        .route("/api/tasks/{task}", get(tasks::one))
        .route("/api/intents", get(tasks::intents))
        .route("/api/workers", get(workers::list))
        .route("/api/workers/{id}", patch(workers::patch))
        .route("/api/workers/{id}/drain", post(workers::drain))
        .route("/api/workers/{id}/restart", post(workers::restart))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .fallback(page::serve)
        .method_not_allowed_fallback(edge::method_not_allowed)
        .with_state(app.clone())
        .merge(openapi::docs());
    edge::wrap(router, &app.config)
}

//! `GET /api/models/evictions`: who had to leave, for whom, and what came back.

use std::sync::Arc;

use axum::{Json, extract::State};
use proto::Eviction;
use serde::Serialize;
use utoipa::ToSchema;

use super::App;

const MOST_SHOWN: usize = 1000;

/// The newest evictions of all workers, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EvictionsAnswer {
    evictions: Vec<EvictionRow>,
}

/// One eviction and where it happened.
#[derive(Debug, Serialize, ToSchema)]
struct EvictionRow {
    worker: String,
    #[serde(flatten)]
    eviction: Eviction,
}

/// The newest evictions of all workers
#[utoipa::path(operation_id = "list_evictions", get, path = "/api/models/evictions", tag = "models", responses((status = 200, body = EvictionsAnswer)))]
pub(super) async fn list(State(app): State<Arc<App>>) -> Json<EvictionsAnswer> {
    let mut evictions = Vec::new();
    for worker in app.fleet.workers() {
        let id = worker.id();
        let view = worker.view();
        let told = view.status.iter().flat_map(|status| &status.evictions);
        evictions.extend(
            told.map(|eviction| EvictionRow { worker: id.clone(), eviction: eviction.clone() }),
        );
    }
    evictions.sort_by_key(|row| std::cmp::Reverse(row.eviction.at_unix_ms));
    evictions.truncate(MOST_SHOWN);
    Json(EvictionsAnswer { evictions })
}

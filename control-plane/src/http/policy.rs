//! `PATCH /api/models/{model_id}`: pin, keep-alive, minimum residency, data type.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Request, State},
};
use proto::{ConfigureRequest, ResidencyPolicy};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    App,
    answer::ErrorAnswer,
    body,
    model::model_ref,
    quantities::{KeepAlive, Span},
};
use crate::{
    failure::{Code, Failure},
    fleet::{Link, View},
    strict,
};

/// A change of a model's policy; absent fields stay as they are.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ModelPatch {
    /// Never evict it.
    #[serde(default)]
    pinned: Option<bool>,
    /// How long it stays after its last use; `-1`: until evicted.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "10m")]
    keep_alive: Option<KeepAlive>,
    /// Not to be evicted earlier than this after its load.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "30s")]
    min_residency: Option<Span>,
    /// Data type of its later loads: `float32`, `float16` or `bfloat16`; `auto`: the worker's rule again. Copies of
    /// another data type leave as soon as they are idle. Needs no loaded model: every worker takes it.
    #[serde(default)]
    dtype: Option<String>,
}

/// Where the change holds.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ModelPolicy {
    model_id: String,
    /// Workers that took the change.
    workers: Vec<String>,
    /// False: on one of them the change could not be written down, and ends with that worker.
    kept: bool,
}

/// Pins a model, changes its keep-alive, minimum residency or data type
#[utoipa::path(operation_id = "configure_model", patch, path = "/api/models/{model_id}", tag = "models", request_body = ModelPatch,
    params(("model_id" = String, Path, description = "With its slash, encoded or not")),
    responses((status = 200, body = ModelPolicy), (status = "4XX", body = ErrorAnswer), (status = "5XX", body = ErrorAnswer)))]
pub(super) async fn patch(
    State(app): State<Arc<App>>,
    Path(model_id): Path<String>,
    request: Request,
) -> Result<Json<ModelPolicy>, Failure> {
    let body = body::json(request, &app).await?;
    let change: ModelPatch = strict::read("", Code::InvalidRequest, Some(body.value))?;
    let model = model_ref(Some(&model_id), "model_id")?;
    let policy = ResidencyPolicy {
        model: Some(model.clone()),
        pinned: change.pinned,
        keep_alive_ms: change.keep_alive.map(KeepAlive::milliseconds),
        min_residency_ms: change.min_residency.map(|span| span.0.as_millis() as u64),
        // The worker knows which data types there are.
        dtype: change.dtype.map(|name| if name == "auto" { String::new() } else { name }),
    };
    let (mut workers, mut kept) = (Vec::new(), true);
    for worker in app.fleet.workers() {
        let (is_up, known): (bool, Vec<(String, u64)>) = {
            let view = worker.view();
            let residencies = view.status.iter().flat_map(|status| &status.residencies);
            let of_model = residencies.filter(|residency| residency.model_id == model.model_id);
            let generations =
                of_model.map(|residency| (residency.residency_id.clone(), residency.generation));
            (view.link == Link::Up, generations.collect())
        };
        if is_up && (policy.dtype.is_some() || !known.is_empty()) {
            let request = ConfigureRequest {
                residencies: vec![policy.clone()],
                budgets: Vec::new(),
                drain: None,
            };
            kept &= worker.client().configure(request).await?.into_inner().kept;
            let is_shown = |view: &View| {
                known.iter().all(|(id, before)| {
                    let generation = view.generation(id);
                    generation == 0 || generation > *before
                })
            };
            app.fleet.shown(&worker, is_shown).await;
            workers.push(worker.id());
        }
    }
    if workers.is_empty() {
        let message = format!("{} is not loaded", model.model_id);
        return Err(Failure::new(Code::NotLoaded, message).with("model_id", model.model_id));
    }
    Ok(Json(ModelPolicy { model_id: model.model_id, workers, kept }))
}

//! `POST /api/models/unload` and `DELETE /api/models/{task}/{model_id}`: releases a model's memory.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Query, Request, State},
};
use proto::{ModelRef, UnloadModelRequest, Unloaded};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{App, answer::ErrorAnswer, body, model::model_ref};
use crate::{
    failure::{Code, Failure},
    fleet::{Fleet, Link, Worker},
    strict, tasks,
};

/// Which model to release.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UnloadRequest {
    /// `org/name[@revision]`; without a revision every one of it.
    #[schema(required = true, value_type = String)]
    model_id: Option<String>,
    /// Only this task; the weights leave with the last one. Absent: the whole model.
    #[serde(default)]
    task: Option<String>,
    /// Cancel what runs on it; otherwise a busy model is an error.
    #[serde(default)]
    force: Option<bool>,
}

/// What came back.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UnloadAnswer {
    unloaded: Vec<UnloadedFrom>,
    /// Of all of them, as measured.
    bytes_freed: u64,
}

/// One release.
#[derive(Debug, Serialize, ToSchema)]
struct UnloadedFrom {
    worker: String,
    #[serde(flatten)]
    unloaded: Unloaded,
}

/// Releases a model, and answers when its memory is back
#[utoipa::path(post, path = "/api/models/unload", tag = "models", request_body = UnloadRequest,
    responses((status = 200, body = UnloadAnswer), (status = "4XX", body = ErrorAnswer), (status = "5XX", body = ErrorAnswer)))]
pub(super) async fn unload(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Json<UnloadAnswer>, Failure> {
    let body = body::json(request, &app).await?;
    let wanted: UnloadRequest = strict::read("", Code::InvalidRequest, Some(body.value))?;
    let model = model_ref(wanted.model_id.as_deref(), "model_id")?;
    let task = match wanted.task.as_deref().filter(|task| !task.is_empty()) {
        Some(task) => tasks::find(task)?.id,
        None => "",
    };
    release(&app, model, task, wanted.force.unwrap_or(false)).await.map(Json)
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Force {
    /// Cancel what runs on it.
    #[serde(default)]
    force: bool,
}

/// Releases one task of a model
#[utoipa::path(delete, path = "/api/models/{task}/{model_id}", tag = "models",
    params(("task" = String, Path), ("model_id" = String, Path, description = "With its slash, encoded or not"), Force),
    responses((status = 200, body = UnloadAnswer), (status = "4XX", body = ErrorAnswer), (status = "5XX", body = ErrorAnswer)))]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    Path(path): Path<String>,
    force: Result<Query<Force>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<UnloadAnswer>, Failure> {
    let Query(force) = force.map_err(|_| Failure::invalid("force", "expected true or false"))?;
    let Some((task, model_id)) = path.split_once('/') else {
        return Err(Failure::invalid("model_id", "expected /api/models/{task}/{model_id}"));
    };
    let task = tasks::find(task)?.id;
    let model = model_ref(Some(model_id), "model_id")?;
    release(&app, model, task, force.force).await.map(Json)
}

/// On every worker that has it; workers that don't are no error as long as one does.
async fn release(
    app: &App,
    model: ModelRef,
    task: &str,
    force: bool,
) -> Result<UnloadAnswer, Failure> {
    let request = UnloadModelRequest { model: Some(model.clone()), task: task.to_owned(), force };
    let workers = app.fleet.workers();
    let reachable = workers.iter().filter(|worker| worker.view().link == Link::Up);
    let answers = reachable.map(|worker| release_on(&app.fleet, worker, request.clone()));
    let mut answer = UnloadAnswer { unloaded: Vec::new(), bytes_freed: 0 };
    let mut failures = Vec::new();
    for outcome in futures::future::join_all(answers).await {
        match outcome {
            Ok(unloaded) => answer.unloaded.extend(unloaded),
            Err(failure) if failure.code == Code::NotLoaded => {}
            Err(failure) => failures.push(failure),
        }
    }
    if let Some(failure) = failures.into_iter().next() {
        return Err(failure);
    }
    if answer.unloaded.is_empty() {
        let message = format!("{} is not loaded", model.model_id);
        return Err(Failure::new(Code::NotLoaded, message).with("model_id", model.model_id));
    }
    answer.bytes_freed = answer.unloaded.iter().map(|from| from.unloaded.bytes_freed).sum();
    Ok(answer)
}

async fn release_on(
    fleet: &Fleet,
    worker: &Worker,
    request: UnloadModelRequest,
) -> Result<Vec<UnloadedFrom>, Failure> {
    let mut client = worker.client();
    let answer = worker.while_up(client.unload_model(request)).await?.into_inner();
    let gone = answer.unloaded.iter().filter(|unloaded| !unloaded.weights_kept);
    let gone: Vec<_> = gone.map(|unloaded| &unloaded.residency_id).collect();
    fleet.shown(worker, |view| gone.iter().all(|id| view.generation(id) == 0)).await;
    let id = worker.id();
    Ok(answer
        .unloaded
        .into_iter()
        .map(|unloaded| UnloadedFrom { worker: id.clone(), unloaded })
        .collect())
}

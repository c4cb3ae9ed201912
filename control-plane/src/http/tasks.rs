//! `/api/tasks` and `/api/intents`: what this server can do.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    Json,
    extract::{Path, State},
};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{App, answer::ErrorAnswer, openapi::standalone_schema};
use crate::{
    failure::Failure,
    fleet::Fleet,
    tasks::{self, INTENTS, TASKS, Task},
};

/// The task table.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TasksAnswer {
    tasks: Vec<TaskRow>,
}

/// One task.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TaskRow {
    id: &'static str,
    /// Other names under which requests may ask for it.
    aliases: Vec<&'static str>,
    summary: &'static str,
    /// What it takes.
    takes: Vec<&'static str>,
    /// What it makes.
    makes: Vec<&'static str>,
    /// Kinds of stream events beside those that every task has.
    streams: Vec<&'static str>,
    /// Inputs that must be there; each entry lists alternatives.
    required: Vec<Vec<&'static str>>,
    /// True when a connected worker runs it.
    supported: bool,
    /// `model_type`s that it runs on.
    architectures: BTreeSet<String>,
    /// Inputs and options, ready to be sent with a model id.
    #[schema(value_type = Object)]
    example: Value,
    /// JSON schema of `inputs`.
    #[schema(value_type = Object)]
    inputs_schema: Value,
    /// JSON schema of `options`.
    #[schema(value_type = Object)]
    options_schema: Value,
    /// JSON schema of `task_output`.
    #[schema(value_type = Object)]
    output_schema: Value,
}

impl TaskRow {
    fn of(task: &'static Task, fleet: &Fleet) -> Self {
        let architectures = architectures(task.id, fleet);
        Self {
            id: task.id,
            aliases: task.aliases.to_vec(),
            summary: task.summary,
            takes: task.takes.to_vec(),
            makes: task.makes.to_vec(),
            streams: task.streams.to_vec(),
            required: task.required.iter().map(|alternatives| alternatives.to_vec()).collect(),
            supported: !architectures.is_empty(),
            architectures,
            example: task.example(),
            inputs_schema: standalone_schema(&task.schemas.inputs),
            options_schema: standalone_schema(&task.schemas.options),
            output_schema: standalone_schema(&task.schemas.output),
        }
    }
}

/// `model_type`s on which any connected worker runs the task.
fn architectures(task: &str, fleet: &Fleet) -> BTreeSet<String> {
    let mut architectures = BTreeSet::new();
    for worker in fleet.workers() {
        let view = worker.view();
        let supports = view
            .status
            .iter()
            .flat_map(|status| &status.tasks)
            .filter(|support| support.task == task);
        architectures.extend(supports.flat_map(|support| support.architectures.iter().cloned()));
    }
    architectures
}

/// The task table with schemas and examples
#[utoipa::path(operation_id = "list_tasks", get, path = "/api/tasks", tag = "tasks", responses((status = 200, body = TasksAnswer)))]
pub(super) async fn list(State(app): State<Arc<App>>) -> Json<TasksAnswer> {
    Json(TasksAnswer { tasks: TASKS.iter().map(|task| TaskRow::of(task, &app.fleet)).collect() })
}

/// One task, by its id or an alias
#[utoipa::path(operation_id = "describe_task", get, path = "/api/tasks/{task}", tag = "tasks", params(("task" = String, Path)),
    responses((status = 200, body = TaskRow), (status = "4XX", body = ErrorAnswer), (status = 501, body = ErrorAnswer)))]
pub(super) async fn one(
    State(app): State<Arc<App>>,
    Path(task): Path<String>,
) -> Result<Json<TaskRow>, Failure> {
    Ok(Json(TaskRow::of(tasks::find(&task)?, &app.fleet)))
}

/// What users want to do.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct IntentsAnswer {
    intents: Vec<IntentRow>,
}

/// One goal and the tasks that reach it.
#[derive(Debug, Serialize, ToSchema)]
struct IntentRow {
    id: &'static str,
    title: &'static str,
    /// `text`, `image`, `audio`, `video`, `3d` or `data`.
    modality: &'static str,
    tasks: Vec<IntentTask>,
}

/// A task that reaches a goal.
#[derive(Debug, Serialize, ToSchema)]
struct IntentTask {
    id: &'static str,
    /// True when a connected worker runs it.
    supported: bool,
}

/// Goals of users and the tasks that reach them
#[utoipa::path(get, path = "/api/intents", tag = "tasks", responses((status = 200, body = IntentsAnswer)))]
pub(super) async fn intents(State(app): State<Arc<App>>) -> Json<IntentsAnswer> {
    let task =
        |id: &'static str| IntentTask { id, supported: !architectures(id, &app.fleet).is_empty() };
    let rows = INTENTS.iter().map(|intent| IntentRow {
        id: intent.id,
        title: intent.title,
        modality: intent.modality,
        tasks: intent.tasks.iter().map(|id| task(id)).collect(),
    });
    Json(IntentsAnswer { intents: rows.collect() })
}

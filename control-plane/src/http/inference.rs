//! `POST /api/inference`: one JSON prediction of any task.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Request, State},
    http::HeaderMap,
};
use proto::{InferResult, ResultMetadata, http::TaskOutput};
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::{
    App,
    answer::ErrorAnswer,
    body::{self, JsonBody},
    edge::RequestId,
    envelope::{Echo, Envelope},
    form::InferenceForm,
    openapi::InferenceRequest,
};
use crate::{
    failure::{Code, Failure},
    fleet::{Job, Run},
    metrics::Tally,
    tasks::{self, Sent},
};

/// Seeds below stay exact in JavaScript.
const SEEDS: u64 = 1 << 53;

/// A prediction.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct InferenceAnswer {
    result: TaskResult,
    /// Milliseconds from the request's arrival to the answer.
    runtime_ms: f64,
    /// The model that answered.
    model_id: String,
    /// What the catalogue knows about the model; null when it knows nothing.
    #[schema(value_type = Option<Object>)]
    model_meta: Option<Value>,
    /// Always null; failures have another shape.
    #[schema(value_type = Option<Object>)]
    error: Option<Value>,
}

/// What the task made, and how.
#[derive(Debug, Serialize, ToSchema)]
struct TaskResult {
    task: String,
    task_output: TaskOutput,
    metadata: ResultMetadata,
    echo: Echo,
    info: Info,
}

/// What helps to find the request again.
#[derive(Debug, Serialize, ToSchema)]
struct Info {
    request_id: String,
}

/// A request that is ready to run, and what its answer needs.
pub(super) struct Prepared {
    pub(super) run: Run,
    pub(super) context: Context,
}

/// What an answer carries beside the worker's result.
pub(super) struct Context {
    pub(super) tally: Tally,
    echo: Echo,
    request_id: String,
}

impl Context {
    /// The answer; the worker's output is there, as the run has checked.
    pub(super) fn answer(&self, result: InferResult) -> Result<InferenceAnswer, Failure> {
        let (Some(output), Some(metadata)) = (result.output, result.metadata) else {
            return Err(Failure::new(
                Code::InferenceFailed,
                "the worker sent an incomplete result",
            ));
        };
        Ok(InferenceAnswer {
            runtime_ms: self.tally.runtime_ms(),
            model_id: metadata.resolved_model_id.clone(),
            model_meta: None,
            error: None,
            result: TaskResult {
                task: metadata.task.clone(),
                task_output: output.into(),
                metadata,
                echo: self.echo.clone(),
                info: Info { request_id: self.request_id.clone() },
            },
        })
    }
}

/// One prediction of any task
///
/// The answer comes when the result is there; a model that isn't loaded is loaded first.
/// As `multipart/form-data` the part `spec` is the JSON, and files take the place of base64.
#[utoipa::path(post, path = "/api/inference", tag = "inference",
    request_body(content((InferenceRequest = "application/json"), (InferenceForm = "multipart/form-data"))),
    responses((status = 200, body = InferenceAnswer), (status = "4XX", body = ErrorAnswer), (status = "5XX", body = ErrorAnswer)))]
pub(super) async fn infer(
    State(app): State<Arc<App>>,
    Extension(id): Extension<RequestId>,
    headers: HeaderMap,
    request: Request,
) -> Result<Json<InferenceAnswer>, Failure> {
    let mut tally = Tally::start();
    let prepared = async {
        body::accepts(&headers, "application/json")?;
        let body = body::prediction(request, &app).await?;
        prepare(&app, id.0, body, &mut tally).await
    };
    let (job, echo) = match prepared.await {
        Ok(prepared) => prepared,
        Err(failure) => return Err(finish(tally, failure)),
    };
    let mut context = Context { tally, echo, request_id: job.request_id.clone() };
    let outcome = Run::new(app.fleet.clone(), job).result(|event| context.tally.see(event)).await;
    match outcome.and_then(|result| context.answer(result)) {
        Ok(answer) => {
            context.tally.finish("ok");
            Ok(Json(answer))
        }
        Err(failure) => Err(finish(context.tally, failure)),
    }
}

pub(super) fn finish(tally: Tally, failure: Failure) -> Failure {
    tally.finish(failure.code.name());
    failure
}

/// Reads and checks the request, and sets it up to run.
pub(super) async fn start(
    app: &App,
    request_id: String,
    body: JsonBody,
    mut tally: Tally,
) -> Result<Prepared, Failure> {
    match prepare(app, request_id.clone(), body, &mut tally).await {
        Ok((job, echo)) => {
            let run = Run::new(app.fleet.clone(), job);
            Ok(Prepared { run, context: Context { tally, echo, request_id } })
        }
        Err(failure) => Err(finish(tally, failure)),
    }
}

async fn prepare(
    app: &App,
    request_id: String,
    body: JsonBody,
    tally: &mut Tally,
) -> Result<(Job, Echo), Failure> {
    let arrived = Instant::now();
    let envelope = Envelope::read(body.value)?;
    let Envelope { model, task, inputs, options, run, echo } = envelope;
    let timeout = run.timeout.unwrap_or(app.config.deadline);
    if timeout > app.config.max_deadline {
        let longest = humantime::format_duration(app.config.max_deadline);
        return Err(Failure::invalid("run.timeout", format!("may be {longest} at most")));
    }
    let deadline = arrived + timeout;
    let task = match task {
        Some(task) => tasks::find(&task)?,
        None => tasks::find(&app.fleet.infer_task(&model, deadline).await?)?,
    };
    tally.task(task.id);
    tasks::check_text_sizes(inputs.as_ref())?;
    let sent = Sent { json: inputs, files: body.files };
    let input = if body.is_large {
        // Decoding megabytes of base64 is not for the async threads.
        let read = task.read;
        match tokio::task::spawn_blocking(move || read(sent, options)).await {
            Ok(input) => input?,
            Err(_) => return Err(Failure::invalid("inputs", "cannot be read")),
        }
    } else {
        (task.read)(sent, options)?
    };
    let job = Job {
        request_id,
        model,
        task: task.id,
        seed: tasks::seed(&input).unwrap_or_else(|| rand::random_range(0..SEEDS)),
        input,
        dtype: run.dtype,
        conflict: run.conflict,
        wait: run.wait,
        priority: run.priority,
        keep_alive_ms: run.keep_alive_ms,
        deadline,
        // A load may take longer than anybody would wait for an answer; it is over when it stalls.
        load_patience: run.timeout.is_none().then_some(app.config.deadline),
        longest: arrived + app.config.max_deadline,
    };
    Ok((job, echo))
}

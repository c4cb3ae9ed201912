//! `/api/workers`: workers, their devices and memory; budgets and drain.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, Query, Request, State, rejection::QueryRejection},
};
use proto::{ConfigureRequest, Device, DeviceBudget, RequestLimits, TaskSupport};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;

use super::{
    App,
    answer::ErrorAnswer,
    body,
    quantities::{Size, Span},
};
use crate::{
    failure::{Code, Failure},
    fleet::{ProcessRecord, Worker},
    strict,
};

/// How long a drain is waited for unless the request says otherwise.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(60);

/// All workers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WorkersAnswer {
    workers: Vec<WorkerRow>,
}

/// One worker.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct WorkerRow {
    id: String,
    /// `connecting`, `up`, `suspect` (silent) or `lost`.
    link: &'static str,
    /// Differs at every start.
    incarnation: String,
    version: String,
    contract_version: u32,
    pid: u32,
    /// False after a fault that only a restart mends.
    healthy: bool,
    /// It admits nothing new.
    draining: bool,
    /// Why: `asked`, `shutdown` or `baseline_growth`, when it has grown too much and is about to start anew.
    drain_reason: String,
    uptime_s: f64,
    devices: Vec<Device>,
    /// What it can run.
    tasks: Vec<TaskSupport>,
    /// What one request may cost there; null where the worker does not say.
    limits: Option<RequestLimits>,
    /// Requests that execute.
    running: u32,
    /// Requests that wait.
    waiting: u32,
    /// Requests of this control plane that it has.
    in_flight: u32,
    /// Since its start.
    generated_tokens: u64,
    /// Texts since its start that went on from what was kept of earlier ones.
    prefix_hits: u64,
    /// Tokens of prompts that were not read for that reason.
    prefix_tokens: u64,
    /// Requests cancelled since its start.
    cancelled: u64,
    /// Steps that ended after the client of a request in them had left, since its start.
    steps_after_disconnect: u64,
    /// The most of any one request; 1 is the step that was under way.
    steps_after_disconnect_max: u64,
    /// It has left the name that it was found by, and ends what it has.
    retired: bool,
    /// Its process; null when it isn't started by this control plane.
    process: Option<ProcessRow>,
}

/// The process of a worker that is started here.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct ProcessRow {
    /// `running`, `restarting` (it ended and is started again after a moment) or `given_up` (it ended too often).
    state: &'static str,
    /// Starts after the first.
    restarts: u64,
    /// Seconds until it is started by itself; null while it runs.
    next_start_in_s: Option<f64>,
    /// How it ended last; null when it never did.
    last_end: Option<String>,
}

impl From<ProcessRecord> for ProcessRow {
    fn from(record: ProcessRecord) -> Self {
        let left = |at: Instant| at.saturating_duration_since(Instant::now()).as_secs_f64();
        Self {
            state: record.state.name(),
            restarts: record.restarts,
            next_start_in_s: record.state.next_start().map(left),
            last_end: record.last_end,
        }
    }
}

impl WorkerRow {
    pub(super) fn of(worker: &Worker) -> Self {
        let id = worker.id();
        let view = worker.view();
        let status = view.status.clone().unwrap_or_default();
        let gauges = view.gauges.clone().unwrap_or_default();
        Self {
            id,
            link: view.link.name(),
            incarnation: status.incarnation,
            version: status.version,
            contract_version: status.contract_version,
            pid: status.pid,
            healthy: status.healthy,
            draining: status.draining,
            drain_reason: gauges.drain_reason,
            uptime_s: status.uptime_ms as f64 / 1e3,
            devices: status.devices,
            tasks: status.tasks,
            limits: status.limits,
            running: gauges.running,
            waiting: gauges.waiting,
            in_flight: worker.in_flight(),
            generated_tokens: gauges.generated_tokens,
            prefix_hits: gauges.prefix_hits,
            prefix_tokens: gauges.prefix_tokens,
            cancelled: gauges.cancelled,
            steps_after_disconnect: gauges.steps_after_disconnect,
            steps_after_disconnect_max: gauges.steps_after_disconnect_max,
            retired: worker.is_retired(),
            process: worker.supervision().map(|process| process.record().into()),
        }
    }
}

/// Workers, their devices and their memory
#[utoipa::path(operation_id = "list_workers", get, path = "/api/workers", tag = "workers", responses((status = 200, body = WorkersAnswer)))]
pub(super) async fn list(State(app): State<Arc<App>>) -> Json<WorkersAnswer> {
    let workers = app.fleet.workers().iter().map(|worker| WorkerRow::of(worker)).collect();
    Json(WorkersAnswer { workers })
}

/// A change of a worker's policy; absent fields stay as they are.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WorkerPatch {
    /// Memory for models by device, as `12GB` or `80%`.
    #[serde(default)]
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    budgets: Option<BTreeMap<String, Size>>,
    /// True: admit nothing new. False: admit again.
    #[serde(default)]
    drain: Option<bool>,
}

/// The worker's policy after the change.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WorkerPolicy {
    id: String,
    budgets: Vec<DeviceBudget>,
    draining: bool,
    /// False: the budget could not be written down, and ends with the worker.
    kept: bool,
}

/// Changes budgets, drains
#[utoipa::path(operation_id = "configure_worker", patch, path = "/api/workers/{id}", tag = "workers", request_body = WorkerPatch,
    params(("id" = String, Path)),
    responses((status = 200, body = WorkerPolicy), (status = "4XX", body = ErrorAnswer), (status = "5XX", body = ErrorAnswer)))]
pub(super) async fn patch(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<WorkerPolicy>, Failure> {
    let body = body::json(request, &app).await?;
    let change: WorkerPatch = strict::read("", Code::InvalidRequest, Some(body.value))?;
    let worker = find(&app, &id)?;
    let budgets = budgets(&worker, change.budgets.unwrap_or_default())?;
    let request = ConfigureRequest { residencies: Vec::new(), budgets, drain: change.drain };
    let mut client = worker.client();
    let answer = worker.while_up(client.configure(request)).await?.into_inner();
    for budget in &answer.budgets {
        worker.view().set_budget(&budget.device, budget.bytes);
    }
    worker.view().set_draining(answer.draining);
    Ok(Json(WorkerPolicy {
        id,
        budgets: answer.budgets,
        draining: answer.draining,
        kept: answer.kept,
    }))
}

fn find(app: &App, id: &str) -> Result<Arc<Worker>, Failure> {
    app.fleet.worker(id).ok_or_else(|| {
        Failure::new(Code::NotFound, format!("there is no worker {id:?}")).with("field", "id")
    })
}

/// How long to wait.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DrainQuery {
    #[serde(default)]
    timeout: Option<Span>,
}

/// A drain, as far as it got.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DrainAnswer {
    id: String,
    draining: bool,
    /// Nothing runs or waits there any more: it may be stopped.
    empty: bool,
    /// Requests that still execute there.
    running: u32,
    /// Requests of this control plane that it still has.
    in_flight: u32,
}

/// Drains a worker
///
/// It gets no new work, what waits there runs elsewhere, and what runs there ends. Answers when it is empty or the time is
/// over; `PATCH` with `"drain": false` ends the drain.
#[utoipa::path(operation_id = "drain_worker", post, path = "/api/workers/{id}/drain", tag = "workers",
    params(("id" = String, Path), ("timeout" = Option<String>, Query, description = "How long to wait, such as `5m` (default 60s)")),
    responses((status = 200, body = DrainAnswer), (status = "4XX", body = ErrorAnswer), (status = "5XX", body = ErrorAnswer)))]
pub(super) async fn drain(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    query: Result<Query<DrainQuery>, QueryRejection>,
) -> Result<Json<DrainAnswer>, Failure> {
    let Query(query) = query.map_err(|error| Failure::invalid("timeout", error.body_text()))?;
    let worker = find(&app, &id)?;
    let patience = query.timeout.map_or(DRAIN_TIMEOUT, |timeout| timeout.0);
    let until = Instant::now() + patience.min(app.config.max_deadline);
    let drained = app.fleet.drain(&worker, until).await?;
    let draining = worker.view().status.as_ref().is_some_and(|status| status.draining);
    Ok(Json(DrainAnswer {
        id,
        draining,
        empty: drained.is_empty,
        running: drained.running,
        in_flight: drained.in_flight,
    }))
}

/// Restarts a worker that is started here
///
/// One that runs is asked to end within its grace and started again; one that was given up is tried again at once.
#[utoipa::path(operation_id = "restart_worker", post, path = "/api/workers/{id}/restart", tag = "workers",
    params(("id" = String, Path)),
    responses((status = 200, body = ProcessRow), (status = "4XX", body = ErrorAnswer)))]
pub(super) async fn restart(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<ProcessRow>, Failure> {
    let worker = find(&app, &id)?;
    let process = worker.supervision().ok_or_else(|| {
        Failure::invalid(
            "id",
            "the worker is not started by this control plane, which cannot restart it",
        )
    })?;
    process.restart();
    Ok(Json(process.record().into()))
}

fn budgets(worker: &Worker, wanted: BTreeMap<String, Size>) -> Result<Vec<DeviceBudget>, Failure> {
    let view = worker.view();
    let devices = view.status.as_ref().map(|status| status.devices.as_slice()).unwrap_or_default();
    let budget = |(name, size): (String, Size)| {
        let device = devices.iter().find(|device| device.name == name).ok_or_else(|| {
            let known: Vec<&str> = devices.iter().map(|device| device.name.as_str()).collect();
            Failure::invalid(format!("budgets.{name}"), "the worker has no such device")
                .with("known", known)
        })?;
        Ok(DeviceBudget { bytes: size.of(device.total_bytes), device: name })
    };
    wanted.into_iter().map(budget).collect()
}

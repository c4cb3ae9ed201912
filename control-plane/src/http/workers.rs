//! `/api/workers`: workers, their devices and memory; budgets and drain.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{Path, Request, State},
};
use proto::{ConfigureRequest, Device, DeviceBudget, TaskSupport};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{App, answer::ErrorAnswer, body, quantities::Size};
use crate::{
    failure::{Code, Failure},
    fleet::Worker,
    strict,
};

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
    /// Requests that execute.
    running: u32,
    /// Requests that wait.
    waiting: u32,
    /// Requests of this control plane that it has.
    in_flight: u32,
    /// Since its start.
    generated_tokens: u64,
    /// Requests cancelled since its start.
    cancelled: u64,
    /// Steps that ended after the client of a request in them had left, since its start.
    steps_after_disconnect: u64,
    /// The most of any one request; 1 is the step that was under way.
    steps_after_disconnect_max: u64,
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
            running: gauges.running,
            waiting: gauges.waiting,
            in_flight: worker.in_flight(),
            generated_tokens: gauges.generated_tokens,
            cancelled: gauges.cancelled,
            steps_after_disconnect: gauges.steps_after_disconnect,
            steps_after_disconnect_max: gauges.steps_after_disconnect_max,
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
    let worker = app.fleet.worker(&id).ok_or_else(|| {
        Failure::new(Code::NotFound, format!("there is no worker {id:?}")).with("field", "id")
    })?;
    let budgets = budgets(worker, change.budgets.unwrap_or_default())?;
    let request = ConfigureRequest { residencies: Vec::new(), budgets, drain: change.drain };
    let answer = worker.client().configure(request).await?.into_inner();
    for budget in &answer.budgets {
        worker.view().set_budget(&budget.device, budget.bytes);
    }
    Ok(Json(WorkerPolicy {
        id,
        budgets: answer.budgets,
        draining: answer.draining,
        kept: answer.kept,
    }))
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

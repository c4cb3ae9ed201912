//! `POST /api/placement/explain`: what would happen, without doing it.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
};
use proto::{ModelPlan, OnConflict, Regret};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;

use super::{
    App,
    answer::{ErrorAnswer, ErrorBody},
    body,
    envelope::{conflict, dtype},
    model::model_ref,
};
use crate::{
    failure::{Code, Failure},
    fleet,
    placement::{self, Cost, Decision, Standing, Terms, Wish},
    strict, tasks,
};

/// Which model would be placed.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExplainRequest {
    /// `org/name[@revision]`
    #[schema(required = true, value_type = String)]
    model_id: Option<String>,
    /// Absent: told from the repository.
    #[serde(default)]
    task: Option<String>,
    /// `float32`, `float16` or `bfloat16`; absent: the worker's rule.
    #[serde(default)]
    dtype: Option<String>,
    /// What to do when there is no room (default evict).
    #[serde(default)]
    on_conflict: Option<OnConflict>,
}

/// What would happen, and the figures behind it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ExplainAnswer {
    /// `use`, `load`, `wait` or `refuse`.
    decision: &'static str,
    /// Where, for `use` and `load`.
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<String>,
    /// Who would leave, for `load`.
    evict: Vec<EvictedRow>,
    /// Why not, for `wait` and `refuse`.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<ErrorBody>,
    /// One per worker that takes work.
    estimates: Vec<Estimate>,
}

/// A model that would leave.
#[derive(Debug, Serialize, ToSchema)]
struct EvictedRow {
    model_id: String,
    residency_id: String,
    bytes: u64,
    /// What losing it is expected to cost.
    regret: Regret,
}

/// What the model costs on one worker.
#[derive(Debug, Serialize, ToSchema)]
struct Estimate {
    worker: String,
    device: String,
    runnable: bool,
    /// Why it isn't runnable.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<ErrorBody>,
    dtype: String,
    /// Weights and working memory.
    needed_bytes: u64,
    weight_bytes: u64,
    working_bytes: u64,
    download_bytes: u64,
    /// For models on that device.
    budget_bytes: u64,
    /// Of the budget: free now.
    free_bytes: u64,
    /// Who is on that device, and what losing each would cost.
    candidates: Vec<CandidateRow>,
}

/// A model that takes room on the device.
#[derive(Debug, Serialize, ToSchema)]
struct CandidateRow {
    model_id: String,
    residency_id: String,
    bytes: u64,
    /// `idle`: it may leave. Else why not now: `busy`, `pinned`, `young`, `its turn`, `loading`, `leaving`.
    state: &'static str,
    /// What losing it is expected to cost, least regretted first.
    regret: Regret,
}

/// Would it fit, where, and evicting whom
#[utoipa::path(post, path = "/api/placement/explain", tag = "models", request_body = ExplainRequest,
    responses((status = 200, body = ExplainAnswer), (status = "4XX", body = ErrorAnswer), (status = "5XX", body = ErrorAnswer)))]
pub(super) async fn explain(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Json<ExplainAnswer>, Failure> {
    let body = body::json(request, &app).await?;
    let wanted: ExplainRequest = strict::read("", Code::InvalidRequest, Some(body.value))?;
    let model = model_ref(wanted.model_id.as_deref(), "model_id")?;
    let task = match wanted.task.as_deref().filter(|task| !task.is_empty()) {
        Some(task) => tasks::find(task)?.id,
        None => "",
    };
    let dtype = dtype(wanted.dtype, "dtype")?;
    app.fleet.await_worker(Instant::now() + app.config.deadline).await?;
    let plans = app.fleet.plans(&model, task, &dtype).await?;

    let (state, now) = app.fleet.placement();
    let revision = plans.first().map(|(_, plan)| plan.revision.clone());
    let wish = Wish {
        waited_s: 0.0,
        model_id: model.model_id,
        revision: revision.filter(|revision| !revision.is_empty()),
        dtype: Some(dtype).filter(|dtype| !dtype.is_empty()),
        kind: plans.first().map(|(_, plan)| plan.kind.clone()).filter(|kind| !kind.is_empty()),
        waiting: 1,
    };
    let runnable = plans.iter().filter(|(_, plan)| plan.unsupported.is_none());
    let costs: Vec<Cost> = runnable.map(|(worker, plan)| fleet::cost(*worker, plan)).collect();
    let policy = app.fleet.policy();
    let decision =
        placement::decide(&state, &wish, &costs, conflict(wanted.on_conflict), policy, now);
    let looking = Looking { app: &app, state: &state, wish: &wish, now };
    let estimates = plans.iter().map(|(worker, plan)| looking.estimate(*worker, plan)).collect();
    Ok(Json(answer(&app, decision, estimates)))
}

fn answer(app: &App, decision: Decision, estimates: Vec<Estimate>) -> ExplainAnswer {
    let id = |worker: usize| app.fleet.at(worker).map(|worker| worker.id());
    let (decision, worker, evict, reason) = match decision {
        Decision::Use { worker } => ("use", id(worker), Vec::new(), None),
        Decision::Load { worker, evict } => ("load", id(worker), evict, None),
        Decision::Wait(placement::Waiting::Room(shortage)) => {
            ("wait", None, Vec::new(), Some(fleet::no_room(shortage)))
        }
        Decision::Wait(placement::Waiting::Worker) => {
            ("wait", None, Vec::new(), Some(fleet::no_worker()))
        }
        Decision::Refuse(refusal) => ("refuse", None, Vec::new(), Some(fleet::refused(refusal))),
    };
    let evicted = |victim: placement::Victim| EvictedRow {
        model_id: victim.model_id,
        residency_id: victim.id,
        bytes: victim.bytes,
        regret: fleet::regret(&victim.terms),
    };
    ExplainAnswer {
        decision,
        worker,
        evict: evict.into_iter().map(evicted).collect(),
        reason: reason.as_ref().map(ErrorBody::from),
        estimates,
    }
}

/// What an estimate looks at.
struct Looking<'a> {
    app: &'a App,
    state: &'a placement::Fleet,
    wish: &'a Wish,
    now: u64,
}

impl Looking<'_> {
    fn estimate(&self, index: usize, plan: &ModelPlan) -> Estimate {
        let worker = self.state.workers.iter().find(|known| known.index == index);
        let devices = worker.map(|worker| worker.devices.as_slice()).unwrap_or_default();
        let device = devices.iter().find(|device| device.name == plan.device);
        let reason =
            plan.unsupported.as_ref().map(|detail| ErrorBody::from(&Failure::from(detail)));
        let mut candidates: Vec<CandidateRow> = worker
            .into_iter()
            .flat_map(|worker| &worker.residencies)
            .filter(|residency| residency.device == plan.device)
            .filter_map(|residency| self.candidate(residency))
            .collect();
        candidates.sort_by(|a, b| a.regret.regret_s.total_cmp(&b.regret.regret_s));
        Estimate {
            worker: self.app.fleet.at(index).map(|worker| worker.id()).unwrap_or_default(),
            device: plan.device.clone(),
            runnable: reason.is_none(),
            reason,
            dtype: plan.dtype.clone(),
            needed_bytes: plan.weight_bytes.saturating_add(plan.working_bytes),
            weight_bytes: plan.weight_bytes,
            working_bytes: plan.working_bytes,
            download_bytes: plan.download_bytes,
            budget_bytes: device.map_or(0, |device| device.budget),
            free_bytes: device.map_or(0, |device| device.budget.saturating_sub(device.taken)),
            candidates,
        }
    }

    fn candidate(&self, residency: &placement::Residency) -> Option<CandidateRow> {
        let policy = self.app.fleet.policy();
        let standing = placement::standing(residency, self.wish, policy, self.now);
        (standing != Standing::Absent).then(|| CandidateRow {
            model_id: residency.model_id.clone(),
            residency_id: residency.id.clone(),
            bytes: residency.bytes,
            state: standing.name(),
            regret: fleet::regret(&Terms::of(residency, policy, self.now)),
        })
    }
}

//! Finds the worker for one request: decides, waits for room, and decides again after a refusal or a loss.

use std::{sync::Arc, time::Duration};

use proto::{ModelPlan, ModelRef, QueuedEvent, Regret, Victim};
use serde_json::json;
use tokio::time::{Instant, timeout, timeout_at};
use tonic::{Code as GrpcCode, Status};

use super::{
    Change, Fleet, Link, Worker,
    claims::{Claim, Claimed},
    deadline_exceeded, no_worker,
    seats::Seat,
};
use crate::{
    failure::{Code, Failure, detail_of, is_loss},
    placement::{self, Conflict, Cost, Decision, Refusal, Shortage, Waiting, Wish},
};

/// How often a worker may reject the victims before the request gives up.
const MOST_REJECTIONS: u32 = 3;
/// How often a worker may be lost before execution began.
const MOST_LOSSES: u32 = 1;
/// How often a worker that drains may hand the request back.
const MOST_HANDED_BACK: u32 = 8;
/// Looks at the fleet at least this often while it waits.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What a request wants of the fleet.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) model: ModelRef,
    pub(super) task: String,
    pub(super) dtype: String,
    pub(super) conflict: Conflict,
    pub(super) wait: bool,
    pub(super) deadline: Instant,
}

/// Where to go, or what is waited for.
pub(super) enum Choice {
    Go { worker: Arc<Worker>, victims: Vec<Victim> },
    Waiting(QueuedEvent),
}

pub(super) struct Chooser {
    fleet: Arc<Fleet>,
    terms: Terms,
    /// The commit, once a plan has told it.
    revision: Option<String>,
    /// The kind of model that the task runs on, once it is known.
    kind: Option<String>,
    rejections: u32,
    losses: u32,
    handed_back: u32,
    /// Its numbers may be told again; what it is waited for, only when that changes.
    told: Option<&'static str>,
    /// The worker said that there is no room: wait for a change before the next try.
    crowded: bool,
    /// What looked like the model was another revision of it: only the exact commit counts now.
    exact: bool,
    worker_by: Option<Instant>,
    /// Since when there has been no room.
    short_since: Option<Instant>,
    seat: Option<Seat>,
    /// Why there was no room when it was decided last.
    shortage: Shortage,
    /// While this request's load is not over.
    claim: Option<Claim>,
}

impl Chooser {
    pub(super) fn new(fleet: Arc<Fleet>, terms: Terms) -> Self {
        Self {
            kind: fleet.kind_of(&terms.task),
            fleet,
            terms,
            revision: None,
            rejections: 0,
            losses: 0,
            handed_back: 0,
            told: None,
            crowded: false,
            exact: false,
            worker_by: None,
            short_since: None,
            seat: None,
            shortage: Shortage::default(),
            claim: None,
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.terms.deadline
    }

    /// Never to an earlier time.
    pub(super) fn extend(&mut self, deadline: Instant) {
        self.terms.deadline = self.terms.deadline.max(deadline);
    }

    /// From 1.
    pub(super) fn attempt(&self) -> u32 {
        1 + self.rejections + self.losses + self.handed_back
    }

    /// Where to go next. What it waits for is told once, before the waiting begins.
    pub(super) async fn choose(&mut self) -> Result<Choice, Failure> {
        let deadline = self.terms.deadline;
        timeout_at(deadline, self.choose_in_time())
            .await
            .unwrap_or_else(|_| Err(deadline_exceeded()))
    }

    async fn choose_in_time(&mut self) -> Result<Choice, Failure> {
        loop {
            let mut versions = self.fleet.version.subscribe();
            let decision = if self.crowded {
                Decision::Wait(Waiting::Room(self.shortage.clone()))
            } else {
                self.decide().await?
            };
            let waiting = match decision {
                Decision::Use { worker } => match self.go(worker, Vec::new()) {
                    Some(choice) => return Ok(choice),
                    None => continue,
                },
                Decision::Load { worker, evict } => {
                    let choice = match self.claim(worker) {
                        Some(other) => self.go(other, Vec::new()),
                        None => self.go(worker, evict),
                    };
                    match choice {
                        Some(choice) => return Ok(choice),
                        None => continue,
                    }
                }
                Decision::Refuse(refusal) => return Err(refused(refusal)),
                Decision::Wait(waiting) => waiting,
            };
            let look_again = LOOK_AGAIN.min(soon(&waiting));
            if let Some(event) = self.begin_to_wait(waiting)? {
                return Ok(Choice::Waiting(event));
            }
            let jitter = look_again.mul_f64(rand::random_range(0.5..1.0));
            // Either way it is time to look again.
            let _ = timeout(jitter, versions.changed()).await;
            self.crowded = false;
        }
    }

    /// The worker on which another request has just begun to load the model; else it is ours to load.
    fn claim(&mut self, worker: usize) -> Option<usize> {
        let model = &self.terms.model;
        let key = (
            model.model_id.clone(),
            model.revision.clone(),
            self.terms.dtype.clone(),
            self.kind.clone().unwrap_or_default(),
        );
        let grace = self.fleet.settings.lost_after;
        let is_up = |index| {
            let worker = self.fleet.at(index);
            worker.is_some_and(|worker| worker.link(grace) == placement::Link::Up)
        };
        // Our own of an earlier try must not be followed.
        self.claim = None;
        match self.fleet.claims.claim(key, worker, is_up) {
            Claimed::By(other) => Some(other),
            Claimed::Ours(claim) => {
                self.claim = Some(claim);
                None
            }
        }
    }

    /// `None` when the worker has left the fleet meanwhile.
    fn go(&mut self, index: usize, evict: Vec<placement::Victim>) -> Option<Choice> {
        let worker = self.fleet.at(index)?;
        self.seat = None;
        let grace_ms = (self.fleet.settings.policy.drain_grace_s * 1e3) as u64;
        let victims = evict
            .into_iter()
            .map(|victim| Victim {
                residency_id: victim.id,
                generation: victim.generation,
                regret: Some(regret(&victim.terms)),
                drain_ms: victim.drains.then_some(grace_ms),
            })
            .collect();
        Some(Choice::Go { worker, victims })
    }

    /// The event to tell when this reason is new.
    fn begin_to_wait(&mut self, waiting: Waiting) -> Result<Option<QueuedEvent>, Failure> {
        let (failure, name) = match waiting {
            Waiting::Room(shortage) => {
                self.shortage.clone_from(&shortage);
                self.short_since.get_or_insert_with(Instant::now);
                (no_room(shortage), "no_room")
            }
            Waiting::Worker => (no_worker(), "no_worker"),
        };
        if !self.terms.wait || (name == "no_room" && self.terms.conflict == Conflict::Refuse) {
            return Err(failure);
        }
        if name == "no_worker" {
            let patience = self.fleet.settings.lost_after;
            let by = *self.worker_by.get_or_insert_with(|| Instant::now() + patience);
            if Instant::now() >= by {
                return Err(failure);
            }
        }
        if self.seat.is_none() {
            self.seat = Some(Seat::take(&self.fleet, &self.terms.model.model_id)?);
        }
        if self.told == Some(name) {
            return Ok(None);
        }
        self.told = Some(name);
        let position = u32::try_from(self.fleet.waiting()).unwrap_or(u32::MAX);
        Ok(Some(QueuedEvent { position, reason: name.to_owned() }))
    }

    async fn decide(&mut self) -> Result<Decision, Failure> {
        let (fleet, now) = self.fleet.placement();
        let policy = &self.fleet.settings.policy.clone();
        let mut wish = self.wish();
        let known = !self.exact || self.revision.is_some();
        if let Some(worker) = placement::resident(&fleet, &wish).filter(|_| known) {
            return Ok(Decision::Use { worker });
        }
        if !fleet.workers.iter().any(|worker| worker.link == placement::Link::Up) {
            return Ok(placement::decide(&fleet, &wish, &[], self.terms.conflict, policy, now));
        }
        let Terms { model, task, dtype, .. } = &self.terms;
        let plans = match self.fleet.plans(model, task, dtype).await {
            Ok(plans) => plans,
            // The worker went away under the question: the watch notices it in a moment.
            Err(failure) if failure.code == Code::WorkerLost && self.losses < MOST_LOSSES => {
                self.losses += 1;
                return Ok(Decision::Wait(Waiting::Worker));
            }
            Err(failure) => return Err(failure),
        };
        if let Some((_, plan)) = plans.first() {
            self.revision = Some(plan.revision.clone()).filter(|revision| !revision.is_empty());
            self.kind = Some(plan.kind.clone()).filter(|kind| !kind.is_empty());
            wish = self.wish();
        }
        let runnable = plans.iter().filter(|(_, plan)| plan.unsupported.is_none());
        let costs: Vec<Cost> = runnable.map(|(worker, plan)| cost(*worker, plan)).collect();
        match plans.iter().find_map(|(_, plan)| plan.unsupported.as_ref()) {
            Some(detail) if costs.is_empty() => Err(Failure::from(detail)),
            _ => Ok(placement::decide(&fleet, &wish, &costs, self.terms.conflict, policy, now)),
        }
    }

    fn wish(&self) -> Wish {
        Wish {
            model_id: self.terms.model.model_id.clone(),
            revision: self.revision.clone(),
            dtype: Some(self.terms.dtype.clone()).filter(|dtype| !dtype.is_empty()),
            kind: self.kind.clone(),
            waiting: self.fleet.wanted.of(&self.terms.model.model_id),
            waited_s: self.short_since.map_or(0.0, |since| since.elapsed().as_secs_f64()),
        }
    }

    /// After a failure before execution: whether to choose again. The error is final.
    pub(super) async fn again(&mut self, worker: &Worker, status: &Status) -> Result<(), Failure> {
        self.claim = None;
        let code = detail_of(status).map(|detail| detail.code).unwrap_or_default();
        // `loading` is said by a worker that is just releasing the model.
        let waits_for_room = (code == Code::NoRoom.name()
            && self.terms.conflict != Conflict::Refuse)
            || code == Code::Loading.name();
        if waits_for_room && self.terms.wait {
            self.crowded = true;
            self.exact = true;
            return Ok(());
        }
        if status.code() == GrpcCode::Aborted && self.rejections < MOST_REJECTIONS {
            self.rejections += 1;
            let back_off = Duration::from_millis(20 << self.rejections);
            tokio::time::sleep(back_off.mul_f64(rand::random_range(0.5..1.5))).await;
            return Ok(());
        }
        if status.code() == GrpcCode::Aborted {
            if self.terms.wait && self.terms.conflict != Conflict::Refuse {
                // Others are faster all the time: it waits until something has changed.
                self.crowded = true;
                self.rejections = 0;
                return Ok(());
            }
            return Err(no_room(self.shortage.clone()));
        }
        if code == Code::Draining.name() && self.handed_back < MOST_HANDED_BACK {
            self.handed_back += 1;
            worker.view().set_draining(true);
            self.fleet.publish(Change::Gauges { worker: worker.index });
            return Ok(());
        }
        if is_loss(status) && self.losses < MOST_LOSSES {
            self.losses += 1;
            if worker.set_link(Link::Suspect, Instant::now()) {
                self.fleet.publish(Change::Gauges { worker: worker.index });
            }
            return Ok(());
        }
        Err(Failure::from(status))
    }
}

/// What the plan says the model needs on that worker.
pub(crate) fn cost(worker: usize, plan: &ModelPlan) -> Cost {
    Cost {
        worker,
        device: plan.device.clone(),
        bytes: plan.weight_bytes.saturating_add(plan.working_bytes),
    }
}

/// The terms as they travel and as they are shown.
pub(crate) fn regret(terms: &placement::Terms) -> Regret {
    Regret {
        regret_s: terms.regret_s(),
        weight: terms.weight,
        reload_s: terms.reload_s,
        reuse_probability: terms.reuse_probability,
        failure_probability: terms.failure_probability,
        idle_s: terms.idle_s,
        requests_per_second: terms.requests_per_second,
    }
}

/// When what is waited for is expected, with a little time for the news of it to arrive.
fn soon(waiting: &Waiting) -> Duration {
    match waiting {
        Waiting::Room(Shortage { wait_s: Some(wait_s), .. }) => {
            Duration::try_from_secs_f64(*wait_s).unwrap_or(LOOK_AGAIN) + Duration::from_millis(50)
        }
        _ => LOOK_AGAIN,
    }
}

pub(crate) fn no_room(shortage: Shortage) -> Failure {
    let message =
        "there is no room for the model now; what holds it is in use, pinned or needed more";
    let failure = Failure::new(Code::NoRoom, message);
    if shortage.needed == 0 {
        return failure;
    }
    let holders = shortage.holders.into_iter().map(
        |holder| json!({"model_id": holder.model_id, "bytes": holder.bytes, "state": holder.state}),
    );
    failure
        .with("needed_bytes", shortage.needed)
        .with("free_bytes", shortage.free)
        .with("holders", holders.collect::<Vec<_>>())
        .with("would_leave", shortage.would_leave)
}

pub(crate) fn refused(refusal: Refusal) -> Failure {
    match refusal {
        Refusal::NoWorker => no_worker(),
        Refusal::Unsupported => {
            Failure::new(Code::ArchitectureNotSupported, "no connected worker can run this model")
        }
        Refusal::TooLarge { needed, budget } => {
            let message = format!("the model needs {needed} bytes, the largest budget is {budget}");
            Failure::new(Code::TooLarge, message)
                .with("needed_bytes", needed)
                .with("budget_bytes", budget)
        }
        Refusal::NoRoom(shortage) => no_room(shortage),
    }
}

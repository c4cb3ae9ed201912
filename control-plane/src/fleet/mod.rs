//! The workers: what each pushed last, how to reach them, and how a request finds one.

mod blobs;
mod chooser;
mod chunks;
mod claims;
pub mod discover;
mod displaced;
mod drain;
mod load;
mod pace;
mod plans;
mod process;
mod quarantine;
mod restarts;
mod run;
mod scrutiny;
mod seats;
mod shown;
mod spawn;
mod supervision;
mod token;
mod view;
mod watch;
mod worker;

pub(crate) use chooser::{cost, no_room, refused, regret};
pub use drain::Drained;
pub use load::{Load, LoadStep};
pub use restarts::RestartPolicy;
pub use run::{Job, Run};
pub use spawn::{SpawnError, Spawned, Spawner};
pub use supervision::{ProcessRecord, ProcessState, Supervision};
pub use token::WorkerToken;
pub use view::View;
pub use worker::{Link, Worker};

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use proto::{Eviction, ModelPlan, ModelRef, PlanModelRequest};
use tokio::{
    sync::{broadcast, watch as versions},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    failure::{Code, Failure},
    placement,
};

/// Changes that a slow reader of the status stream may lag behind before it gets a new snapshot.
const CHANGES_KEPT: usize = 1024;
/// Whoever waits for a change looks again at least this often.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How the fleet judges silence, and how much may wait.
#[derive(Clone, Debug)]
pub struct Settings {
    pub suspect_after: Duration,
    pub lost_after: Duration,
    pub waiting_limit: usize,
    pub policy: placement::Policy,
    /// How long a request is refused that was being executed when workers were lost.
    pub quarantine: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            suspect_after: Duration::from_secs(2),
            lost_after: Duration::from_secs(15),
            waiting_limit: 256,
            policy: placement::Policy::default(),
            quarantine: Duration::from_secs(600),
        }
    }
}

/// Where a worker is reached.
#[derive(Clone, Debug)]
pub struct Address {
    /// Its name until it says its own.
    pub name: String,
    /// `http://HOST:PORT` or `unix:PATH`.
    pub url: String,
    /// What it asks for on every call.
    pub token: Option<WorkerToken>,
    /// Of a process that is kept running here.
    pub supervision: Option<Arc<Supervision>>,
}

/// Something about a worker changed.
#[derive(Clone, Debug)]
pub enum Change {
    /// Everything of it may be different.
    Worker { worker: usize },
    /// Its figures moved, or its link.
    Gauges { worker: usize },
    /// This residency is new or different.
    Residency { worker: usize, residency_id: String },
    /// This residency is gone.
    ResidencyGone { worker: usize, residency_id: String, model_id: String },
    /// A model was evicted.
    Eviction { worker: usize, eviction: Eviction },
}

/// All workers.
pub struct Fleet {
    workers: RwLock<Vec<Arc<Worker>>>,
    /// Index of the next worker; none is given twice.
    next_index: AtomicUsize,
    quarantine: Mutex<quarantine::Quarantine>,
    pace: Mutex<pace::Pace>,
    claims: claims::Claims,
    plans: plans::Plans,
    changes: broadcast::Sender<Change>,
    version: versions::Sender<u64>,
    waiting: AtomicUsize,
    wanted: seats::Wanted,
    settings: Settings,
    epoch: Instant,
    stop: CancellationToken,
}

impl Fleet {
    /// Starts to watch the workers; returns at once.
    ///
    /// # Errors
    /// When an address is malformed.
    pub fn connect(
        addresses: &[Address],
        settings: Settings,
    ) -> Result<Arc<Self>, tonic::transport::Error> {
        let fleet = Arc::new(Self {
            workers: RwLock::default(),
            next_index: AtomicUsize::new(0),
            quarantine: Mutex::new(quarantine::Quarantine::new(settings.quarantine)),
            pace: Mutex::default(),
            claims: claims::Claims::default(),
            plans: plans::Plans::default(),
            changes: broadcast::channel(CHANGES_KEPT).0,
            version: versions::channel(0).0,
            waiting: AtomicUsize::new(0),
            wanted: seats::Wanted::default(),
            settings,
            epoch: Instant::now(),
            stop: CancellationToken::new(),
        });
        for address in addresses {
            fleet.add(address)?;
        }
        Ok(fleet)
    }

    /// Takes a worker in and starts to watch it; returns at once.
    ///
    /// # Errors
    /// When the address is malformed.
    pub fn add(self: &Arc<Self>, address: &Address) -> Result<(), tonic::transport::Error> {
        let index = self.next_index.fetch_add(1, Ordering::Relaxed);
        let worker = Arc::new(Worker::new(index, address)?);
        if let Some(supervision) = worker.supervision() {
            let fleet = Arc::downgrade(self);
            supervision.on_change(move || {
                if let Some(fleet) = fleet.upgrade() {
                    fleet.publish(Change::Gauges { worker: index });
                }
            });
        }
        self.workers.write().unwrap_or_else(PoisonError::into_inner).push(worker.clone());
        let watching = watch::watch(Arc::downgrade(self), worker.clone(), self.settings.clone());
        let stop = self.stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = watching => {}
                () = worker.stop.cancelled() => {}
                () = stop.cancelled() => {}
            }
        });
        Ok(())
    }

    /// Ends the watches.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// The workers of this moment.
    pub fn workers(&self) -> Vec<Arc<Worker>> {
        self.workers.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The worker of that index, unless it has left the fleet.
    pub fn at(&self, index: usize) -> Option<Arc<Worker>> {
        let workers = self.workers.read().unwrap_or_else(PoisonError::into_inner);
        workers.iter().find(|worker| worker.index == index).cloned()
    }

    /// The worker with this id.
    pub fn worker(&self, id: &str) -> Option<Arc<Worker>> {
        self.workers().into_iter().find(|worker| worker.id() == id)
    }

    /// Lets a worker go: it gets no new work, and is forgotten when what it has is done.
    pub fn retire(self: &Arc<Self>, worker: &Arc<Worker>) {
        worker.set_retired(true);
        self.publish(Change::Gauges { worker: worker.index });
        let (fleet, worker) = (self.clone(), worker.clone());
        tokio::spawn(async move {
            let mut versions = fleet.version.subscribe();
            while worker.is_retired() && worker.in_flight() > 0 {
                let _ = tokio::time::timeout(LOOK_AGAIN, versions.changed()).await;
            }
            // It may have come back meanwhile.
            if worker.is_retired() {
                let mut workers = fleet.workers.write().unwrap_or_else(PoisonError::into_inner);
                workers.retain(|known| known.index != worker.index);
                drop(workers);
                worker.stop.cancel();
                fleet.publish(Change::Worker { worker: worker.index });
            }
        });
    }

    fn quarantine(&self) -> MutexGuard<'_, quarantine::Quarantine> {
        self.quarantine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pace(&self) -> MutexGuard<'_, pace::Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every change from now on; one that lags gets an error and should look at everything again.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    pub(crate) fn publish(&self, change: Change) {
        // Nobody listening is fine.
        let _ = self.changes.send(change);
        self.version.send_modify(|version| *version += 1);
    }

    /// Whether a worker takes work right now.
    pub fn is_ready(&self) -> bool {
        self.workers()
            .iter()
            .any(|worker| worker.link(self.settings.lost_after) == placement::Link::Up)
    }

    /// Requests that wait here for room.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// What weighs how much.
    pub fn policy(&self) -> &placement::Policy {
        &self.settings.policy
    }

    /// What placement looks at, and the time on its clock in milliseconds.
    pub fn placement(&self) -> (placement::Fleet, u64) {
        let now = Instant::now();
        let clock = |at: Instant| at.saturating_duration_since(self.epoch).as_millis() as u64;
        let workers = self.workers();
        let workers =
            workers.iter().map(|worker| worker.placement(self.settings.lost_after, &clock));
        (placement::Fleet { workers: workers.collect() }, clock(now))
    }

    /// What losing each residency of the worker would cost now, in expected seconds of reloading, by its id.
    pub fn regrets(&self, worker: &Worker) -> HashMap<String, f64> {
        let clock = |at: Instant| at.saturating_duration_since(self.epoch).as_millis() as u64;
        let now = clock(Instant::now());
        let there = worker.placement(self.settings.lost_after, &clock).residencies;
        let regret = |residency: placement::Residency| {
            let terms = placement::Terms::of(&residency, &self.settings.policy, now);
            (residency.id, terms.regret_s())
        };
        there.into_iter().map(regret).collect()
    }

    /// The kind of model that a task runs on, as far as a worker has said.
    fn kind_of(&self, task: &str) -> Option<String> {
        let of_worker = |worker: &Arc<Worker>| {
            let view = worker.view();
            let tasks = &view.status.as_ref()?.tasks;
            let kind = &tasks.iter().find(|known| known.task == task)?.kind;
            (!kind.is_empty()).then(|| kind.clone())
        };
        self.workers().iter().find_map(of_worker)
    }

    /// Waits until a worker takes work, while one is expected to.
    ///
    /// # Errors
    /// `no_worker` when none is expected or none came in time.
    pub async fn await_worker(&self, deadline: Instant) -> Result<(), Failure> {
        let until = deadline.min(Instant::now() + self.settings.lost_after);
        let mut versions = self.version.subscribe();
        loop {
            let (fleet, _) = self.placement();
            if fleet.workers.iter().any(|worker| worker.link == placement::Link::Up) {
                return Ok(());
            }
            if !fleet.workers.iter().any(|worker| worker.link == placement::Link::Expected) {
                return Err(no_worker());
            }
            let look_again = until.min(Instant::now() + LOOK_AGAIN);
            let changed = tokio::time::timeout_at(look_again, versions.changed()).await;
            if changed.is_err() && Instant::now() >= until {
                return Err(no_worker());
            }
        }
    }

    /// Facts and cost of the model on every worker that takes work.
    ///
    /// # Errors
    /// When no worker answered with a plan: the first reason.
    pub async fn plans(
        &self,
        model: &ModelRef,
        task: &str,
        dtype: &str,
    ) -> Result<Vec<(usize, ModelPlan)>, Failure> {
        let up =
            |worker: &&Arc<Worker>| worker.link(self.settings.lost_after) == placement::Link::Up;
        let workers = self.workers();
        let asked = workers.iter().filter(up).map(|worker| async move {
            let request = PlanModelRequest {
                model: Some(model.clone()),
                task: task.to_owned(),
                dtype: dtype.to_owned(),
            };
            (worker.index, self.plans.get(worker, request).await)
        });
        let mut plans = Vec::new();
        let mut reason = None;
        for (index, answer) in futures::future::join_all(asked).await {
            match answer {
                Ok(plan) => plans.push((index, plan)),
                Err(status) => {
                    reason.get_or_insert_with(|| Failure::from(&status));
                }
            }
        }
        if plans.is_empty() {
            return Err(reason.unwrap_or_else(no_worker));
        }
        Ok(plans)
    }

    /// The task of a model whose request names none.
    ///
    /// # Errors
    /// What the workers say, or `missing_task` when the repository doesn't tell.
    pub async fn infer_task(&self, model: &ModelRef, deadline: Instant) -> Result<String, Failure> {
        self.await_worker(deadline).await?;
        let plans = tokio::time::timeout_at(deadline, self.plans(model, "", ""))
            .await
            .map_err(|_| deadline_exceeded())??;
        let told = plans.iter().find(|(_, plan)| !plan.task.is_empty());
        if let Some((_, plan)) = told {
            return Ok(plan.task.clone());
        }
        if let Some(detail) = plans.iter().find_map(|(_, plan)| plan.unsupported.as_ref()) {
            return Err(Failure::from(detail));
        }
        let message = format!("{} does not say its task; name it", model.model_id);
        Err(Failure::new(Code::MissingTask, message).with("field", "task"))
    }
}

pub(crate) fn no_worker() -> Failure {
    Failure::new(Code::NoWorker, "no worker is connected")
}

pub(crate) fn deadline_exceeded() -> Failure {
    Failure::new(Code::DeadlineExceeded, "the request's time is over")
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

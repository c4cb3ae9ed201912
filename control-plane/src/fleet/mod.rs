//! The workers: what each pushed last, how to reach them, and how a request finds one.

mod blobs;
mod chooser;
mod displaced;
mod load;
mod plans;
mod process;
mod run;
mod seats;
mod spawn;
mod token;
mod view;
mod watch;
mod worker;

pub(crate) use chooser::{cost, no_room, refused, regret};
pub use load::{Load, LoadStep};
pub use run::{Job, Run};
pub use spawn::{SpawnError, Spawned, Spawner};
pub use token::WorkerToken;
pub use view::View;
pub use worker::{Link, Worker};

use std::{
    sync::{
        Arc,
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

/// How the fleet judges silence, and how much may wait.
#[derive(Clone, Debug)]
pub struct Settings {
    pub suspect_after: Duration,
    pub lost_after: Duration,
    pub waiting_limit: usize,
    pub policy: placement::Policy,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            suspect_after: Duration::from_secs(2),
            lost_after: Duration::from_secs(15),
            waiting_limit: 256,
            policy: placement::Policy::default(),
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
    workers: Vec<Arc<Worker>>,
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
        let workers = addresses
            .iter()
            .enumerate()
            .map(|(index, address)| Worker::new(index, address).map(Arc::new))
            .collect::<Result<_, _>>()?;
        let fleet = Arc::new(Self {
            workers,
            plans: plans::Plans::default(),
            changes: broadcast::channel(CHANGES_KEPT).0,
            version: versions::channel(0).0,
            waiting: AtomicUsize::new(0),
            wanted: seats::Wanted::default(),
            settings,
            epoch: Instant::now(),
            stop: CancellationToken::new(),
        });
        for worker in &fleet.workers {
            let watching =
                watch::watch(Arc::downgrade(&fleet), worker.clone(), fleet.settings.clone());
            let stop = fleet.stop.clone();
            tokio::spawn(async move { stop.run_until_cancelled(watching).await });
        }
        Ok(fleet)
    }

    /// Ends the watches.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    pub fn workers(&self) -> &[Arc<Worker>] {
        &self.workers
    }

    /// The worker with this id.
    pub fn worker(&self, id: &str) -> Option<&Arc<Worker>> {
        self.workers.iter().find(|worker| worker.id() == id)
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
        self.workers
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
        let workers =
            self.workers.iter().map(|worker| worker.placement(self.settings.lost_after, &clock));
        (placement::Fleet { workers: workers.collect() }, clock(now))
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
            let look_again = until.min(Instant::now() + Duration::from_secs(1));
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
        let asked = self.workers.iter().filter(up).map(|worker| async move {
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

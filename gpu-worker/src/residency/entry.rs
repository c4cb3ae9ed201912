//! One residency as the worker keeps it: its identity, its phase, its bytes, its policy.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use proto::{DeviceBytes, LoadingEvent, Residency, ResidencyState};
use tch::Kind;
use tokio::sync::watch;

use super::{
    adapters::{Held, Shelf},
    admission::Holding,
    facts::Facts,
    learned::LearnedCost,
    precision,
};
use crate::{
    failure::Failure,
    lane::{Lane, LaneHandle},
    models::ModelKind,
};

/// What a residency is, apart from its bytes. The same model in another data type is another residency, and so is the
/// same repository as another kind of model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub model_id: String,
    pub revision: String,
    pub dtype: Kind,
    pub kind: ModelKind,
}

/// Bytes charged on the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    pub weights: u64,
    pub mapped: u64,
    /// Bound of keys and values.
    pub cache: u64,
    /// Adapters that are there or on their way.
    pub adapters: u64,
    pub workspace: u64,
}

impl Bytes {
    pub fn charged(&self) -> u64 {
        self.weights + self.cache + self.adapters + self.workspace
    }
}

/// How far a load is; the last value says how it ended.
#[derive(Clone, Debug, Default)]
pub struct LoadState {
    pub state: ResidencyState,
    pub queue_position: Option<u32>,
    pub bytes_done: u64,
    pub bytes_total: u64,
    pub tensors_done: u32,
    pub tensors_total: u32,
    pub bytes_per_second: Option<f64>,
    pub evicting: Vec<String>,
    pub outcome: Option<Result<(), Failure>>,
}

impl LoadState {
    /// Seconds left by the measured rate.
    pub fn eta_s(&self) -> Option<f64> {
        let rate = self.bytes_per_second.filter(|&rate| rate > 0.0)?;
        Some(self.bytes_total.saturating_sub(self.bytes_done) as f64 / rate)
    }

    pub fn event(&self) -> LoadingEvent {
        LoadingEvent {
            state: state_name(self.state).to_owned(),
            bytes_done: self.bytes_done,
            bytes_total: self.bytes_total,
            tensors_done: self.tensors_done,
            tensors_total: self.tensors_total,
            bytes_per_second: self.bytes_per_second,
            eta_s: self.eta_s(),
            evicting: self.evicting.clone(),
        }
    }
}

/// `queued`, `loading` … as the API spells them.
pub fn state_name(state: ResidencyState) -> &'static str {
    match state {
        ResidencyState::Unspecified => "unspecified",
        ResidencyState::Queued => "queued",
        ResidencyState::Downloading => "downloading",
        ResidencyState::Loading => "loading",
        ResidencyState::Warming => "warming",
        ResidencyState::Ready => "ready",
        ResidencyState::Failed => "failed",
        ResidencyState::Draining => "draining",
        ResidencyState::Releasing => "releasing",
    }
}

/// Where a residency is in its life.
pub enum Phase {
    Loading(watch::Receiver<LoadState>),
    Ready(Lane),
    Failed { failure: Failure, retry_at: Instant },
    Releasing,
}

pub struct Entry {
    pub number: u64,
    pub generation: u64,
    pub key: Key,
    pub facts: Arc<Facts>,
    /// Tasks it was used for, the one it was loaded for first.
    pub tasks: Vec<&'static str>,
    pub phase: Phase,
    pub bytes: Bytes,
    pub adapters: Shelf,
    /// Growth of the process or the device during the load.
    pub measured: Option<u64>,
    /// What was measured of it, now and in earlier lives.
    pub cost: LearnedCost,
    pub pinned: bool,
    /// `None`: until evicted.
    pub keep_alive: Option<Duration>,
    pub min_residency: Duration,
    pub load_started: Instant,
    pub load_time: Option<Duration>,
    pub ready_at: Option<Instant>,
    pub last_used: Option<Instant>,
    /// Requests that hold a lease on it.
    pub users: Arc<AtomicUsize>,
    pub requests: u64,
    /// Loads that failed in a row.
    pub failures: u32,
    /// Loads that failed in a row before the one that worked.
    pub failed_before: u32,
    pub last_error: Option<Failure>,
    /// It is being released for a load that is charged already.
    pub leaves_for_load: bool,
    /// It takes nothing new, and what it has may end first.
    pub drains: bool,
}

impl Entry {
    pub fn id(&self) -> String {
        format!("r{}", self.number)
    }

    pub fn users(&self) -> usize {
        self.users.load(Ordering::Acquire)
    }

    pub fn is_busy(&self) -> bool {
        self.users() > 0
    }

    /// Bytes that count against the budget.
    pub fn charged(&self) -> u64 {
        match self.phase {
            Phase::Failed { .. } => 0,
            _ => self.bytes.charged(),
        }
    }

    pub fn lane(&self) -> Option<LaneHandle> {
        match &self.phase {
            Phase::Ready(lane) => Some(lane.handle()),
            _ => None,
        }
    }

    /// Why this residency may not be evicted now; `None` when it may. `drains`: it may be busy.
    pub fn held_by(&self, now: Instant, drains: bool) -> Option<&'static str> {
        if self.pinned {
            return Some("pinned");
        }
        match &self.phase {
            Phase::Loading(_) => return Some("loading"),
            Phase::Releasing => return Some("releasing"),
            Phase::Failed { .. } => return None,
            Phase::Ready(_) => {}
        }
        if self.is_busy() && !drains {
            return Some("busy");
        }
        let age = self.ready_at.map_or(Duration::ZERO, |at| now.duration_since(at));
        (age < self.min_residency).then_some("younger than its minimum residency")
    }

    /// As admission sees it.
    pub fn holding(&self, now: Instant, drains: bool) -> Holding {
        Holding {
            id: self.id(),
            generation: self.generation,
            bytes: self.charged(),
            promised: self.leaves_for_load,
            held_by: self.held_by(now, drains),
        }
    }

    fn state(&self) -> ResidencyState {
        match &self.phase {
            Phase::Loading(progress) => progress.borrow().state,
            Phase::Ready(_) => ResidencyState::Ready,
            Phase::Failed { .. } => ResidencyState::Failed,
            Phase::Releasing if self.drains && self.is_busy() => ResidencyState::Draining,
            Phase::Releasing => ResidencyState::Releasing,
        }
    }

    pub fn message(&self, device: &str, now: Instant) -> Residency {
        let ago = |at: Option<Instant>| at.map(|at| now.duration_since(at).as_millis() as u64);
        let gauges = self.lane().map(|lane| lane.gauges);
        let running = gauges.as_ref().map_or(0, |gauges| gauges.running.load(Ordering::Acquire));
        let jobs = gauges.as_ref().map_or_else(
            || self.users.load(Ordering::Acquire),
            |gauges| gauges.jobs.load(Ordering::Acquire),
        );
        let (error, retry_in_ms) = match &self.phase {
            Phase::Failed { failure, retry_at } => (
                Some(failure.detail()),
                Some(retry_at.saturating_duration_since(now).as_millis() as u64),
            ),
            _ => (self.last_error.as_ref().map(Failure::detail), None),
        };
        Residency {
            residency_id: self.id(),
            generation: self.generation,
            model_id: self.key.model_id.clone(),
            revision: self.key.revision.clone(),
            tasks: self.tasks.iter().map(|&task| task.to_owned()).collect(),
            architecture: self.facts.model_type.clone(),
            state: self.state().into(),
            dtype: precision::name(self.key.dtype).to_owned(),
            bytes: vec![DeviceBytes {
                device: device.to_owned(),
                weights: self.bytes.weights,
                mapped: self.bytes.mapped,
                cache: self.bytes.cache,
                adapters: self.bytes.adapters,
                workspace: self.bytes.workspace,
                measured: self.measured,
            }],
            parameters: self.facts.parameters,
            load_time_ms: self.load_time.map(|time| time.as_secs_f64() * 1e3),
            loaded_ms_ago: ago(self.ready_at),
            last_used_ms_ago: ago(self.last_used),
            in_flight: running as u32,
            queued: jobs.saturating_sub(running) as u32,
            pinned: self.pinned,
            keep_alive_ms: self.keep_alive.map_or(-1, |time| time.as_millis() as i64),
            min_residency_ms: self.min_residency.as_millis() as u64,
            error,
            retry_in_ms,
            loading: match &self.phase {
                Phase::Loading(progress) => Some(progress.borrow().event()),
                _ => None,
            },
            requests: self.requests,
            requests_per_second: None,
            failed_loads: self.failures.max(self.failed_before),
            learned: Some(self.cost.message()),
            kind: self.key.kind.name().to_owned(),
            adapters: self.adapters.iter().map(Held::message).collect(),
        }
    }
}

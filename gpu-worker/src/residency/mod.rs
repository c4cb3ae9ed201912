//! Which models live on this worker: loading once, accounting every byte, releasing, and saying so.
//!
//! All state is behind one lock that is never held across an await. Watchers are told that something changed and
//! look at what is there now, so they cannot miss a change.

mod admission;
mod demand;
pub mod device;
mod entry;
pub mod facts;
mod facts_cache;
mod load;
mod load_queue;
mod open;
pub mod precision;
mod release;
mod room;

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use proto::{Eviction, Residency};
use tch::Kind;
use tokio::sync::{Semaphore, watch};

use self::{
    demand::Demands,
    device::DeviceInfo,
    entry::{Entry, Phase},
    facts::Facts,
    load_queue::LoadQueue,
};
pub use self::{
    entry::{LoadState, state_name},
    facts_cache::FactsCache,
    open::{Lease, Wanted},
    release::Released,
};
use crate::{
    lane::scheduler::Scheduler,
    tasks::{Counters, Task},
};

/// Heavy loads at once; more would only share the disk.
const LOADS_AT_ONCE: usize = 2;
/// Newest evictions that are kept.
const EVICTIONS_KEPT: usize = 1000;

/// What the operator decided.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bytes that residencies may use.
    pub budget: u64,
    /// After this long without a request a model leaves; `None`: never by itself.
    pub keep_alive: Option<Duration>,
    /// A model is not evicted earlier than this after its load.
    pub min_residency: Duration,
}

/// Policy of a model that outlives its residencies.
#[derive(Clone, Copy, Debug, Default)]
pub struct ModelPolicy {
    pub pinned: Option<bool>,
    pub keep_alive_ms: Option<i64>,
    pub min_residency: Option<Duration>,
}

/// The residencies of this worker; cheap to clone.
#[derive(Clone)]
pub struct Residencies(Arc<Shared>);

struct Shared {
    device: DeviceInfo,
    facts: FactsCache,
    scheduler: Scheduler,
    load_slots: Semaphore,
    load_queue: LoadQueue,
    settings: Settings,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
    started: Instant,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct State {
    entries: Vec<Entry>,
    policies: HashMap<String, ModelPolicy>,
    demands: Demands,
    evictions: VecDeque<Eviction>,
    next_number: u64,
    next_generation: u64,
    budget: u64,
    draining: bool,
}

impl State {
    fn generation(&mut self) -> u64 {
        self.next_generation += 1;
        self.next_generation
    }

    fn charged(&self) -> u64 {
        self.entries.iter().map(Entry::charged).sum()
    }

    fn by_number(&mut self, number: u64) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.number == number)
    }
}

impl Residencies {
    pub fn new(device: DeviceInfo, facts: FactsCache, settings: Settings) -> Self {
        let state = State { budget: settings.budget, ..State::default() };
        Self(Arc::new(Shared {
            scheduler: Scheduler::new(device.cores),
            device,
            facts,
            load_slots: Semaphore::new(LOADS_AT_ONCE),
            load_queue: LoadQueue::default(),
            settings,
            state: Mutex::new(state),
            changed: watch::Sender::new(0),
            started: Instant::now(),
            counters: Arc::default(),
        }))
    }

    pub fn device(&self) -> &DeviceInfo {
        &self.0.device
    }

    pub fn facts(&self) -> &FactsCache {
        &self.0.facts
    }

    pub fn counters(&self) -> &Arc<Counters> {
        &self.0.counters
    }

    /// Fires after every change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// The data type that this worker's rule gives a model.
    pub fn dtype_for(&self, facts: &Facts) -> Kind {
        precision::choose(precision::Situation {
            is_cuda: self.0.device.torch.is_cuda(),
            has_bfloat16: self.0.device.has_bfloat16,
            parameters: facts.parameters,
            stored: facts.stored,
            budget: self.lock().budget,
        })
    }

    /// Bytes that a model would be charged here.
    pub fn estimate(&self, facts: &Facts, task: &Task, dtype: Kind) -> (u64, u64) {
        let bytes = room::estimate(facts, task.kind, dtype);
        (bytes.weights, bytes.cache + bytes.workspace)
    }

    /// Bytes free under the budget.
    pub fn free_bytes(&self) -> u64 {
        let state = self.lock();
        state.budget.saturating_sub(state.charged())
    }

    /// Every residency as it is now.
    pub fn list(&self) -> Vec<Residency> {
        let now = Instant::now();
        let seconds = self.seconds(now);
        let state = self.lock();
        let message = |entry: &Entry| Residency {
            requests_per_second: Some(state.demands.rate(&entry.key.model_id, seconds)),
            ..entry.message(&self.0.device.name, now)
        };
        state.entries.iter().map(message).collect()
    }

    /// On the clock of the demands.
    fn seconds(&self, now: Instant) -> f64 {
        now.duration_since(self.0.started).as_secs_f64()
    }

    /// Requests and loads that hold a residency now.
    pub fn users(&self) -> usize {
        self.lock().entries.iter().map(Entry::users).sum()
    }

    pub fn evictions(&self) -> Vec<Eviction> {
        self.lock().evictions.iter().cloned().collect()
    }

    /// Budget, charged, reserved and releasing bytes.
    pub fn accounts(&self) -> Accounts {
        let state = self.lock();
        let sum = |wanted: fn(&Phase) -> bool| {
            state.entries.iter().filter(|entry| wanted(&entry.phase)).map(Entry::charged).sum()
        };
        Accounts {
            budget: state.budget,
            charged: sum(|phase| matches!(phase, Phase::Ready(_))),
            reserved: sum(|phase| matches!(phase, Phase::Loading(_))),
            releasing: sum(|phase| matches!(phase, Phase::Releasing)),
        }
    }

    pub fn is_draining(&self) -> bool {
        self.lock().draining
    }

    pub fn set_draining(&self, draining: bool) {
        self.lock().draining = draining;
        self.notify();
    }

    pub fn set_budget(&self, bytes: u64) {
        self.lock().budget = bytes;
        self.notify();
    }

    /// Changes the policy of a model, now and for its later loads.
    pub fn set_policy(&self, model_id: &str, change: ModelPolicy) {
        let mut state = self.lock();
        let policy = state.policies.entry(model_id.to_owned()).or_default();
        policy.pinned = change.pinned.or(policy.pinned);
        policy.keep_alive_ms = change.keep_alive_ms.or(policy.keep_alive_ms);
        policy.min_residency = change.min_residency.or(policy.min_residency);
        let policy = *policy;
        let generation = state.generation();
        for entry in state.entries.iter_mut().filter(|entry| entry.key.model_id == model_id) {
            entry.generation = generation;
            apply(entry, policy);
        }
        drop(state);
        self.notify();
    }

    fn notify(&self) {
        self.0.changed.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the bytes of the device are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Accounts {
    pub budget: u64,
    pub charged: u64,
    pub reserved: u64,
    pub releasing: u64,
}

fn apply(entry: &mut Entry, policy: ModelPolicy) {
    if let Some(pinned) = policy.pinned {
        entry.pinned = pinned;
    }
    if let Some(ms) = policy.keep_alive_ms {
        entry.keep_alive = u64::try_from(ms).ok().map(Duration::from_millis);
    }
    if let Some(min) = policy.min_residency {
        entry.min_residency = min;
    }
}

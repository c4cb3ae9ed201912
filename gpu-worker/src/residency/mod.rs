//! Which models live on this worker: loading once, accounting every byte, releasing, and saying so.
//!
//! All state is behind one lock that is never held across an await. Watchers are told that something changed and
//! look at what is there now, so they cannot miss a change.

pub mod adapters;
mod admission;
mod baseline;
mod costs;
mod demand;
pub mod device;
mod entry;
pub mod facts;
mod facts_cache;
pub mod journal;
mod learned;
mod load;
mod load_queue;
mod open;
mod policy;
pub mod precision;
mod release;
mod room;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use proto::{Eviction, Residency};
use tch::{Device, Kind};
use tokio::sync::{Semaphore, watch};

use self::{
    baseline::Baseline,
    demand::Demands,
    device::DeviceInfo,
    entry::{Entry, Phase},
    facts::Facts,
    journal::{Journal, Kept, KeptBudget, Record},
    learned::{CostKey, LearnedCost},
    load_queue::LoadQueue,
};
pub use self::{
    costs::Cost,
    entry::{LoadState, state_name},
    facts_cache::FactsCache,
    open::{Lease, Wanted},
    policy::{Dtype, ModelPolicy},
    release::Released,
};
use crate::{
    failure::{Code, Failure},
    lane::{LaneHandle, scheduler::Scheduler},
    tasks::Counters,
};

/// Heavy loads at once; more would only share the disk.
const LOADS_AT_ONCE: usize = 2;
/// Newest evictions that are kept.
const EVICTIONS_KEPT: usize = 1000;
/// Models that may have a policy of their own.
const MOST_POLICIES: usize = 10_000;
/// Exit status of a worker whose memory only a restart gives back.
pub const WORN_OUT: u8 = 77;

/// What the operator decided.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bytes that residencies may use, unless another budget was set at run time.
    pub budget: u64,
    /// After this long without a request a model leaves; `None`: never by itself.
    pub keep_alive: Option<Duration>,
    /// A model is not evicted earlier than this after its load.
    pub min_residency: Duration,
    /// Bytes that the adapters of one model may have.
    pub adapter_bytes: u64,
    /// Bytes that decoding one picture may take before it is done in tiles.
    pub decoding_bytes: u64,
    /// An idle worker that has grown by more bytes than this ends.
    pub baseline_growth_limit: u64,
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
    journal: Journal,
    held: OnceLock<Held>,
    changed: watch::Sender<u64>,
    started: Instant,
    /// True while the worker admits nothing new.
    drains: watch::Sender<bool>,
    counters: Arc<Counters>,
}

/// Says how many bytes are held for something else than models.
type Held = Box<dyn Fn() -> u64 + Send + Sync>;

#[derive(Default)]
struct State {
    entries: Vec<Entry>,
    policies: BTreeMap<String, ModelPolicy>,
    demands: Demands,
    evictions: VecDeque<Eviction>,
    costs: BTreeMap<CostKey, LearnedCost>,
    baseline: Baseline,
    next_number: u64,
    next_generation: u64,
    budget: u64,
    draining: bool,
    /// Empty while it does not drain.
    drain_reason: &'static str,
    is_worn_out: bool,
}

impl State {
    fn generation(&mut self) -> u64 {
        self.next_generation += 1;
        self.next_generation
    }

    fn charged(&self) -> u64 {
        self.entries.iter().map(Entry::charged).sum()
    }

    /// Memory is short: what no request needs goes back.
    fn let_go(&self) {
        self.entries.iter().filter_map(Entry::lane).for_each(|lane| lane.let_go());
    }

    /// No residency has any memory.
    fn is_empty(&self) -> bool {
        self.entries.iter().all(|entry| matches!(entry.phase, Phase::Failed { .. }))
    }

    fn by_number(&mut self, number: u64) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.number == number)
    }
}

impl Residencies {
    /// `kept` is what `journal` said when it was opened.
    pub fn new(
        device: DeviceInfo,
        facts: FactsCache,
        settings: Settings,
        journal: Journal,
        kept: Kept,
    ) -> Self {
        let budget = KeptBudget::in_force(kept.budget, settings.budget).min(device.total_bytes);
        if budget != settings.budget {
            tracing::info!(budget, "the budget that was set at run time is in force");
        }
        let Kept { policies, evictions, costs, .. } = kept;
        let state = State { budget, policies, evictions, costs, ..State::default() };
        Self(Arc::new(Shared {
            scheduler: match device.torch {
                Device::Cuda(_) => Scheduler::of_gpu(device.cores),
                _ => Scheduler::of_cores(device.cores),
            },
            device,
            facts,
            load_slots: Semaphore::new(LOADS_AT_ONCE),
            load_queue: LoadQueue::default(),
            settings,
            state: Mutex::new(state),
            journal,
            held: OnceLock::new(),
            changed: watch::Sender::new(0),
            started: Instant::now(),
            drains: watch::Sender::new(false),
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

    pub fn journal(&self) -> &Journal {
        &self.0.journal
    }

    /// The data type that a model gets here: its policy's, or else what the rule says.
    pub fn dtype_for(&self, facts: &Facts) -> Kind {
        let state = self.lock();
        let policy = state.policies.get(facts.model_id()).copied().unwrap_or_default();
        policy.kind().unwrap_or_else(|| self.rule_for(facts, state.budget))
    }

    /// What the rule says under a budget of so many bytes.
    fn rule_for(&self, facts: &Facts, budget: u64) -> Kind {
        precision::choose(precision::Situation {
            is_cuda: self.0.device.torch.is_cuda(),
            has_bfloat16: self.0.device.has_bfloat16,
            parameters: facts.parameters,
            float32_bytes: facts.weight_bytes(Kind::Float, self.0.device.torch),
            stored: facts.stored,
            budget,
        })
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

    /// Where the bytes are.
    pub fn accounts(&self) -> Accounts {
        let state = self.lock();
        let sum = |wanted: fn(&Phase) -> bool| {
            state.entries.iter().filter(|entry| wanted(&entry.phase)).map(Entry::charged).sum()
        };
        let held: Vec<&Entry> = state.entries.iter().filter(|entry| entry.charged() > 0).collect();
        let of =
            |bytes: fn(&entry::Bytes) -> u64| held.iter().map(|entry| bytes(&entry.bytes)).sum();
        let of_lanes = |bytes: fn(&LaneHandle) -> u64| {
            held.iter().filter_map(|entry| entry.lane()).map(|lane| bytes(&lane)).sum()
        };
        Accounts {
            weights: of(|bytes| bytes.weights),
            mapped: of(|bytes| bytes.mapped),
            cache: of(|bytes| bytes.cache),
            adapters: of(|bytes| bytes.adapters),
            workspace: of(|bytes| bytes.workspace),
            cache_used: of_lanes(LaneHandle::cache_bytes),
            cache_kept: of_lanes(LaneHandle::kept_bytes),
            baseline: state.baseline.bytes(),
            baseline_growth: state.baseline.growth(),
            baseline_growth_limit: self.0.settings.baseline_growth_limit,
            budget: state.budget,
            charged: sum(|phase| matches!(phase, Phase::Ready(_))),
            reserved: sum(|phase| matches!(phase, Phase::Loading(_))),
            releasing: sum(|phase| matches!(phase, Phase::Releasing)),
        }
    }

    pub fn is_draining(&self) -> bool {
        self.lock().draining
    }

    /// Why it drains; empty while it doesn't.
    pub fn drain_reason(&self) -> &'static str {
        self.lock().drain_reason
    }

    /// Admits nothing new from now on; the first reason counts.
    pub fn drain(&self, reason: &'static str) {
        let mut state = self.lock();
        state.draining = true;
        if state.drain_reason.is_empty() {
            state.drain_reason = reason;
        }
        drop(state);
        self.0.drains.send_replace(true);
        self.notify();
    }

    /// Admits again, unless the worker is about to end.
    pub fn admit(&self) {
        let mut state = self.lock();
        if !state.is_worn_out {
            state.draining = false;
            state.drain_reason = "";
        }
        let draining = state.draining;
        drop(state);
        self.0.drains.send_replace(draining);
        self.notify();
    }

    /// The future's result, unless the worker begins to drain first: then what waits is handed back.
    pub async fn unless_draining<T>(
        &self,
        waiting: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let mut drains = self.0.drains.subscribe();
        tokio::select! {
            biased;
            result = waiting => result,
            _ = drains.wait_for(|&drains| drains) => Err(draining()),
        }
    }

    pub fn set_budget(&self, bytes: u64) {
        let mut state = self.lock();
        state.budget = bytes;
        if state.charged() > bytes {
            state.let_go();
        }
        drop(state);
        self.0.journal.append(Record::Budget { bytes, flag: self.0.settings.budget });
        self.notify();
    }

    fn notify(&self) {
        self.0.changed.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn draining() -> Failure {
    Failure::new(Code::Draining, "this worker admits nothing new")
}

/// Where the bytes of the device are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Accounts {
    pub budget: u64,
    pub charged: u64,
    pub reserved: u64,
    pub releasing: u64,
    /// Of everything charged, reserved or releasing: weights …
    pub weights: u64,
    /// … those of them that are file pages …
    pub mapped: u64,
    /// … the bound of keys and values …
    pub cache: u64,
    /// … adapters …
    pub adapters: u64,
    /// … and intermediate tensors.
    pub workspace: u64,
    /// Keys and values that are there.
    pub cache_used: u64,
    /// Of these: what is only kept in case another text begins alike.
    pub cache_kept: u64,
    /// What the idle worker used after its last full unload.
    pub baseline: Option<u64>,
    pub baseline_growth: u64,
    pub baseline_growth_limit: u64,
}

//! Which models live on this worker: loading once, accounting every byte, releasing, and saying so.
//!
//! All state is behind one lock that is never held across an await. Watchers are told that something changed and
//! look at what is there now, so they cannot miss a change.

pub mod device;
mod entry;
pub mod facts;
mod facts_cache;
mod load;
pub mod precision;
mod release;
mod room;

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use proto::{Eviction, Residency, Victim};
use tch::Kind;
use tokio::sync::{Semaphore, watch};

use self::{
    device::DeviceInfo,
    entry::{Entry, Key, Phase},
    facts::Facts,
};
pub use self::{
    entry::{LoadState, state_name},
    facts_cache::FactsCache,
    release::Released,
};
use crate::{
    failure::{Code, Failure},
    lane::{LaneHandle, scheduler::Scheduler},
    models::Architecture,
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

/// What a request wants of a model.
pub struct Wanted {
    pub facts: Arc<Facts>,
    pub task: &'static Task,
    pub architecture: &'static Architecture,
    /// `None`: the worker's rule.
    pub dtype: Option<Kind>,
    pub victims: Vec<Victim>,
    pub pin: bool,
    /// Milliseconds; -1: until evicted.
    pub keep_alive_ms: Option<i64>,
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
    loads_waiting: AtomicUsize,
    settings: Settings,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
    counters: Arc<Counters>,
}

#[derive(Default)]
struct State {
    entries: Vec<Entry>,
    policies: HashMap<String, ModelPolicy>,
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

/// The right to use a residency; while it lives the residency is busy.
pub struct Lease {
    residencies: Residencies,
    number: u64,
    users: Arc<AtomicUsize>,
    progress: Option<watch::Receiver<LoadState>>,
}

impl Lease {
    /// How far the load is; `None` when the model was resident already.
    pub fn progress(&self) -> Option<watch::Receiver<LoadState>> {
        self.progress.clone()
    }

    /// The lane, once the load has succeeded.
    pub fn lane(&self) -> Option<LaneHandle> {
        self.residencies.lock().by_number(self.number).and_then(|entry| entry.lane())
    }

    /// The residency as it is now.
    pub fn residency(&self) -> Option<Residency> {
        let device = &self.residencies.0.device.name;
        self.residencies
            .lock()
            .by_number(self.number)
            .map(|entry| entry.message(device, Instant::now()))
    }

    /// Counts a request that ended, with its error if it had one that says something about the model.
    pub fn served(&self, error: Option<Failure>) {
        if let Some(entry) = self.residencies.lock().by_number(self.number) {
            entry.requests += 1;
            if error.is_some() {
                entry.last_error = error;
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.users.fetch_sub(1, Ordering::AcqRel);
        if let Some(entry) = self.residencies.lock().by_number(self.number) {
            entry.last_used = Some(Instant::now());
        }
        self.residencies.notify();
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
            loads_waiting: AtomicUsize::new(0),
            settings,
            state: Mutex::new(state),
            changed: watch::Sender::new(0),
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

    /// A lease on the model: of the one that is there, of the load under way, or of a load that starts now together
    /// with the eviction of its victims, all or nothing.
    pub fn open(&self, wanted: &Wanted) -> Result<Lease, Failure> {
        let dtype = wanted.dtype.unwrap_or_else(|| self.dtype_for(&wanted.facts));
        let key = Key {
            model_id: wanted.facts.model_id().to_owned(),
            revision: wanted.facts.revision().to_owned(),
            dtype,
        };
        let now = Instant::now();
        let mut state = self.lock();
        if state.draining {
            return Err(Failure::new(Code::Draining, "this worker admits nothing new"));
        }
        let mut earlier_failures = 0;
        if let Some(position) = state.entries.iter().position(|entry| entry.key == key) {
            match &state.entries[position].phase {
                Phase::Loading(_) | Phase::Ready(_) => {
                    let lease = self.lease(&mut state.entries[position], wanted);
                    drop(state);
                    self.notify();
                    return Ok(lease);
                }
                Phase::Releasing => {
                    let failure = Failure::new(Code::Loading, "the model is just being released");
                    return Err(failure.retry_after(Duration::from_millis(200)));
                }
                Phase::Failed { failure, retry_at } if *retry_at > now => {
                    let mut failure = failure.clone();
                    failure.retry_after = Some(retry_at.duration_since(now));
                    return Err(failure);
                }
                Phase::Failed { .. } => earlier_failures = state.entries.remove(position).failures,
            }
        }
        let bytes = room::estimate(&wanted.facts, wanted.task.kind, dtype);
        let victims =
            self.check_room(&state, bytes.charged(), &wanted.victims, &wanted.facts, now)?;
        let evicting = victims
            .iter()
            .map(|&number| self.begin_release(&mut state, number))
            .collect::<Vec<_>>();
        let entry = self.new_entry(&mut state, key, wanted, bytes, earlier_failures, now);
        let lease = self.start_load(entry, wanted, &mut state, evicting);
        drop(state);
        self.notify();
        Ok(lease)
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
        self.lock().entries.iter().map(|entry| entry.message(&self.0.device.name, now)).collect()
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

    fn new_entry(
        &self,
        state: &mut State,
        key: Key,
        wanted: &Wanted,
        bytes: entry::Bytes,
        failures: u32,
        now: Instant,
    ) -> Entry {
        state.next_number += 1;
        let policy = state.policies.get(&key.model_id).copied().unwrap_or_default();
        let mut entry = Entry {
            number: state.next_number,
            generation: state.generation(),
            key,
            facts: Arc::clone(&wanted.facts),
            tasks: Vec::new(),
            phase: Phase::Releasing,
            bytes,
            measured: None,
            pinned: false,
            keep_alive: self.0.settings.keep_alive,
            min_residency: self.0.settings.min_residency,
            load_started: now,
            load_time: None,
            ready_at: None,
            last_used: None,
            users: Arc::default(),
            requests: 0,
            failures,
            last_error: None,
        };
        apply(&mut entry, policy);
        entry
    }

    fn lease(&self, entry: &mut Entry, wanted: &Wanted) -> Lease {
        entry.users.fetch_add(1, Ordering::AcqRel);
        if !entry.tasks.contains(&wanted.task.id) {
            entry.tasks.push(wanted.task.id);
        }
        apply(
            entry,
            ModelPolicy {
                pinned: wanted.pin.then_some(true),
                keep_alive_ms: wanted.keep_alive_ms,
                ..ModelPolicy::default()
            },
        );
        let progress = match &entry.phase {
            Phase::Loading(progress) => Some(progress.clone()),
            _ => None,
        };
        Lease {
            residencies: self.clone(),
            number: entry.number,
            users: Arc::clone(&entry.users),
            progress,
        }
    }

    /// The victims' numbers, if they may all leave and their bytes suffice.
    fn check_room(
        &self,
        state: &State,
        needed: u64,
        victims: &[Victim],
        facts: &Facts,
        now: Instant,
    ) -> Result<Vec<u64>, Failure> {
        if needed > state.budget {
            let message =
                format!("{} needs more memory than this worker may use", facts.model_id());
            return Err(Failure::new(Code::TooLarge, message)
                .number("needed_bytes", needed)
                .number("budget_bytes", state.budget));
        }
        let mut numbers = Vec::new();
        let mut free = state.budget.saturating_sub(state.charged());
        if free >= needed {
            // There is room: nobody has to leave, whatever the caller believed.
            return Ok(numbers);
        }
        for victim in victims {
            let changed = |why: &str| {
                Failure::new(
                    Code::VictimChanged,
                    format!("{} cannot leave: {why}", victim.residency_id),
                )
                .text("residency_id", victim.residency_id.as_str())
            };
            let entry = state.entries.iter().find(|entry| entry.id() == victim.residency_id);
            let entry = entry.ok_or_else(|| changed("it is gone"))?;
            if entry.generation != victim.generation {
                return Err(changed("its generation is another"));
            }
            if let Some(why) = entry.held_by(now) {
                return Err(changed(why));
            }
            free += entry.charged();
            numbers.push(entry.number);
        }
        if free >= needed {
            return Ok(numbers);
        }
        let holders = state.entries.iter().map(|entry| {
            let why = entry.held_by(now).unwrap_or("idle");
            format!("{} ({} bytes, {why})", entry.key.model_id, entry.charged())
        });
        Err(Failure::new(Code::NoRoom, format!("there is no room for {}", facts.model_id()))
            .number("needed_bytes", needed)
            .number("free_bytes", free)
            .texts("holders", holders.collect())
            .retry_after(Duration::from_secs(1)))
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

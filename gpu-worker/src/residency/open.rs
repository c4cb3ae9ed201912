//! Opening a model: a lease on what is there, on the load under way, or on a load that starts now together with the
//! eviction of its victims.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use proto::{Residency, Victim};
use tch::Kind;
use tokio::sync::watch;

use super::{
    ModelPolicy, Residencies, State,
    adapters::Shelf,
    admission::{self, Denial, Holding},
    entry::{Bytes, Entry, Key, LoadState, Phase},
    facts::Facts,
    journal::Record,
    learned::LearnedCost,
};
use crate::{
    failure::{Code, Failure},
    lane::LaneHandle,
    models::Architecture,
    tasks::Task,
};

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

/// The right to use a residency; while it lives the residency is busy.
pub struct Lease {
    pub(super) residencies: Residencies,
    pub(super) number: u64,
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
    /// A lease on the model: of the one that is there, of the load under way, or of a load that starts now together
    /// with the eviction of its victims, all or nothing.
    pub fn open(&self, wanted: &Wanted) -> Result<Lease, Failure> {
        let dtype = wanted.dtype.unwrap_or_else(|| self.dtype_for(&wanted.facts));
        let key = Key {
            model_id: wanted.facts.model_id().to_owned(),
            revision: wanted.facts.revision().to_owned(),
            dtype,
            kind: wanted.task.kind,
        };
        let now = Instant::now();
        let mut state = self.lock();
        if state.draining {
            return Err(super::draining());
        }
        state.demands.count(&key.model_id, self.seconds(now));
        if wanted.pin {
            self.keep_pin(&mut state, &key.model_id);
        }
        let mut earlier_failures = 0;
        if let Some(position) = state.entries.iter().position(|entry| entry.key == key) {
            match &state.entries[position].phase {
                Phase::Loading(_) | Phase::Ready(_) => {
                    if wanted.pin && !state.entries[position].pinned {
                        state.entries[position].generation = state.generation();
                    }
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
                    return Err(retry_later(failure, retry_at.duration_since(now)));
                }
                Phase::Failed { .. } => earlier_failures = state.entries.remove(position).failures,
            }
        }
        let (bytes, cost) = state.cost(&wanted.facts, wanted.task.kind, dtype, &self.0.device);
        let victims =
            self.check_room(&state, bytes.charged(), &wanted.victims, &wanted.facts, now)?;
        let evicting = victims
            .into_iter()
            .map(|(number, victim)| {
                if let Some(entry) = state.by_number(number) {
                    entry.leaves_for_load = true;
                    entry.drains = victim.drain_ms.is_some();
                }
                let mut leaving = self.begin_release(&mut state, number);
                leaving.regret = victim.regret;
                leaving.grace = victim.drain_ms.map(Duration::from_millis);
                leaving
            })
            .collect::<Vec<_>>();
        let entry = self.new_entry(&mut state, key, wanted, (bytes, cost), now);
        let entry = Entry { failures: earlier_failures, ..entry };
        let lease = self.start_load(entry, wanted, &mut state, evicting);
        drop(state);
        self.notify();
        Ok(lease)
    }

    /// A pin that came with a load outlives it.
    fn keep_pin(&self, state: &mut State, model_id: &str) {
        let change = ModelPolicy { pinned: Some(true), ..ModelPolicy::default() };
        let policy = state.change_policy(model_id, change);
        self.0.journal.append(Record::Policy { model_id: model_id.to_owned(), policy });
    }

    fn new_entry(
        &self,
        state: &mut State,
        key: Key,
        wanted: &Wanted,
        (bytes, cost): (Bytes, LearnedCost),
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
            adapters: Shelf::default(),
            measured: None,
            cost,
            pinned: false,
            keep_alive: self.0.settings.keep_alive,
            min_residency: self.0.settings.min_residency,
            load_started: now,
            load_time: None,
            ready_at: None,
            last_used: None,
            users: Arc::default(),
            requests: 0,
            failures: 0,
            failed_before: 0,
            last_error: None,
            leaves_for_load: false,
            drains: false,
        };
        policy.apply(&mut entry);
        entry
    }

    pub(super) fn lease(&self, entry: &mut Entry, wanted: &Wanted) -> Lease {
        entry.users.fetch_add(1, Ordering::AcqRel);
        if !entry.tasks.contains(&wanted.task.id) {
            entry.tasks.push(wanted.task.id);
        }
        let of_request = ModelPolicy {
            pinned: wanted.pin.then_some(true),
            keep_alive_ms: wanted.keep_alive_ms,
            ..ModelPolicy::default()
        };
        of_request.apply(entry);
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

    /// The victims with their numbers, if they may all leave and their bytes suffice.
    fn check_room<'a>(
        &self,
        state: &State,
        needed: u64,
        victims: &'a [Victim],
        facts: &Facts,
        now: Instant,
    ) -> Result<Vec<(u64, &'a Victim)>, Failure> {
        let drains = |entry: &Entry| {
            let id = entry.id();
            victims.iter().any(|victim| victim.residency_id == id && victim.drain_ms.is_some())
        };
        let holding = |entry: &Entry| entry.holding(now, drains(entry));
        let holdings: Vec<Holding> = state.entries.iter().map(holding).collect();
        let named: Vec<(&str, u64)> = victims
            .iter()
            .map(|victim| (victim.residency_id.as_str(), victim.generation))
            .collect();
        let free = match admission::admit(state.budget, needed, &holdings, &named) {
            Ok(places) => {
                let leaving = |place: usize| {
                    let victim = &victims[place];
                    let entry =
                        state.entries.iter().find(|entry| entry.id() == victim.residency_id);
                    entry.map(|entry| (entry.number, victim))
                };
                return Ok(places.into_iter().filter_map(leaving).collect());
            }
            Err(Denial::TooLarge) => {
                let message =
                    format!("{} needs more memory than this worker may use", facts.model_id());
                return Err(Failure::new(Code::TooLarge, message)
                    .number("needed_bytes", needed)
                    .number("budget_bytes", state.budget));
            }
            Err(Denial::VictimChanged { id, why }) => {
                return Err(Failure::new(Code::VictimChanged, format!("{id} cannot leave: {why}"))
                    .text("residency_id", id));
            }
            Err(Denial::NoRoom { free }) => free,
        };
        let holders = state.entries.iter().map(|entry| {
            let why = entry.held_by(now, false).unwrap_or("idle");
            format!("{} ({} bytes, {why})", entry.key.model_id, entry.charged())
        });
        Err(Failure::new(Code::NoRoom, format!("there is no room for {}", facts.model_id()))
            .number("needed_bytes", needed)
            .number("free_bytes", free)
            .texts("holders", holders.collect())
            .retry_after(Duration::from_secs(1)))
    }
}

/// The failure of an earlier load, with the time from which a new one is admitted.
fn retry_later(failure: &Failure, left: Duration) -> Failure {
    let at = humantime::format_rfc3339_seconds(SystemTime::now() + left).to_string();
    failure.clone().text("retry_at", at).retry_after(left)
}

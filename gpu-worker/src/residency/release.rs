//! Releasing a residency: the lane closes, the memory is measured, and only then is it free.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use proto::{Eviction, Regret};

use super::{
    EVICTIONS_KEPT, Residencies, State, device,
    entry::{Entry, Phase},
    journal::{KeptEviction, Record},
};
use crate::{
    failure::{Code, Failure},
    lane::{self, Lane},
};

/// A residency that has been taken out of service and holds its memory still.
pub(super) struct Leaving {
    number: u64,
    pub(super) model_id: String,
    lane: Option<Lane>,
    expected: u64,
    /// Since it was ready, if it ever was.
    age: Option<Duration>,
    /// Why it was chosen, where somebody chose.
    pub(super) regret: Option<Regret>,
    /// How long what it has may take to end; `None`: no time.
    pub(super) grace: Option<Duration>,
}

/// One that is gone.
#[derive(Clone, Debug)]
pub struct Released {
    pub residency_id: String,
    pub model_id: String,
    pub bytes_expected: u64,
    pub bytes_freed: u64,
    /// Only a task's pipeline left; the weights stay for another.
    pub weights_kept: bool,
}

impl Residencies {
    /// Unloads a model, or one task of it, and answers when the memory is back.
    pub async fn unload(
        &self,
        model_id: &str,
        revision: &str,
        task: &str,
        force: bool,
    ) -> Result<Vec<Released>, Failure> {
        let mut leaving = Vec::new();
        let mut released = Vec::new();
        {
            let mut state = self.lock();
            let matches = |entry: &&Entry| {
                entry.key.model_id == model_id
                    && (revision.is_empty() || entry.key.revision == revision)
                    && (task.is_empty() || entry.tasks.contains(&task))
            };
            let found: Vec<u64> =
                state.entries.iter().filter(matches).map(|entry| entry.number).collect();
            if found.is_empty() {
                return Err(Failure::new(Code::NotLoaded, format!("{model_id} is not loaded")));
            }
            let busy = state.entries.iter().filter(matches).find(|entry| {
                entry.is_busy() || matches!(entry.phase, Phase::Loading(_) | Phase::Releasing)
            });
            if let Some(entry) = busy
                && (!force || !matches!(entry.phase, Phase::Ready(_)))
            {
                let message = format!("{model_id} is in use");
                return Err(Failure::new(Code::InUse, message)
                    .number("in_flight", entry.users.load(Ordering::Acquire) as u64));
            }
            for number in found {
                match detach(&mut state, number, task) {
                    Some(kept) => released.push(kept),
                    None => leaving.push(self.begin_release(&mut state, number)),
                }
            }
        }
        self.notify();
        for leaving in leaving {
            released.push(self.finish_release(leaving, "unload", "").await);
        }
        Ok(released)
    }

    /// Takes a residency out of service; the caller holds the lock and has checked that it may leave.
    pub(super) fn begin_release(&self, state: &mut State, number: u64) -> Leaving {
        let generation = state.generation();
        let Some(entry) = state.by_number(number) else {
            return Leaving {
                number,
                model_id: String::new(),
                lane: None,
                expected: 0,
                age: None,
                regret: None,
                grace: None,
            };
        };
        entry.generation = generation;
        let expected = entry.charged();
        let age = entry.ready_at.map(|at| at.elapsed());
        let lane = match std::mem::replace(&mut entry.phase, Phase::Releasing) {
            Phase::Ready(lane) => Some(lane),
            _ => None,
        };
        let model_id = entry.key.model_id.clone();
        Leaving { number, model_id, lane, expected, age, regret: None, grace: None }
    }

    /// Waits until the memory is back and forgets the residency.
    pub(super) async fn finish_release(
        &self,
        leaving: Leaving,
        reason: &str,
        made_room_for: &str,
    ) -> Released {
        let end = match leaving.grace {
            Some(grace) => self.drained(leaving.number, grace).await,
            None => lane::unloaded(),
        };
        let before = device::measure(&self.0.device);
        if let Some(lane) = leaving.lane {
            lane.close(end).await;
        }
        let bytes_freed = before.saturating_sub(device::measure(&self.0.device));
        let residency_id = format!("r{}", leaving.number);
        let eviction = Eviction {
            model_id: leaving.model_id.clone(),
            residency_id: residency_id.clone(),
            reason: reason.to_owned(),
            made_room_for: made_room_for.to_owned(),
            at_unix_ms: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()
                as u64,
            bytes_expected: leaving.expected,
            bytes_freed,
            regret: leaving.regret,
        };
        tracing::info!(
            model = leaving.model_id,
            reason,
            freed = bytes_freed,
            expected = leaving.expected,
            "released"
        );
        self.0.counters.evicted(reason, leaving.age);
        let is_empty = self.forget(leaving.number, eviction);
        self.notify();
        if is_empty {
            self.measure_idle().await;
        }
        Released {
            residency_id,
            model_id: leaving.model_id,
            bytes_expected: leaving.expected,
            bytes_freed,
            weights_kept: false,
        }
    }

    /// Waits until nobody uses the residency any more, or the time is over; what its last requests end with then.
    async fn drained(&self, number: u64, grace: Duration) -> Failure {
        let mut changes = self.changes();
        let is_free = async {
            while self.lock().by_number(number).is_some_and(|entry| entry.is_busy()) {
                let _ = changes.changed().await;
            }
        };
        let _ = tokio::time::timeout(grace, is_free).await;
        let message = "the model had to make room for another before the request ended";
        Failure::new(Code::NoRoom, message).retry_after(Duration::from_secs(1))
    }

    /// Takes a released residency off the books; true when it was the last.
    fn forget(&self, number: u64, eviction: Eviction) -> bool {
        let mut state = self.lock();
        state.entries.retain(|entry| entry.number != number);
        self.0.journal.append(Record::Eviction(KeptEviction::of(&eviction)));
        state.evictions.push_back(eviction);
        while state.evictions.len() > EVICTIONS_KEPT {
            state.evictions.pop_front();
        }
        state.is_empty()
    }

    /// Releases what has been idle past its keep-alive, for as long as the worker lives.
    pub async fn sweep(self) {
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        loop {
            ticks.tick().await;
            let now = Instant::now();
            let expired: Vec<Leaving> = {
                let mut state = self.lock();
                let is_expired = |entry: &&Entry| {
                    let idle = entry.last_used.map_or(Duration::ZERO, |at| now.duration_since(at));
                    matches!(entry.phase, Phase::Ready(_))
                        && !entry.pinned
                        && !entry.is_busy()
                        && entry.keep_alive.is_some_and(|keep| idle >= keep)
                };
                let numbers: Vec<u64> =
                    state.entries.iter().filter(is_expired).map(|entry| entry.number).collect();
                numbers.into_iter().map(|number| self.begin_release(&mut state, number)).collect()
            };
            for leaving in expired {
                self.finish_release(leaving, "keep_alive", "").await;
            }
        }
    }

    /// Releases everything; for shutdown.
    pub async fn release_all(&self) {
        let leaving: Vec<Leaving> = {
            let mut state = self.lock();
            let numbers: Vec<u64> = state.entries.iter().map(|entry| entry.number).collect();
            numbers.into_iter().map(|number| self.begin_release(&mut state, number)).collect()
        };
        for leaving in leaving {
            self.finish_release(leaving, "unload", "").await;
        }
    }
}

/// Detaches one of several tasks; `None` when the whole residency has to go.
fn detach(state: &mut State, number: u64, task: &str) -> Option<Released> {
    let entry = state.by_number(number)?;
    if task.is_empty() || entry.tasks.len() < 2 {
        return None;
    }
    entry.tasks.retain(|&attached| attached != task);
    Some(Released {
        residency_id: entry.id(),
        model_id: entry.key.model_id.clone(),
        bytes_expected: 0,
        bytes_freed: 0,
        weights_kept: true,
    })
}

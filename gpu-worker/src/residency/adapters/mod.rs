//! Adapters of resident models: charged to the residency, brought to its lane once, and let go of when others need the room.

mod facts;
mod shelf;

use std::{sync::Arc, time::Instant};

use tch::Kind;
use tokio::sync::{OnceCell, oneshot};

pub use self::facts::AdapterFacts;
pub(super) use self::shelf::{Held, Shelf};
use super::{Lease, Residencies};
use crate::{
    failure::{Code, Failure},
    lane::LaneHandle,
    tasks::{AdapterKey, AdapterUse, JobCount},
};

/// A place for an adapter that may not be there yet.
struct Place {
    lane: LaneHandle,
    dtype: Kind,
    used: AdapterUse,
    ready: Arc<OnceCell<()>>,
    /// Resolve when the memory of those is back that left for it.
    leaving: Vec<oneshot::Receiver<()>>,
}

/// Gives a place back when its adapter does not come.
struct Claim<'a> {
    residencies: &'a Residencies,
    number: u64,
    key: &'a AdapterKey,
    lane: &'a LaneHandle,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.residencies.give_up_adapter(self.number, self.key, self.lane);
    }
}

impl Lease {
    /// The right to an adapter of the leased model, which is brought to the model's lane first if it is not there. Many may
    /// wait for one adapter; it comes once.
    pub async fn adapter(&self, facts: &AdapterFacts) -> Result<AdapterUse, Failure> {
        let Place { lane, dtype, used, ready, leaving } =
            self.residencies.place_adapter(self.number, facts)?;
        let claim = Claim {
            residencies: &self.residencies,
            number: self.number,
            key: &facts.key,
            lane: &lane,
        };
        let bring = async {
            for gone in leaving {
                // A lane that has ended has no adapters.
                let _ = gone.await;
            }
            lane.adopt(facts.fetch(dtype).await?).await
        };
        let brought = ready.get_or_try_init(|| bring).await;
        brought.map_err(|failure: Failure| failure.at(facts.field))?;
        drop(claim);
        self.residencies.notify();
        Ok(used)
    }
}

impl Residencies {
    /// A place for the adapter in the residency, charged to it; idle ones leave for it where they must.
    fn place_adapter(&self, number: u64, facts: &AdapterFacts) -> Result<Place, Failure> {
        let mut state = self.lock();
        let free = state.budget.saturating_sub(state.charged());
        let bound = self.0.settings.adapter_bytes;
        let entry = state.by_number(number);
        let Some((entry, lane)) = entry.and_then(|entry| entry.lane().map(|lane| (entry, lane)))
        else {
            return Err(Failure::new(Code::Loading, "the model was released just now"));
        };
        let dtype = entry.key.dtype;
        if let Some(held) = entry.adapters.get(&facts.key) {
            held.last_used = Instant::now();
            let used = AdapterUse { key: facts.key.clone(), count: JobCount::new(&held.users) };
            let ready = Arc::clone(&held.ready);
            return Ok(Place { lane, dtype, used, ready, leaving: Vec::new() });
        }
        let bytes = facts.bytes(dtype);
        if bytes > bound {
            let message = format!(
                "{} has {bytes} bytes, all adapters of a model may have {bound}",
                facts.id()
            );
            return Err(Failure::new(Code::TooLarge, message)
                .at(facts.field)
                .number("needed_bytes", bytes)
                .number("budget_bytes", bound));
        }
        let held = Held {
            key: facts.key.clone(),
            adapter_id: facts.id().to_owned(),
            revision: facts.revision().to_owned(),
            bytes,
            users: Arc::default(),
            ready: Arc::default(),
            last_used: Instant::now(),
        };
        let used = AdapterUse { key: facts.key.clone(), count: JobCount::new(&held.users) };
        let ready = Arc::clone(&held.ready);
        let within = bound.min(entry.adapters.bytes().saturating_add(free));
        let Ok(leaving) = entry.adapters.put(held, within) else {
            let message = format!("there is no room for the adapter {} now", facts.id());
            return Err(Failure::new(Code::NoRoom, message)
                .at(facts.field)
                .number("needed_bytes", bytes)
                .number("free_bytes", within.saturating_sub(entry.adapters.bytes())));
        };
        entry.bytes.adapters = entry.adapters.bytes();
        let leaving = leaving.into_iter().map(|key| lane.discard(key)).collect();
        drop(state);
        self.notify();
        Ok(Place { lane, dtype, used, ready, leaving })
    }

    /// Takes an adapter off the books that did not come and that nobody else waits for.
    fn give_up_adapter(&self, number: u64, key: &AdapterKey, lane: &LaneHandle) {
        let mut state = self.lock();
        let Some(entry) = state.by_number(number) else { return };
        // The one that gives up is still counted.
        if entry.adapters.give_up(key, 1) {
            entry.bytes.adapters = entry.adapters.bytes();
            // It may have come after all, with nobody left to hear of it.
            drop(lane.discard(key.clone()));
            drop(state);
            self.notify();
        }
    }
}

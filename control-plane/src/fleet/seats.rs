//! The requests that wait here for room or a worker: how many, and for which models.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
};

use super::Fleet;
use crate::failure::{Code, Failure};

/// How many wait for each model.
#[derive(Default)]
pub(super) struct Wanted(Mutex<HashMap<String, u32>>);

impl Wanted {
    pub(super) fn of(&self, model_id: &str) -> u32 {
        let wanted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.get(model_id).copied().unwrap_or(0)
    }

    fn enter(&self, model_id: &str) {
        let mut wanted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *wanted.entry(model_id.to_owned()).or_default() += 1;
    }

    fn leave(&self, model_id: &str) {
        let mut wanted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = wanted.get_mut(model_id) {
            *count -= 1;
            if *count == 0 {
                wanted.remove(model_id);
            }
        }
    }
}

/// A place among the requests that wait here.
pub(super) struct Seat {
    fleet: Arc<Fleet>,
    model_id: String,
}

impl Seat {
    pub(super) fn take(fleet: &Arc<Fleet>, model_id: &str) -> Result<Self, Failure> {
        let limit = fleet.settings.waiting_limit;
        let taken = fleet.waiting.fetch_add(1, Ordering::Relaxed);
        fleet.wanted.enter(model_id);
        let seat = Self { fleet: fleet.clone(), model_id: model_id.to_owned() };
        if taken >= limit {
            let message = "too many requests wait for room";
            return Err(Failure::new(Code::Overloaded, message).with("limit", limit));
        }
        Ok(seat)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.fleet.waiting.fetch_sub(1, Ordering::Relaxed);
        self.fleet.wanted.leave(&self.model_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_wait_are_counted_by_model_and_forgotten() {
        let wanted = Wanted::default();
        wanted.enter("a");
        wanted.enter("a");
        wanted.enter("b");
        wanted.leave("a");
        assert_eq!((wanted.of("a"), wanted.of("b"), wanted.of("c")), (1, 1, 0));
        wanted.leave("b");
        assert_eq!(wanted.0.lock().unwrap().len(), 1);
    }
}

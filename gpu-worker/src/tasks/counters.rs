//! What a worker has done since its start.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

#[derive(Debug, Default)]
pub struct Counters {
    pub requests: AtomicU64,
    pub generated_tokens: AtomicU64,
    cancelled: AtomicU64,
    cancel_micros: AtomicU64,
    cancel_micros_max: AtomicU64,
}

/// How cancelled requests ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancels {
    pub count: u64,
    /// From the client's disappearance to the lane's letting go, summed.
    pub total: Duration,
    pub longest: Duration,
}

impl Counters {
    /// Counts a request whose lane let go of it `after` its client had gone.
    pub fn cancelled(&self, after: Duration) {
        let micros = after.as_micros() as u64;
        self.cancelled.fetch_add(1, Ordering::Relaxed);
        self.cancel_micros.fetch_add(micros, Ordering::Relaxed);
        self.cancel_micros_max.fetch_max(micros, Ordering::Relaxed);
    }

    pub fn cancels(&self) -> Cancels {
        Cancels {
            count: self.cancelled.load(Ordering::Relaxed),
            total: Duration::from_micros(self.cancel_micros.load(Ordering::Relaxed)),
            longest: Duration::from_micros(self.cancel_micros_max.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_cancel_stays() {
        let counters = Counters::default();
        for ms in [3, 9, 1] {
            counters.cancelled(Duration::from_millis(ms));
        }
        let expected = Cancels {
            count: 3,
            total: Duration::from_millis(13),
            longest: Duration::from_millis(9),
        };
        assert_eq!(counters.cancels(), expected);
    }
}

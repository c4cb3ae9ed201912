//! Requests that were being executed when a worker was lost: after two losses one is refused for a while, because it is
//! the likely cause. Pure: instants are arguments.
//!
//! A request is known by a digest of model, task, data type and input, so another request for the same model still runs.

use std::{collections::HashMap, time::Duration};

use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

/// Losses after which a request is refused.
const MOST_STRIKES: u32 = 2;
/// Requests kept in mind; beyond it the oldest are forgotten.
const MOST_KEPT: usize = 1024;

/// What a request is, whoever sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Each part with its length, so that parts cannot run into each other.
    pub(super) fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut digest = Sha256::new();
        for part in parts {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        Self(digest.finalize().into())
    }
}

struct Strikes {
    count: u32,
    newest: Instant,
}

/// The requests in mind. A request is forgotten when it caused nothing for the whole term.
pub(super) struct Quarantine {
    term: Duration,
    strikes: HashMap<Fingerprint, Strikes>,
}

impl Quarantine {
    pub(super) fn new(term: Duration) -> Self {
        Self { term, strikes: HashMap::new() }
    }

    /// A worker was lost while it executed the request.
    pub(super) fn strike(&mut self, request: Fingerprint, now: Instant) {
        let term = self.term;
        self.strikes.retain(|_, strikes| now.saturating_duration_since(strikes.newest) < term);
        if self.strikes.len() >= MOST_KEPT && !self.strikes.contains_key(&request) {
            let oldest = self.strikes.iter().min_by_key(|(_, strikes)| strikes.newest);
            if let Some(oldest) = oldest.map(|(&oldest, _)| oldest) {
                self.strikes.remove(&oldest);
            }
        }
        let strikes = self.strikes.entry(request).or_insert(Strikes { count: 0, newest: now });
        strikes.count += 1;
        strikes.newest = now;
    }

    /// For how long the request is still refused; `None` when it may run.
    pub(super) fn left(&self, request: Fingerprint, now: Instant) -> Option<Duration> {
        let strikes = self.strikes.get(&request).filter(|it| it.count >= MOST_STRIKES)?;
        let left = self.term.checked_sub(now.saturating_duration_since(strikes.newest))?;
        (!left.is_zero()).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM: Duration = Duration::from_secs(600);

    #[test]
    fn the_second_loss_refuses_that_request_and_no_other() {
        let mut quarantine = Quarantine::new(TERM);
        let (bad, good) =
            (Fingerprint::of([b"bad".as_slice()]), Fingerprint::of([b"good".as_slice()]));
        let now = Instant::now();
        quarantine.strike(bad, now);
        quarantine.strike(good, now);
        assert_eq!(quarantine.left(bad, now), None);
        quarantine.strike(bad, now + TERM / 2);
        assert_eq!(quarantine.left(bad, now + TERM), Some(TERM / 2));
        assert_eq!(quarantine.left(good, now + TERM / 2), None);
        // And after its term it may try again, with a clean record.
        assert_eq!(quarantine.left(bad, now + TERM * 3 / 2), None);
        quarantine.strike(bad, now + TERM * 2);
        assert_eq!(quarantine.left(bad, now + TERM * 2), None);
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let of = |parts: [&str; 2]| Fingerprint::of(parts.map(str::as_bytes));
        assert_ne!(of(["ab", "c"]), of(["a", "bc"]));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut quarantine = Quarantine::new(TERM);
        let now = Instant::now();
        for number in 0..2 * MOST_KEPT {
            quarantine.strike(Fingerprint::of([number.to_le_bytes().as_slice()]), now);
        }
        assert_eq!(quarantine.strikes.len(), MOST_KEPT);
    }
}

//! When a local worker that died is started again, and when it is given up. Pure: instants are arguments.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

const FIRST_BACK_OFF: Duration = Duration::from_millis(250);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(30);
/// A worker that lived this long starts again without delay.
const LONG_LIFE: Duration = Duration::from_secs(60);

/// How much dying is put up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    /// Deaths within the window after which a worker is given up; at least 1.
    pub limit: u32,
    pub window: Duration,
    /// How long a worker that was given up is left alone.
    pub pause: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self { limit: 8, window: Duration::from_secs(300), pause: Duration::from_secs(600) }
    }
}

/// What follows a death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Again { after: Duration },
    GivenUp { pause: Duration },
}

/// The deaths of one worker.
#[derive(Debug)]
pub(super) struct Deaths {
    policy: RestartPolicy,
    recent: VecDeque<Instant>,
    back_off: Duration,
}

impl Deaths {
    pub(super) fn new(policy: RestartPolicy) -> Self {
        Self { policy, recent: VecDeque::new(), back_off: FIRST_BACK_OFF }
    }

    /// The worker died at `now`, having lived for `lived`.
    pub(super) fn died(&mut self, lived: Duration, now: Instant) -> Verdict {
        let window = self.policy.window;
        self.recent.retain(|&at| now.saturating_duration_since(at) < window);
        self.recent.push_back(now);
        if self.recent.len() >= self.policy.limit.max(1) as usize {
            self.forgive();
            return Verdict::GivenUp { pause: self.policy.pause };
        }
        if lived >= LONG_LIFE {
            self.back_off = FIRST_BACK_OFF;
        }
        let after = self.back_off;
        self.back_off = (after * 2).min(LONGEST_BACK_OFF);
        Verdict::Again { after }
    }

    /// After a pause or an operator's word it counts from the beginning.
    pub(super) fn forgive(&mut self) {
        self.recent.clear();
        self.back_off = FIRST_BACK_OFF;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn policy(limit: u32) -> RestartPolicy {
        RestartPolicy { limit, window: 100 * SECOND, pause: 500 * SECOND }
    }

    #[test]
    fn back_off_doubles_and_a_long_life_resets_it() {
        let mut deaths = Deaths::new(policy(100));
        let now = Instant::now();
        let mut after = |lived| match deaths.died(lived, now) {
            Verdict::Again { after } => after,
            Verdict::GivenUp { .. } => panic!("given up"),
        };
        assert_eq!([after(SECOND), after(SECOND)], [FIRST_BACK_OFF, FIRST_BACK_OFF * 2]);
        assert_eq!(after(LONG_LIFE), FIRST_BACK_OFF);
        for _ in 0..20 {
            after(SECOND);
        }
        assert_eq!(after(SECOND), LONGEST_BACK_OFF);
    }

    #[test]
    fn so_many_deaths_within_the_window_are_too_many_and_older_ones_are_forgotten() {
        let mut deaths = Deaths::new(policy(3));
        let start = Instant::now();
        let mut at = |seconds| deaths.died(SECOND, start + seconds * SECOND);
        assert!(matches!(at(0), Verdict::Again { .. }));
        assert!(matches!(at(50), Verdict::Again { .. }));
        // The first one is out of the window by now.
        assert!(matches!(at(101), Verdict::Again { .. }));
        assert_eq!(at(102), Verdict::GivenUp { pause: 500 * SECOND });
        // It was left alone, and starts with a clean record.
        assert!(matches!(at(700), Verdict::Again { .. }));
    }

    proptest! {
        #[test]
        fn never_more_restarts_within_a_window_than_the_limit_allows(
            limit in 1_u32..6, gaps in proptest::collection::vec(0_u32..60, 1..60),
        ) {
            let mut deaths = Deaths::new(policy(limit));
            let mut now = Instant::now();
            let mut restarts: Vec<Instant> = Vec::new();
            for gap in gaps {
                now += gap * SECOND;
                match deaths.died(SECOND, now) {
                    Verdict::Again { .. } => restarts.push(now),
                    Verdict::GivenUp { .. } => restarts.clear(),
                }
                let within = restarts.iter().filter(|&&at| now.duration_since(at) < 100 * SECOND);
                prop_assert!(within.count() < limit as usize);
            }
        }
    }
}

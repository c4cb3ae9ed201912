//! How long a lane's steps take, learned from those it has run.

use std::{collections::BTreeMap, time::Duration};

/// Work of steps by the power of two of their size. Work is the time that one thread, or the device, would take.
#[derive(Debug, Default)]
pub(super) struct Costs(BTreeMap<u32, Duration>);

impl Costs {
    /// Work of a step of that size; `None` before there was any step.
    pub(super) fn expect(&self, size: usize) -> Option<Duration> {
        let class = class(size);
        if let Some((&below, &work)) = self.0.range(..=class).next_back() {
            return Some(work.saturating_mul(1 << (class - below).min(31)));
        }
        // Smaller than anything seen: certainly no longer than the smallest.
        self.0.values().next().copied()
    }

    pub(super) fn learn(&mut self, size: usize, work: Duration) {
        // Half of what is known: a single hiccup is forgotten after two steps, a change believed as fast.
        self.0.entry(class(size)).and_modify(|known| *known = (*known + work) / 2).or_insert(work);
    }
}

fn class(size: usize) -> u32 {
    size.max(1).ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn unknown_sizes_are_scaled_up_and_never_down() {
        let mut costs = Costs::default();
        assert_eq!(costs.expect(64), None);
        costs.learn(64, 8 * MS);
        assert_eq!(costs.expect(100), Some(8 * MS));
        assert_eq!(costs.expect(256), Some(32 * MS));
        assert_eq!(costs.expect(1), Some(8 * MS));
    }

    #[test]
    fn a_step_that_became_heavy_is_believed_at_once() {
        let mut costs = Costs::default();
        costs.learn(1, 10 * MS);
        costs.learn(1, 200 * MS);
        assert_eq!(costs.expect(1), Some(105 * MS));
    }
}

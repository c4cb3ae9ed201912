//! A queue in which higher priority goes first, then the tenant that has had least, then whoever came first.
//!
//! Pure, with the time as an argument.

use std::{collections::VecDeque, time::Instant};

use super::{job::Tenant, shares::Shares};

/// Something that waits.
pub struct Entry<T> {
    pub tenant: Tenant,
    /// Higher goes first.
    pub priority: i32,
    /// What it is charged when it is taken, in the queue's own unit.
    pub cost: f64,
    pub item: T,
}

pub struct FairQueue<T> {
    entries: VecDeque<Entry<T>>,
    shares: Shares<Tenant>,
}

impl<T> FairQueue<T> {
    pub fn new() -> Self {
        Self { entries: VecDeque::new(), shares: Shares::default() }
    }

    pub fn push(&mut self, entry: Entry<T>) {
        self.entries.push_back(entry);
    }

    /// The place of the one whose turn it is.
    pub fn next(&mut self, now: Instant) -> Option<usize> {
        let priority = self.entries.iter().map(|entry| entry.priority).max()?;
        for entry in &self.entries {
            self.shares.arrive(&entry.tenant, now);
        }
        let turn = |(_, entry): &(usize, &Entry<T>)| self.shares.served(&entry.tenant);
        let waiting = self.entries.iter().enumerate();
        let of_highest = waiting.filter(|(_, entry)| entry.priority == priority);
        // Of equals the first one stays, which came first.
        of_highest.min_by(|a, b| turn(a).total_cmp(&turn(b))).map(|(at, _)| at)
    }

    pub fn get(&self, at: usize) -> Option<&T> {
        self.entries.get(at).map(|entry| &entry.item)
    }

    /// Takes one out without charging its tenant.
    pub fn remove(&mut self, at: usize) -> Option<T> {
        self.entries.remove(at).map(|entry| entry.item)
    }

    /// Takes one out for service.
    pub fn take(&mut self, at: usize, now: Instant) -> Option<T> {
        let entry = self.entries.remove(at)?;
        self.shares.charge(&entry.tenant, entry.cost, now);
        Some(entry.item)
    }

    /// Gives back what a request was charged and did not use.
    pub fn refund(&mut self, tenant: &Tenant, cost: f64, now: Instant) {
        self.shares.charge(tenant, -cost, now);
    }

    pub fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.entries.retain(|entry| keep(&entry.item));
    }

    pub fn drain(&mut self) -> impl Iterator<Item = T> {
        std::mem::take(&mut self.entries).into_iter().map(|entry| entry.item)
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use proptest::prelude::*;

    use super::*;

    fn entry(tenant: &str, priority: i32, cost: f64, item: u32) -> Entry<u32> {
        Entry { tenant: tenant.into(), priority, cost, item }
    }

    #[test]
    fn one_tenant_is_served_in_order_of_arrival_within_a_priority() {
        let (mut queue, now) = (FairQueue::new(), Instant::now());
        for (priority, item) in [(0, 1), (5, 2), (0, 3), (5, 4)] {
            queue.push(entry("", priority, 1.0, item));
        }
        let order: Vec<u32> = std::iter::from_fn(|| {
            let at = queue.next(now)?;
            queue.take(at, now)
        })
        .collect();
        assert_eq!(order, [2, 4, 1, 3]);
    }

    #[test]
    fn what_was_not_used_is_given_back() {
        let (mut queue, now) = (FairQueue::new(), Instant::now());
        for item in 0..2 {
            queue.push(entry("long", 0, 100.0, item));
            queue.push(entry("short", 0, 10.0, 10 + item));
        }
        let take = |queue: &mut FairQueue<u32>| {
            let at = queue.next(now).unwrap();
            queue.take(at, now).unwrap()
        };
        assert_eq!((take(&mut queue), take(&mut queue)), (0, 10));
        queue.refund(&"long".into(), 95.0, now);
        assert_eq!(take(&mut queue), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        /// Demand of 1 : 1 : 8 and slots for half of it, costs at random: equal service while all wait.
        #[test]
        fn three_tenants_that_ask_one_one_eight_are_served_equally(
            costs in prop::collection::vec(1.0..20.0_f64, 97),
            slots in 1_usize..16,
        ) {
            let (mut queue, mut now) = (FairQueue::new(), Instant::now());
            let mut costs = costs.into_iter().cycle();
            let mut served: BTreeMap<String, f64> = BTreeMap::new();
            let mut running: VecDeque<(String, f64)> = VecDeque::new();
            for round in 0..1200_u32 {
                for tenant in ["a", "b", "c", "c", "c", "c", "c", "c", "c", "c"] {
                    if round.is_multiple_of(2) {
                        let cost = costs.next().unwrap();
                        queue.push(entry(tenant, 0, cost, 0));
                    }
                }
                now += Duration::from_millis(1);
                // One ends, and its slot goes to whose turn it is. A third of each demand is what there is.
                if running.len() >= slots {
                    running.pop_front();
                }
                let at = queue.next(now).unwrap();
                let (tenant, cost) = (queue.entries[at].tenant.to_string(), queue.entries[at].cost);
                queue.take(at, now);
                *served.entry(tenant.clone()).or_default() += cost;
                running.push_back((tenant, cost));
                // Nobody's queue grows without end in this test.
                while queue.len() > 600 {
                    let last = queue.entries.iter().rposition(|entry| &*entry.tenant == "c");
                    queue.remove(last.unwrap());
                }
            }
            let mean = served.values().sum::<f64>() / 3.0;
            for (tenant, had) in served {
                prop_assert!((had / mean - 1.0).abs() <= 0.1, "{tenant} had {had}, the mean is {mean}");
            }
        }
    }
}

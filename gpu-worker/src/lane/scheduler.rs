//! Who may use the device next: a permit per step, shared fairly among the lanes that want it.
//!
//! On a CPU there are as many permits as cores, and a step takes its intra-op threads as permits: an idle machine
//! gives all cores to one step, a busy one never oversubscribes. A lane that worked a moment ago counts as active
//! even while it prepares its next step, so two busy lanes run side by side on half of the cores each rather than
//! in turns on all of them. Among those that wait, higher priority goes first, then the lane that has had least of
//! the device (start-time fair queueing in thread-microseconds).

use std::{
    collections::BTreeMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long after its last step a lane still counts as active.
const ACTIVE_WINDOW: Duration = Duration::from_millis(50);

pub type LaneId = u64;

/// What a step wants.
#[derive(Clone, Copy, Debug)]
pub struct Want {
    /// Higher goes first.
    pub priority: i32,
    /// More threads than this are no use for the step.
    pub max_threads: usize,
}

/// The policy: pure, with time as an argument.
#[derive(Debug)]
struct Policy {
    free: usize,
    total: usize,
    /// The virtual time of the newest grant; lanes that come back from idleness start here.
    virtual_time: f64,
    lanes: BTreeMap<LaneId, LaneState>,
}

#[derive(Debug, Default)]
struct LaneState {
    served: f64,
    waiting: Option<Want>,
    holds: usize,
    last_step: Option<Instant>,
}

impl LaneState {
    fn is_active(&self, now: Instant) -> bool {
        self.waiting.is_some()
            || self.holds > 0
            || self.last_step.is_some_and(|last| now.duration_since(last) < ACTIVE_WINDOW)
    }
}

impl Policy {
    fn new(total: usize) -> Self {
        Self { free: total, total, virtual_time: 0.0, lanes: BTreeMap::new() }
    }

    fn wait(&mut self, lane: LaneId, want: Want) {
        let start = self.virtual_time;
        let state = self.lanes.entry(lane).or_default();
        state.served = state.served.max(start);
        state.waiting = Some(want);
    }

    /// Threads for `lane` if it is its turn now.
    fn grant(&mut self, lane: LaneId, now: Instant) -> Option<usize> {
        if self.free == 0 || self.next() != Some(lane) {
            return None;
        }
        let active = self.lanes.values().filter(|state| state.is_active(now)).count().max(1);
        let share = (self.total / active).max(1);
        let state = self.lanes.get_mut(&lane)?;
        let want = state.waiting.take()?;
        let threads = share.min(self.free).min(want.max_threads.max(1));
        state.holds = threads;
        self.virtual_time = self.virtual_time.max(state.served);
        self.free -= threads;
        Some(threads)
    }

    /// The lane whose turn it is.
    fn next(&self) -> Option<LaneId> {
        let waiting = self
            .lanes
            .iter()
            .filter_map(|(&id, state)| state.waiting.map(|want| (id, want, state.served)));
        waiting
            .min_by(|(_, a, a_served), (_, b, b_served)| {
                b.priority.cmp(&a.priority).then(a_served.total_cmp(b_served))
            })
            .map(|(id, _, _)| id)
    }

    fn release(&mut self, lane: LaneId, took: Duration, now: Instant) {
        if let Some(state) = self.lanes.get_mut(&lane) {
            state.served += took.as_secs_f64() * 1e6 * state.holds as f64;
            self.free += state.holds;
            state.holds = 0;
            state.last_step = Some(now);
        }
    }
}

/// The scheduler of one device, shared by its lanes.
#[derive(Clone)]
pub struct Scheduler(Arc<Shared>);

struct Shared {
    policy: Mutex<Policy>,
    changed: Condvar,
}

impl Scheduler {
    /// `permits`: cores on a CPU.
    pub fn new(permits: usize) -> Self {
        Self(Arc::new(Shared {
            policy: Mutex::new(Policy::new(permits.max(1))),
            changed: Condvar::new(),
        }))
    }

    /// Blocks the lane until it is its turn.
    pub fn acquire(&self, lane: LaneId, want: Want) -> Permit<'_> {
        let mut policy = self.lock();
        policy.wait(lane, want);
        loop {
            if let Some(threads) = policy.grant(lane, Instant::now()) {
                // Permits may be left for the next in line.
                self.0.changed.notify_all();
                return Permit { scheduler: self, lane, threads, since: Instant::now() };
            }
            policy = self.0.changed.wait(policy).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Permits there are in all.
    pub fn permits(&self) -> usize {
        self.lock().total
    }

    /// Forgets a lane that has ended.
    pub fn forget(&self, lane: LaneId) {
        self.lock().lanes.remove(&lane);
    }

    fn lock(&self) -> MutexGuard<'_, Policy> {
        self.0.policy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to run one step on `threads` threads, until it is dropped.
pub struct Permit<'a> {
    scheduler: &'a Scheduler,
    lane: LaneId,
    pub threads: usize,
    since: Instant,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.scheduler.lock().release(self.lane, self.since.elapsed(), Instant::now());
        self.scheduler.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NORMAL: Want = Want { priority: 0, max_threads: usize::MAX };

    #[test]
    fn one_lane_on_an_idle_machine_gets_every_core() {
        let mut policy = Policy::new(8);
        policy.wait(1, NORMAL);
        assert_eq!(policy.grant(1, Instant::now()), Some(8));
    }

    #[test]
    fn two_busy_lanes_share_the_cores_and_never_oversubscribe() {
        let mut policy = Policy::new(8);
        policy.wait(1, NORMAL);
        policy.wait(2, NORMAL);
        let now = Instant::now();
        assert_eq!(policy.grant(1, now), Some(4));
        assert_eq!(policy.grant(2, now), Some(4));
        policy.wait(3, NORMAL);
        assert_eq!(policy.grant(3, now), None);
    }

    #[test]
    fn a_lane_between_two_steps_still_counts() {
        let mut policy = Policy::new(2);
        let now = Instant::now();
        policy.wait(1, NORMAL);
        policy.grant(1, now);
        policy.release(1, Duration::from_millis(1), now);
        policy.wait(2, NORMAL);
        assert_eq!(policy.grant(2, now), Some(1));
        policy.release(2, Duration::from_millis(1), now);
        policy.wait(2, NORMAL);
        assert_eq!(policy.grant(2, now + ACTIVE_WINDOW), Some(2));
    }

    #[test]
    fn the_lane_that_had_less_goes_first() {
        let mut policy = Policy::new(1);
        let now = Instant::now();
        policy.wait(1, NORMAL);
        policy.grant(1, now);
        policy.release(1, Duration::from_millis(100), now);
        policy.wait(1, NORMAL);
        policy.wait(2, NORMAL);
        assert_eq!(policy.grant(1, now), None);
        assert_eq!(policy.grant(2, now), Some(1));
    }

    #[test]
    fn higher_priority_goes_first_whatever_it_had() {
        let mut policy = Policy::new(1);
        let now = Instant::now();
        policy.wait(1, NORMAL);
        policy.grant(1, now);
        policy.release(1, Duration::from_millis(100), now);
        policy.wait(2, NORMAL);
        policy.wait(1, Want { priority: 1, ..NORMAL });
        assert_eq!(policy.grant(1, now), Some(1));
    }

    #[test]
    fn a_lane_back_from_idleness_has_no_credit_for_it() {
        let mut policy = Policy::new(1);
        let now = Instant::now();
        for _ in 0..10 {
            policy.wait(1, NORMAL);
            policy.grant(1, now);
            policy.release(1, Duration::from_millis(10), now);
        }
        policy.wait(2, NORMAL);
        assert!(policy.lanes[&2].served >= 90_000.0);
    }

    #[test]
    fn permits_hand_over_between_threads() {
        let scheduler = Scheduler::new(2);
        std::thread::scope(|scope| {
            for lane in 0..4 {
                let scheduler = scheduler.clone();
                scope.spawn(move || {
                    for _ in 0..50 {
                        let permit = scheduler.acquire(lane, NORMAL);
                        assert!((1..=2).contains(&permit.threads));
                    }
                });
            }
        });
        assert_eq!(scheduler.lock().free, 2);
    }
}

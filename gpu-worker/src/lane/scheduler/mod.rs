//! Who may use the device next: a permit per step, shared fairly among the tenants and lanes that want it.
//!
//! The policy is pure (`policy.rs`); here is what makes lanes wait for it.

mod costs;
mod crowding;
mod policy;
#[cfg(test)]
mod policy_tests;
#[cfg(test)]
mod simulation;

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

pub use self::policy::{Grant, LaneId};
use self::policy::{Policy, Rule};
use crate::tasks::Ask;

/// The scheduler of one device, shared by its lanes.
#[derive(Clone)]
pub struct Scheduler(Arc<Shared>);

struct Shared {
    policy: Mutex<Policy>,
    changed: Condvar,
    cores: usize,
}

impl Scheduler {
    /// Of a CPU with so many cores.
    pub fn of_cores(cores: usize) -> Self {
        Self::new(Rule::Cores(cores.max(1)), cores)
    }

    /// Of a GPU, in a machine with so many cores.
    pub fn of_gpu(cores: usize) -> Self {
        Self::new(Rule::Streams, cores)
    }

    fn new(rule: Rule, cores: usize) -> Self {
        let policy = Mutex::new(Policy::new(rule));
        Self(Arc::new(Shared { policy, changed: Condvar::new(), cores: cores.max(1) }))
    }

    /// Blocks the lane until it is its turn.
    pub fn acquire(&self, lane: LaneId, ask: Ask) -> Permit<'_> {
        let mut policy = self.lock();
        policy.wait(lane, ask, Instant::now());
        loop {
            if let Some(grant) = policy.grant(lane, Instant::now()) {
                let measures_threads = matches!(policy.rule, Rule::Cores(_));
                // Permits may be left for the next in line.
                self.0.changed.notify_all();
                let clock =
                    if measures_threads { Clock::thread() } else { Clock::Wall(Instant::now()) };
                return Permit { scheduler: self, lane, grant, clock, begun: Instant::now() };
            }
            policy = self.0.changed.wait(policy).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Cores of the machine: the most threads that a step may have.
    pub fn cores(&self) -> usize {
        self.0.cores
    }

    /// Forgets a lane that has ended.
    pub fn forget(&self, lane: LaneId) {
        self.lock().forget(lane);
        self.0.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Policy> {
        self.0.policy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the work of a step is measured with.
#[derive(Clone, Copy)]
enum Clock {
    /// Time that this thread computed, whoever else was on its core.
    Thread(Duration),
    Wall(Instant),
}

impl Clock {
    fn thread() -> Self {
        Self::Thread(thread_time())
    }

    fn elapsed(self) -> Duration {
        match self {
            Self::Thread(since) => thread_time().saturating_sub(since),
            Self::Wall(since) => since.elapsed(),
        }
    }
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// The right to run one step, until it is dropped; by then the device must have completed the step. It stays on the
/// thread that got it.
pub struct Permit<'a> {
    scheduler: &'a Scheduler,
    lane: LaneId,
    pub grant: Grant,
    clock: Clock,
    begun: Instant,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let computed = self.clock.elapsed();
        let work = computed * u32::try_from(self.grant.threads).unwrap_or(u32::MAX);
        let now = Instant::now();
        let mut policy = self.scheduler.lock();
        policy.release(self.lane, work, now);
        policy.crowding.learn(self.grant.threads, computed, now.duration_since(self.begun), now);
        drop(policy);
        self.scheduler.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_hand_over_between_threads() {
        let scheduler = Scheduler::of_cores(2);
        std::thread::scope(|scope| {
            for lane in 0..4 {
                let scheduler = scheduler.clone();
                scope.spawn(move || {
                    for _ in 0..50 {
                        let ask = Ask { priority: 0, size: 1, tenants: vec![("".into(), 1.0)] };
                        let permit = scheduler.acquire(lane, ask);
                        assert!((1..=2).contains(&permit.grant.threads));
                    }
                });
            }
        });
    }
}

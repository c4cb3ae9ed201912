//! How many threads a step may have beside other processes: the policy, with the time as an argument.
//!
//! The threads of a step wait for one another many times. Where another process takes a core, all of them wait until it
//! lets go, so one thread less is faster. It shows in the step itself: its own thread then computes for a small part of
//! the time only.

use std::time::{Duration, Instant};

/// Below this share of computing, steps are held up.
const HELD_UP: f64 = 0.75;
/// A step with one thread more that computes for at least this share of its time shows that the core is free again.
const FREE: f64 = 0.88;
/// How long it takes to believe what steps show. A single hiccup changes nothing, a long step that was held up is no hiccup.
const BELIEVED_AFTER: Duration = Duration::from_millis(80);
/// After a thread was taken away, and after a vain try to give it back, a longer and longer pause.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
/// That pause lasts for at least so many steps, since each vain try costs about one.
const STEPS_BETWEEN_TRIES: u32 = 8;
/// Steps below this are too short to tell.
const SHORTEST: Duration = Duration::from_micros(500);

#[derive(Debug)]
pub(super) struct Crowding {
    cores: usize,
    limit: usize,
    /// Part of the time of steps with `limit` threads in which their own thread computed.
    share: f64,
    /// When one thread more is tried next.
    try_at: Option<Instant>,
    pause: Duration,
}

impl Crowding {
    pub(super) fn new(cores: usize) -> Self {
        Self { cores, limit: cores, share: 1.0, try_at: None, pause: FIRST_PAUSE }
    }

    /// The most threads that a step may have now.
    pub(super) fn limit(&self, now: Instant) -> usize {
        if self.try_at.is_some_and(|at| now >= at) { self.limit + 1 } else { self.limit }
    }

    /// A step with so many threads has ended after `took`; its own thread computed for `computed` of that.
    pub(super) fn learn(
        &mut self,
        threads: usize,
        computed: Duration,
        took: Duration,
        now: Instant,
    ) {
        if took < SHORTEST || threads < 2 || threads < self.limit {
            return;
        }
        let share = computed.as_secs_f64() / took.as_secs_f64();
        if threads > self.limit {
            self.end_try(share, threads, took, now);
            return;
        }
        let newest = 1.0 - (-took.as_secs_f64() / BELIEVED_AFTER.as_secs_f64()).exp();
        self.share += newest * (share - self.share);
        if self.share < HELD_UP {
            self.limit -= 1;
            self.share = 1.0;
            self.try_at = Some(now + self.pause.max(STEPS_BETWEEN_TRIES * took));
        }
    }

    fn end_try(&mut self, share: f64, threads: usize, took: Duration, now: Instant) {
        if share < FREE {
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            self.try_at = Some(now + self.pause.max(STEPS_BETWEEN_TRIES * took));
            return;
        }
        self.limit = threads.min(self.cores);
        self.share = 1.0;
        self.pause = FIRST_PAUSE;
        self.try_at = (self.limit < self.cores).then_some(now + self.pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Steps of 10 ms for so long, beside others that take `taken` of the cores.
    fn run(crowding: &mut Crowding, now: &mut Instant, steps: usize, taken: usize) -> Vec<usize> {
        let one = |_| {
            let threads = crowding.limit(*now);
            let is_held_up = threads + taken > crowding.cores;
            *now += 10 * MS;
            let computed = if is_held_up { 4 * MS } else { 10 * MS };
            crowding.learn(threads, computed, 10 * MS, *now);
            threads
        };
        (0..steps).map(one).collect()
    }

    #[test]
    fn alone_a_step_keeps_every_core() {
        let (mut crowding, mut now) = (Crowding::new(4), Instant::now());
        assert!(run(&mut crowding, &mut now, 100, 0).iter().all(|&threads| threads == 4));
    }

    #[test]
    fn one_hiccup_changes_nothing() {
        let (mut crowding, mut now) = (Crowding::new(2), Instant::now());
        run(&mut crowding, &mut now, 1, 1);
        assert!(run(&mut crowding, &mut now, 50, 0).iter().all(|&threads| threads == 2));
    }

    #[test]
    fn beside_a_neighbour_a_step_leaves_it_a_core_and_tries_more_and_more_rarely() {
        let (mut crowding, mut now) = (Crowding::new(2), Instant::now());
        run(&mut crowding, &mut now, 10, 1);
        assert_eq!(crowding.limit(now), 1);
        let threads = run(&mut crowding, &mut now, 2000, 1);
        let tries = threads.iter().filter(|&&threads| threads == 2).count();
        assert!((3..=12).contains(&tries), "{tries}");
    }

    #[test]
    fn a_long_step_that_was_held_up_is_enough() {
        let (mut crowding, now) = (Crowding::new(2), Instant::now());
        crowding.learn(2, 160 * MS, 400 * MS, now);
        assert_eq!(crowding.limit(now + 3000 * MS), 1);
        assert_eq!(crowding.limit(now + 3200 * MS), 2);
    }

    #[test]
    fn when_the_neighbour_has_left_every_core_comes_back() {
        let (mut crowding, mut now) = (Crowding::new(8), Instant::now());
        run(&mut crowding, &mut now, 1000, 5);
        assert_eq!(crowding.limit, 3);
        run(&mut crowding, &mut now, 1000, 0);
        assert_eq!(crowding.limit(now), 8);
    }

    #[test]
    fn a_step_that_had_fewer_threads_for_other_reasons_says_nothing() {
        let (mut crowding, now) = (Crowding::new(8), Instant::now());
        (0..100).for_each(|_| crowding.learn(4, MS, 10 * MS, now));
        assert_eq!(crowding.limit(now), 8);
    }
}

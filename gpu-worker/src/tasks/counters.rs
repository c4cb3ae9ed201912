//! What a worker has done since its start.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::distribution::Distribution;

/// Upper bounds of the buckets of the time from a client's disappearance to the end of its work, in seconds.
pub const CANCEL_BOUNDS: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Upper bounds of the age of a model that leaves, in seconds.
pub const AGE_BOUNDS: [f64; 10] =
    [1.0, 10.0, 30.0, 60.0, 300.0, 600.0, 1_800.0, 3_600.0, 21_600.0, 86_400.0];

/// Upper bounds of what takes part in a step.
pub const BATCH_BOUNDS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

#[derive(Debug)]
pub struct Counters {
    pub requests: AtomicU64,
    pub generated_tokens: AtomicU64,
    /// Texts that went on from what was kept of earlier ones.
    pub prefix_hits: AtomicU64,
    /// Tokens that were not read for that reason.
    pub prefix_tokens: AtomicU64,
    cancelled: AtomicU64,
    cancel_micros: AtomicU64,
    cancel_micros_max: AtomicU64,
    /// How many ended within each of [`CANCEL_BOUNDS`]; the last place has those beyond.
    cancel_buckets: [AtomicU64; CANCEL_BOUNDS.len() + 1],
    late_steps: AtomicU64,
    late_steps_max: AtomicU64,
    load_failures: Names,
    evictions: Names,
    /// From ready to leaving, in seconds.
    pub ages: Distribution,
    /// Requests or rows in a step.
    pub batches: Distribution,
}

/// Counts by name.
#[derive(Debug, Default)]
struct Names(Mutex<BTreeMap<String, u64>>);

impl Names {
    fn count(&self, name: &str) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *names.entry(name.to_owned()).or_default() += 1;
    }

    fn all(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            requests: AtomicU64::default(),
            generated_tokens: AtomicU64::default(),
            prefix_hits: AtomicU64::default(),
            prefix_tokens: AtomicU64::default(),
            cancelled: AtomicU64::default(),
            cancel_micros: AtomicU64::default(),
            cancel_micros_max: AtomicU64::default(),
            cancel_buckets: Default::default(),
            late_steps: AtomicU64::default(),
            late_steps_max: AtomicU64::default(),
            load_failures: Names::default(),
            evictions: Names::default(),
            ages: Distribution::new(&AGE_BOUNDS),
            batches: Distribution::new(&BATCH_BOUNDS),
        }
    }
}

/// How cancelled requests ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Cancels {
    pub count: u64,
    /// From the client's disappearance to the lane's letting go, summed.
    pub total: Duration,
    pub longest: Duration,
    /// Not cumulative; one more than [`CANCEL_BOUNDS`].
    pub buckets: Vec<u64>,
    /// Steps that ended after the client of a request in them had left, summed over requests.
    pub late_steps: u64,
    /// The most of any one request.
    pub late_steps_max: u64,
}

impl Counters {
    /// Counts a request that was let go of `after` its client had gone.
    pub fn cancelled(&self, after: Duration) {
        let (micros, seconds) = (after.as_micros() as u64, after.as_secs_f64());
        self.cancelled.fetch_add(1, Ordering::Relaxed);
        self.cancel_micros.fetch_add(micros, Ordering::Relaxed);
        self.cancel_micros_max.fetch_max(micros, Ordering::Relaxed);
        let bucket = CANCEL_BOUNDS.partition_point(|&bound| bound < seconds);
        self.cancel_buckets[bucket].fetch_add(1, Ordering::Relaxed);
        metrics::histogram!("inference_cancel_seconds").record(seconds);
    }

    /// Counts a step that ended after the client of a request in it had left; it is that request's `nth` such step.
    pub fn late_step(&self, nth: u64) {
        self.late_steps.fetch_add(1, Ordering::Relaxed);
        self.late_steps_max.fetch_max(nth, Ordering::Relaxed);
    }

    /// Counts a text that goes on from so many tokens of earlier ones.
    pub fn prefix_hit(&self, tokens: usize) {
        self.prefix_hits.fetch_add(1, Ordering::Relaxed);
        self.prefix_tokens.fetch_add(tokens as u64, Ordering::Relaxed);
    }

    /// Counts a load that failed with this code.
    pub fn load_failed(&self, code: &str) {
        self.load_failures.count(code);
        metrics::counter!("model_load_failures_total", "reason" => code.to_owned()).increment(1);
    }

    /// Counts a model that left; `age` is how long it had been ready, if it ever was.
    pub fn evicted(&self, reason: &str, age: Option<Duration>) {
        self.evictions.count(reason);
        metrics::counter!("model_evictions_total", "reason" => reason.to_owned()).increment(1);
        if let Some(age) = age {
            self.ages.record(age.as_secs_f64());
            metrics::histogram!("model_age_at_eviction_seconds").record(age.as_secs_f64());
        }
    }

    /// Counts a step in which so many requests, or rows of requests, took part.
    pub fn stepped(&self, size: usize) {
        self.batches.record(size as f64);
        metrics::histogram!("inference_batch_size").record(size as f64);
    }

    /// Failed loads by code.
    pub fn load_failures(&self) -> BTreeMap<String, u64> {
        self.load_failures.all()
    }

    /// Models that left, by reason.
    pub fn evictions(&self) -> BTreeMap<String, u64> {
        self.evictions.all()
    }

    pub fn cancels(&self) -> Cancels {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Cancels {
            count: read(&self.cancelled),
            total: Duration::from_micros(read(&self.cancel_micros)),
            longest: Duration::from_micros(read(&self.cancel_micros_max)),
            buckets: self.cancel_buckets.iter().map(read).collect(),
            late_steps: read(&self.late_steps),
            late_steps_max: read(&self.late_steps_max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cancels_are_summed_sorted_into_buckets_and_the_longest_stays() {
        let counters = Counters::default();
        for ms in [3, 9, 1, 60_000] {
            counters.cancelled(Duration::from_millis(ms));
        }
        let cancels = counters.cancels();
        assert_eq!((cancels.count, cancels.total), (4, Duration::from_millis(60_013)));
        assert_eq!(cancels.longest, Duration::from_secs(60));
        assert_eq!(cancels.buckets, [1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn late_steps_are_summed_and_the_most_of_one_request_stays() {
        let counters = Counters::default();
        for nth in [1, 1, 2, 1] {
            counters.late_step(nth);
        }
        let cancels = counters.cancels();
        assert_eq!((cancels.late_steps, cancels.late_steps_max), (4, 2));
    }
}

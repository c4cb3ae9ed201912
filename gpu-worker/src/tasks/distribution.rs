//! Observations counted by size, for histograms that go out with the status.

use std::sync::atomic::{AtomicU64, Ordering};

use proto::Histogram;

/// Counts of observations within each of its bounds. Sums are kept in millionths.
#[derive(Debug)]
pub struct Distribution {
    bounds: &'static [f64],
    /// Not cumulative; the last place has those beyond every bound.
    counts: Vec<AtomicU64>,
    millionths: AtomicU64,
}

impl Distribution {
    /// `bounds` rise.
    pub fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, millionths: AtomicU64::new(0) }
    }

    pub fn record(&self, value: f64) {
        let place = self.bounds.partition_point(|&bound| bound < value);
        self.counts[place].fetch_add(1, Ordering::Relaxed);
        self.millionths.fetch_add((value * 1e6) as u64, Ordering::Relaxed);
    }

    pub fn message(&self) -> Histogram {
        Histogram {
            bounds: self.bounds.to_vec(),
            counts: self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect(),
            sum: self.millionths.load(Ordering::Relaxed) as f64 / 1e6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket_and_what_is_beyond_is_counted_last() {
        let distribution = Distribution::new(&[1.0, 4.0]);
        for value in [0.5, 1.0, 1.5, 4.0, 9.0] {
            distribution.record(value);
        }
        let message = distribution.message();
        assert_eq!((message.counts, message.sum), (vec![2, 2, 1], 16.0));
    }
}

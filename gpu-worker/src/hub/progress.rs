//! Byte progress of a download.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// How far the download of a set of files is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DownloadProgress {
    /// Bytes that are in the cache, those that were there before included.
    pub done_bytes: u64,
    pub total_bytes: u64,
    /// Over the last seconds; `None` until something arrived.
    pub bytes_per_second: Option<f64>,
}

const WINDOW: Duration = Duration::from_secs(5);

/// Rate over a sliding window.
pub(super) struct RateMeter {
    samples: VecDeque<(Instant, u64)>,
}

impl RateMeter {
    pub(super) fn new(now: Instant, done_bytes: u64) -> Self {
        Self { samples: VecDeque::from([(now, done_bytes)]) }
    }

    /// Bytes per second since the oldest sample of the window.
    pub(super) fn rate(&mut self, now: Instant, done_bytes: u64) -> Option<f64> {
        self.samples.push_back((now, done_bytes));
        while self.samples.len() > 2 && now - self.samples[1].0 >= WINDOW {
            self.samples.pop_front();
        }
        let (then, before) = self.samples[0];
        let seconds = (now - then).as_secs_f64();
        let bytes = done_bytes.saturating_sub(before);
        (seconds > 0.0 && bytes > 0).then(|| bytes as f64 / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_forgets_what_is_older_than_the_window() {
        let start = Instant::now();
        let mut meter = RateMeter::new(start, 100);
        assert_eq!(meter.rate(start, 100), None);
        assert_eq!(meter.rate(start + Duration::from_secs(1), 1_100), Some(1_000.0));
        for second in 2..20 {
            meter.rate(start + Duration::from_secs(second), 1_100 + 10 * (second - 1));
        }
        assert_eq!(meter.rate(start + Duration::from_secs(20), 1_290), Some(10.0));
    }
}

//! How fast a lane's queue moves, and how long one at its end will wait. Pure: instants are arguments.

use std::time::{Duration, Instant};

/// Weight of the newest interval.
const NEWEST: f64 = 0.1;
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// The time between two that leave a queue in which others wait.
#[derive(Debug, Default)]
pub struct Pace {
    /// Seconds.
    interval: Option<f64>,
    last: Option<Instant>,
}

impl Pace {
    /// One left at `now`; `others_wait`: somebody is behind it, so that the time to the next one counts.
    pub fn ended(&mut self, others_wait: bool, now: Instant) {
        if let Some(last) = self.last {
            let gap = now.saturating_duration_since(last).as_secs_f64();
            self.interval = Some(self.interval.map_or(gap, |known| known + NEWEST * (gap - known)));
        }
        self.last = others_wait.then_some(now);
    }

    /// How long one waits who has so many in front. A queue that stands still for longer than its interval is slower
    /// than it was.
    pub fn wait(&self, in_front: usize, now: Instant) -> Duration {
        let since = self.last.map_or(0.0, |last| now.saturating_duration_since(last).as_secs_f64());
        let interval = self.interval.unwrap_or(0.0).max(since);
        Duration::try_from_secs_f64(interval * in_front as f64)
            .unwrap_or(LONGEST_WAIT)
            .clamp(SHORTEST_WAIT, LONGEST_WAIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_what_those_in_front_take() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        assert_eq!(pace.wait(100, start), SHORTEST_WAIT);
        let mut now = start;
        for _ in 0..50 {
            now += Duration::from_millis(200);
            pace.ended(true, now);
        }
        let wait = pace.wait(100, now).as_secs_f64();
        assert!((wait - 20.0).abs() < 0.5, "{wait}");
        assert_eq!(pace.wait(1_000_000, now), LONGEST_WAIT);
        // Nobody has left for a second: it goes slower than it went.
        assert!(pace.wait(100, now + Duration::from_secs(1)).as_secs_f64() > 90.0);
    }

    #[test]
    fn idle_time_is_no_pace() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        pace.ended(true, start);
        pace.ended(false, start + Duration::from_millis(100));
        pace.ended(true, start + Duration::from_secs(900));
        assert!(pace.wait(10, start + Duration::from_secs(900)) < Duration::from_secs(2));
    }
}

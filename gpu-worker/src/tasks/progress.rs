//! How far a loop is that takes a known number of about equal steps.

use std::time::Duration;

use proto::ProgressEvent;

/// After `step` of `total_steps`, `since` its first one began; the rest is expected to go on at that rate.
pub fn of(step: usize, total_steps: usize, since: Duration) -> ProgressEvent {
    let left = total_steps.saturating_sub(step);
    let eta_s = (step > 0).then(|| since.as_secs_f64() / step as f64 * left as f64);
    ProgressEvent {
        step: u32::try_from(step).unwrap_or(u32::MAX),
        total_steps: u32::try_from(total_steps).unwrap_or(u32::MAX),
        percent: 100.0 * step as f64 / total_steps.max(1) as f64,
        eta_s,
        preview: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_takes_as_long_as_what_is_done_did() {
        let event = of(3, 4, Duration::from_secs(6));
        assert_eq!((event.step, event.total_steps, event.percent), (3, 4, 75.0));
        assert_eq!(event.eta_s, Some(2.0));
        assert_eq!(of(0, 4, Duration::ZERO).eta_s, None);
        assert_eq!(of(4, 4, Duration::from_secs(8)).eta_s, Some(0.0));
    }
}

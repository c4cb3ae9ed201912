//! What it would cost to lose a residency, in expected seconds of reloading.

use super::{Policy, Residency};

/// Shorter reloads all count as this long: below it measured times are mostly noise.
const SHORTEST_RELOAD_S: f64 = 0.25;

/// Hundreds of years; thousands of them can still be added.
const LARGEST_REGRET_MS: f64 = 1e13;
/// No model is asked for more often than it is worth telling apart.
const SHORTEST_GAP_S: f64 = 1e-3;

/// The terms of a regret. Times in seconds, probabilities 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Terms {
    pub weight: f64,
    /// Measured, else estimated from the bytes.
    pub reload_s: f64,
    /// That it is asked for again within the horizon, or before it would leave by itself.
    pub reuse_probability: f64,
    /// That its load would fail.
    pub failure_probability: f64,
    pub idle_s: f64,
    /// Decayed.
    pub requests_per_second: f64,
}

impl Terms {
    pub fn of(residency: &Residency, policy: &Policy, now: u64) -> Self {
        let idle_s = seconds(now.saturating_sub(residency.last_used_at));
        let untold_s = seconds(now.saturating_sub(residency.counted_at));
        let requests_per_second =
            residency.requests_per_second.max(0.0) * (-untold_s / policy.decay_s).exp();
        let reload_s = residency
            .reload_s
            .unwrap_or(residency.bytes as f64 / policy.reload_bytes_per_s)
            .max(SHORTEST_RELOAD_S);
        let failures = f64::from(residency.failed_loads);
        Self {
            weight: policy.regret_weight,
            reload_s,
            reuse_probability: reuse(
                requests_per_second,
                idle_s,
                horizon(residency, policy, idle_s),
                policy.horizon_s,
            ),
            failure_probability: failures / (failures + 2.0),
            idle_s,
            requests_per_second,
        }
    }

    /// Expected seconds of reloading; never negative.
    pub fn regret_s(&self) -> f64 {
        let regret =
            self.weight * self.reload_s * self.reuse_probability * (1.0 - self.failure_probability);
        // `max` also turns what is no number into 0.
        regret.max(0.0)
    }

    /// The regret in whole milliseconds, in which sets are compared: sums of them don't depend on their order.
    pub(super) fn regret_ms(&self) -> u64 {
        (self.regret_s() * 1e3).round().min(LARGEST_REGRET_MS) as u64
    }
}

/// A model that leaves by itself is not missed after that.
fn horizon(residency: &Residency, policy: &Policy, idle_s: f64) -> f64 {
    let left = residency.keep_alive_ms.map(|keep| (seconds(keep) - idle_s).max(0.0));
    left.map_or(policy.horizon_s, |left| left.min(policy.horizon_s))
}

/// The probability of a request within `within_s`.
///
/// The rate is uncertain, so it is taken as exponentially distributed around its estimate. The longer nothing came, the
/// lower the estimate: that is the least-recently-used term. Without any rate one request in `prior_s` is assumed.
fn reuse(rate: f64, idle_s: f64, within_s: f64, prior_s: f64) -> f64 {
    let usual_gap_s = if rate > 0.0 { (1.0 / rate).min(prior_s) } else { prior_s };
    let expected = within_s / (usual_gap_s + idle_s).max(SHORTEST_GAP_S);
    expected / (1.0 + expected)
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1e3
}

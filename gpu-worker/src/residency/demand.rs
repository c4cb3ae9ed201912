//! How often a model is asked for of late: a rate in which every request counts less and less. Pure: time is an argument.

use std::collections::HashMap;

/// Time constant in seconds: after it a request counts for 1/e.
const DECAY_S: f64 = 600.0;
/// A rate is not estimated over less than this many seconds.
const SHORTEST_HISTORY_S: f64 = 10.0;
/// Models whose demand is kept, resident or not.
const MOST_KEPT: usize = 1024;

/// The demand for one model.
#[derive(Clone, Copy, Debug)]
struct Demand {
    /// Requests, decayed until `at`.
    mass: f64,
    /// Seconds on the caller's clock.
    at: f64,
    since: f64,
}

impl Demand {
    fn mass(&self, now: f64) -> f64 {
        self.mass * (-(now - self.at).max(0.0) / DECAY_S).exp()
    }

    fn rate(&self, now: f64) -> f64 {
        let history = (now - self.since).max(SHORTEST_HISTORY_S);
        // A short history has seen only a part of what a long one would have counted.
        self.mass(now) / (DECAY_S * (1.0 - (-history / DECAY_S).exp()))
    }
}

/// The demand for every model that was asked for of late; it outlives residencies.
#[derive(Debug, Default)]
pub struct Demands(HashMap<String, Demand>);

impl Demands {
    /// One more request; `now` in seconds on any clock that only goes forward.
    pub fn count(&mut self, model_id: &str, now: f64) {
        if let Some(demand) = self.0.get_mut(model_id) {
            demand.mass = demand.mass(now) + 1.0;
            demand.at = now;
            return;
        }
        if self.0.len() >= MOST_KEPT {
            let mass = |(_, demand): &(&String, &Demand)| demand.mass(now);
            let least = self.0.iter().min_by(|a, b| mass(a).total_cmp(&mass(b)));
            if let Some(least) = least.map(|(model_id, _)| model_id.clone()) {
                self.0.remove(&least);
            }
        }
        self.0.insert(model_id.to_owned(), Demand { mass: 1.0, at: now, since: now });
    }

    /// Requests per second of late; 0 for a model that was not asked for.
    pub fn rate(&self, model_id: &str, now: f64) -> f64 {
        self.0.get(model_id).map_or(0.0, |demand| demand.rate(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rate_is_found_and_forgotten() {
        let mut demands = Demands::default();
        for second in 0..300 {
            demands.count("a", f64::from(second) * 2.0);
        }
        let rate = demands.rate("a", 600.0);
        assert!((rate - 0.5).abs() < 0.01, "{rate}");
        assert!(demands.rate("a", 600.0 + 5.0 * DECAY_S) < 0.01);
        assert!(demands.rate("b", 600.0) == 0.0);
    }

    #[test]
    fn one_request_is_no_flood() {
        let mut demands = Demands::default();
        demands.count("a", 5.0);
        assert!(demands.rate("a", 5.0) <= 0.11);
    }

    #[test]
    fn only_so_many_models_are_kept_and_the_least_asked_for_goes() {
        let mut demands = Demands::default();
        demands.count("often", 0.0);
        for model in 0..MOST_KEPT * 2 {
            demands.count("often", model as f64);
            demands.count(&model.to_string(), model as f64);
        }
        assert_eq!(demands.0.len(), MOST_KEPT);
        assert!(demands.rate("often", MOST_KEPT as f64) > 0.0);
    }
}

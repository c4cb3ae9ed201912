//! The command line's part of the placement policy.

use std::time::Duration;

use clap::Args;

use crate::{config::parse_size, placement::Policy};

/// What an operator may want to weigh differently.
#[derive(Args, Clone, Debug)]
pub struct PlacementFlags {
    /// Weight of a second of reloading an evicted model, against a second for which one request waits
    #[arg(long, env = "ANYMODEL_REGRET_WEIGHT", default_value_t = Policy::default().regret_weight, value_parser = parse_weight)]
    pub regret_weight: f64,

    /// A model that will be asked for again within this time is missed when it is evicted
    #[arg(long, env = "ANYMODEL_REUSE_HORIZON", default_value = "300s", value_parser = parse_span)]
    pub reuse_horizon: Duration,

    /// Bytes read per second by a load, where none of the model was measured
    #[arg(long, env = "ANYMODEL_RELOAD_RATE", default_value = "500MB", value_parser = parse_rate)]
    pub reload_rate: u64,

    /// Two models that displace each other take turns of this many load times; 0: no turns
    #[arg(long, env = "ANYMODEL_EVICTION_TURN", default_value_t = Policy::default().turn, value_parser = parse_weight)]
    pub eviction_turn: f64,

    /// A model that is never idle is drained for a request that has waited this long; `never`: it is not
    #[arg(long, env = "ANYMODEL_DRAIN_AFTER", default_value = "60s", value_parser = parse_patience)]
    pub drain_after: Patience,

    /// What runs on a model that is drained may end within this time
    #[arg(long, env = "ANYMODEL_DRAIN_GRACE", default_value = "60s", value_parser = parse_span)]
    pub drain_grace: Duration,
}

/// A time after which something is done; `None`: never.
#[derive(Clone, Copy, Debug)]
pub struct Patience(Option<Duration>);

impl PlacementFlags {
    pub fn policy(&self) -> Policy {
        Policy {
            regret_weight: self.regret_weight,
            horizon_s: self.reuse_horizon.as_secs_f64(),
            reload_bytes_per_s: self.reload_rate as f64,
            turn: self.eviction_turn,
            drain_after_s: self.drain_after.0.map_or(f64::INFINITY, |span| span.as_secs_f64()),
            drain_grace_s: self.drain_grace.as_secs_f64(),
            ..Policy::default()
        }
    }
}

fn parse_weight(text: &str) -> Result<f64, String> {
    let weight: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    let is_fine = (0.0..=1e6).contains(&weight);
    is_fine.then_some(weight).ok_or_else(|| "must be from 0 to 1000000".to_owned())
}

fn parse_span(text: &str) -> Result<Duration, String> {
    let span = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    (!span.is_zero()).then_some(span).ok_or_else(|| "must be longer than nothing".to_owned())
}

fn parse_patience(text: &str) -> Result<Patience, String> {
    if text == "never" {
        return Ok(Patience(None));
    }
    let span = humantime::parse_duration(text).map_err(|error| format!("{error}, or never"))?;
    Ok(Patience(Some(span)))
}

fn parse_rate(text: &str) -> Result<u64, String> {
    let bytes = parse_size(text)?;
    (bytes > 0).then_some(bytes).ok_or_else(|| "must be more than nothing".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::config::Config;

    #[test]
    fn without_flags_it_is_the_default_policy() {
        let config = Config::try_parse_from(["control-plane"]).unwrap();
        assert_eq!(config.placement.policy(), Policy::default());
    }

    #[test]
    fn models_that_are_never_idle_can_be_left_alone() {
        let config = Config::try_parse_from(["control-plane", "--drain-after", "never"]).unwrap();
        assert_eq!(config.placement.policy().drain_after_s, f64::INFINITY);
        assert!(Config::try_parse_from(["control-plane", "--drain-after", "soon"]).is_err());
    }

    #[test]
    fn senseless_weights_are_refused() {
        for flags in [["--regret-weight", "-1"], ["--reload-rate", "0"], ["--reuse-horizon", "0s"]]
        {
            let refused = Config::try_parse_from(["control-plane", flags[0], flags[1]]);
            assert!(refused.is_err(), "{flags:?}");
        }
    }
}

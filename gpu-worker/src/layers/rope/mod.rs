//! The frequencies of rotary position embeddings and the ways of stretching them to longer texts. Pure.
//!
//! Reference: `transformers/modeling_rope_utils.py`. Papers: RoPE (<https://arxiv.org/abs/2104.09864>),
//! linear scaling (<https://arxiv.org/abs/2306.15595>), YaRN (<https://arxiv.org/abs/2309.00071>),
//! LongRoPE (<https://arxiv.org/abs/2402.13753>).

mod config;

use std::f64::consts::PI;

pub use config::{RopeConfig, RopeDefaults};

#[derive(Debug, thiserror::Error, PartialEq)]
pub enum RopeError {
    #[error("rope_type {rope_type:?} is not supported")]
    UnsupportedType { rope_type: String },
    #[error("rope_type {rope_type:?} needs the field {field}")]
    MissingField { rope_type: &'static str, field: &'static str },
    #[error("{field} = {value} is not supported")]
    UnsupportedValue { field: &'static str, value: String },
}

/// How positions rotate.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeParameters {
    theta: f64,
    scaling: Scaling,
    max_positions: i64,
    /// What share of a head's values turns.
    rotary_share: f64,
}

#[derive(Clone, Debug, PartialEq)]
enum Scaling {
    Default,
    Linear {
        factor: f64,
    },
    Dynamic {
        factor: f64,
    },
    Llama3 {
        factor: f64,
        low_freq_factor: f64,
        high_freq_factor: f64,
        original_positions: f64,
    },
    Yarn {
        factor: f64,
        beta_fast: f64,
        beta_slow: f64,
        original_positions: f64,
        truncate: bool,
        attention_factor: f64,
    },
    LongRope {
        /// What divides each pair's frequency up to the original length …
        short_factor: Vec<f64>,
        /// … and beyond it.
        long_factor: Vec<f64>,
        original_positions: i64,
        attention_factor: f64,
    },
}

impl RopeParameters {
    /// What cosines and sines are multiplied with.
    pub fn attention_factor(&self) -> f64 {
        match self.scaling {
            Scaling::Yarn { attention_factor, .. } | Scaling::LongRope { attention_factor, .. } => {
                attention_factor
            }
            _ => 1.0,
        }
    }

    /// The longest text these parameters are made for.
    pub fn context_length(&self) -> i64 {
        match self.scaling {
            Scaling::Dynamic { factor } => (self.max_positions as f64 * factor) as i64,
            _ => self.max_positions,
        }
    }

    /// Whether the frequencies depend on how long the text is.
    pub fn depends_on_length(&self) -> bool {
        matches!(self.scaling, Scaling::Dynamic { .. } | Scaling::LongRope { .. })
    }

    /// The length beyond which all frequencies change at once, if there is one.
    pub fn switches_at(&self) -> Option<i64> {
        match self.scaling {
            Scaling::LongRope { original_positions, .. } => Some(original_positions),
            _ => None,
        }
    }

    /// How positions rotate in a text of `length` tokens: two that begin alike do so alike only in the same regime.
    /// `None`: as in no text of another length.
    pub fn regime(&self, length: i64) -> Option<u32> {
        match self.scaling {
            Scaling::Dynamic { .. } => (length <= self.max_positions).then_some(0),
            Scaling::LongRope { original_positions, .. } => {
                Some(u32::from(length > original_positions))
            }
            _ => Some(0),
        }
    }

    /// How many values of a head turn.
    pub fn rotary_dim(&self, head_dim: i64) -> i64 {
        (head_dim as f64 * self.rotary_share) as i64
    }

    /// Refuses what does not fit to heads of this size.
    pub fn check(&self, head_dim: i64) -> Result<(), RopeError> {
        let dim = self.rotary_dim(head_dim);
        let refused = |field, value: String| Err(RopeError::UnsupportedValue { field, value });
        if dim < 2 || dim % 2 != 0 {
            return refused("head_dim", format!("{head_dim}, of which {dim} values turn,"));
        }
        if let Scaling::LongRope { short_factor, long_factor, .. } = &self.scaling {
            for (field, factors) in [("short_factor", short_factor), ("long_factor", long_factor)] {
                if factors.len() as i64 != dim / 2 {
                    return refused(field, format!("a list of {}", factors.len()));
                }
            }
        }
        Ok(())
    }

    /// Radians per position of each pair of values that turn, `rotary_dim / 2` of them, for a text of `length` tokens.
    pub fn inverse_frequencies(&self, rotary_dim: i64, length: i64) -> Vec<f64> {
        let dim = rotary_dim as f64;
        let exponents = (0..rotary_dim / 2).map(|pair| 2.0 * pair as f64 / dim);
        let plain = |theta: f64| exponents.clone().map(move |exponent| theta.powf(-exponent));
        match &self.scaling {
            Scaling::Default => plain(self.theta).collect(),
            &Scaling::Linear { factor } => {
                plain(self.theta).map(|frequency| frequency / factor).collect()
            }
            &Scaling::Dynamic { factor } => {
                let stretch = length.max(self.max_positions) as f64 / self.max_positions as f64;
                let growth = (factor * stretch - (factor - 1.0)).powf(dim / (dim - 2.0));
                plain(self.theta * growth).collect()
            }
            &Scaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_positions } => {
                plain(self.theta)
                    .map(|frequency| {
                        let wavelength = 2.0 * PI / frequency;
                        if wavelength < original_positions / high_freq_factor {
                            frequency
                        } else if wavelength > original_positions / low_freq_factor {
                            frequency / factor
                        } else {
                            let smooth = (original_positions / wavelength - low_freq_factor)
                                / (high_freq_factor - low_freq_factor);
                            (1.0 - smooth) * frequency / factor + smooth * frequency
                        }
                    })
                    .collect()
            }
            &Scaling::Yarn {
                factor, beta_fast, beta_slow, original_positions, truncate, ..
            } => {
                let dim_of = |rotations: f64| {
                    dim * (original_positions / (rotations * 2.0 * PI)).ln()
                        / (2.0 * self.theta.ln())
                };
                let (mut low, mut high) = (dim_of(beta_fast), dim_of(beta_slow));
                if truncate {
                    (low, high) = (low.floor(), high.ceil());
                }
                (low, high) = (low.max(0.0), high.min(dim - 1.0));
                if low == high {
                    high += 0.001;
                }
                plain(self.theta)
                    .enumerate()
                    .map(|(pair, frequency)| {
                        let interpolated = ((pair as f64 - low) / (high - low)).clamp(0.0, 1.0);
                        frequency / factor * interpolated + frequency * (1.0 - interpolated)
                    })
                    .collect()
            }
            Scaling::LongRope { short_factor, long_factor, original_positions, .. } => {
                let factors = if length > *original_positions { long_factor } else { short_factor };
                plain(self.theta)
                    .zip(factors)
                    .map(|(frequency, factor)| frequency / factor)
                    .collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(config: &str) -> Result<RopeParameters, RopeError> {
        serde_json::from_str::<RopeConfig>(config).unwrap().parameters(64)
    }

    #[test]
    fn old_and_new_spellings_say_the_same() {
        let new =
            r#"{"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 500.0}}"#;
        let old = r#"{"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_theta": 500.0}"#;
        assert_eq!(parameters(new).unwrap(), parameters(old).unwrap());
        assert_eq!(parameters(r#"{"rope_scaling": null}"#).unwrap().theta, 10_000.0);
    }

    #[test]
    fn what_is_unknown_or_incomplete_is_refused_by_name() {
        for (config, expected) in [
            (r#"{"rope_scaling": {"rope_type": "mrope"}}"#, "rope_type \"mrope\" is not supported"),
            (
                r#"{"rope_scaling": {"rope_type": "longrope", "long_factor": [1]}}"#,
                "rope_type \"longrope\" needs the field short_factor",
            ),
            (
                r#"{"rope_scaling": {"rope_type": "linear"}}"#,
                "rope_type \"linear\" needs the field factor",
            ),
            (
                r#"{"rope_scaling": {"type": "dynamic", "factor": 0}}"#,
                "factor = 0 is not supported",
            ),
            (r#"{"partial_rotary_factor": 0.5}"#, "partial_rotary_factor = 0.5 is not supported"),
        ] {
            assert_eq!(parameters(config).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn long_factors_begin_beyond_the_original_length() {
        let config = r#"{"rope_scaling": {"type": "longrope", "short_factor": [1, 1], "long_factor": [2, 4],
            "original_max_position_embeddings": 16}}"#;
        let long = parameters(config).unwrap();
        let plain = parameters("{}").unwrap().inverse_frequencies(4, 0);
        assert_eq!(long.inverse_frequencies(4, 16), plain);
        assert_eq!(long.inverse_frequencies(4, 17), [plain[0] / 2.0, plain[1] / 4.0]);
        assert_eq!((long.switches_at(), long.attention_factor()), (Some(16), 1.5_f64.sqrt()));
        assert!(long.check(4).is_ok());
        assert_eq!(
            long.check(8).unwrap_err().to_string(),
            "short_factor = a list of 2 is not supported"
        );
    }

    #[test]
    fn texts_of_one_regime_turn_alike() {
        for config in [
            "{}",
            r#"{"rope_scaling": {"type": "linear", "factor": 2}}"#,
            r#"{"rope_scaling": {"type": "dynamic", "factor": 2}}"#,
            r#"{"rope_scaling": {"type": "longrope", "short_factor": [1, 1], "long_factor": [2, 4]},
                "original_max_position_embeddings": 16}"#,
        ] {
            let rope = parameters(config).unwrap();
            for (one, other) in (1..128).zip(2..129) {
                let alike = rope.inverse_frequencies(4, one) == rope.inverse_frequencies(4, other);
                let regime = rope.regime(one);
                assert_eq!(
                    regime.is_some() && regime == rope.regime(other),
                    alike,
                    "{config}, {one}"
                );
            }
        }
    }

    #[test]
    fn kinds_of_layers_may_turn_differently() {
        let by_layer = |config: &str| {
            let config: RopeConfig = serde_json::from_str(config).unwrap();
            let defaults = RopeDefaults { theta: 1e6, ..RopeDefaults::new(64) };
            config.parameters_by_layer(&defaults, 1e4)
        };
        let new = r#"{"rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 8},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}}"#;
        let old = r#"{"rope_scaling": {"rope_type": "linear", "factor": 8}, "rope_theta": 1000000.0,
            "rope_local_base_freq": 10000.0}"#;
        assert_eq!(by_layer(new).unwrap(), by_layer(old).unwrap());
        let (full, sliding) = by_layer("{}").unwrap();
        assert_eq!((full.theta, sliding.theta), (1e6, 1e4));
        assert!(by_layer(r#"{"rope_parameters": {"rope_type": "default"}}"#).is_err());
    }

    #[test]
    fn dynamic_scaling_begins_beyond_the_trained_length() {
        let scaled = parameters(r#"{"rope_scaling": {"type": "dynamic", "factor": 2.0}}"#).unwrap();
        let plain = parameters("{}").unwrap();
        assert_eq!(scaled.inverse_frequencies(8, 64), plain.inverse_frequencies(8, 64));
        assert!(scaled.inverse_frequencies(8, 100)[1] < plain.inverse_frequencies(8, 100)[1]);
        assert_eq!(scaled.context_length(), 128);
    }
}

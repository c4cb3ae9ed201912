//! The frequencies of rotary position embeddings and the ways of stretching them to longer texts. Pure.
//!
//! Reference: `transformers/modeling_rope_utils.py`. Papers: RoPE (<https://arxiv.org/abs/2104.09864>),
//! linear scaling (<https://arxiv.org/abs/2306.15595>), YaRN (<https://arxiv.org/abs/2309.00071>).

use std::f64::consts::PI;

use serde::Deserialize;

/// The fields of a `config.json` that say how positions rotate. Flatten it into a model's config.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct RopeConfig {
    /// As transformers writes it since version 5.
    rope_parameters: Option<RawParameters>,
    /// As it was written before; wins when both are there.
    rope_scaling: Option<RawParameters>,
    rope_theta: Option<f64>,
    original_max_position_embeddings: Option<f64>,
    partial_rotary_factor: Option<f64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct RawParameters {
    rope_type: Option<String>,
    /// The oldest spelling of `rope_type`.
    #[serde(rename = "type")]
    old_type: Option<String>,
    rope_theta: Option<f64>,
    partial_rotary_factor: Option<f64>,
    factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    attention_factor: Option<f64>,
    beta_fast: Option<f64>,
    beta_slow: Option<f64>,
    mscale: Option<f64>,
    mscale_all_dim: Option<f64>,
    truncate: Option<bool>,
    /// Parameters per kind of layer, which no architecture here has.
    full_attention: Option<serde_json::Value>,
    sliding_attention: Option<serde_json::Value>,
}

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
}

/// What `rope_theta` is when a config does not say.
const DEFAULT_THETA: f64 = 10_000.0;

impl RopeConfig {
    /// `max_positions` is the config's `max_position_embeddings`.
    pub fn parameters(&self, max_positions: i64) -> Result<RopeParameters, RopeError> {
        let raw =
            self.rope_scaling.clone().or_else(|| self.rope_parameters.clone()).unwrap_or_default();
        if raw.full_attention.is_some() || raw.sliding_attention.is_some() {
            let value = "parameters per kind of layer".to_owned();
            return Err(RopeError::UnsupportedValue { field: "rope_parameters", value });
        }
        if let Some(share) = raw.partial_rotary_factor.or(self.partial_rotary_factor)
            && share != 1.0
        {
            return Err(RopeError::UnsupportedValue {
                field: "partial_rotary_factor",
                value: share.to_string(),
            });
        }
        let theta = raw.rope_theta.or(self.rope_theta).unwrap_or(DEFAULT_THETA);
        positive("rope_theta", theta)?;
        let rope_type = raw.rope_type.as_deref().or(raw.old_type.as_deref()).unwrap_or("default");
        let original_positions = self
            .original_max_position_embeddings
            .or(raw.original_max_position_embeddings)
            .unwrap_or(max_positions as f64);
        positive("original_max_position_embeddings", original_positions)?;
        let scaling = match rope_type {
            "default" => Scaling::Default,
            "linear" => Scaling::Linear { factor: required("linear", "factor", raw.factor)? },
            "dynamic" => Scaling::Dynamic { factor: required("dynamic", "factor", raw.factor)? },
            "llama3" => Scaling::Llama3 {
                factor: required("llama3", "factor", raw.factor)?,
                low_freq_factor: required("llama3", "low_freq_factor", raw.low_freq_factor)?,
                high_freq_factor: required("llama3", "high_freq_factor", raw.high_freq_factor)?,
                original_positions,
            },
            "yarn" => {
                let factor = raw.factor.unwrap_or(max_positions as f64 / original_positions);
                positive("factor", factor)?;
                Scaling::Yarn {
                    factor,
                    beta_fast: raw.beta_fast.filter(|&beta| beta != 0.0).unwrap_or(32.0),
                    beta_slow: raw.beta_slow.filter(|&beta| beta != 0.0).unwrap_or(1.0),
                    original_positions,
                    truncate: raw.truncate.unwrap_or(true),
                    attention_factor: raw
                        .attention_factor
                        .unwrap_or_else(|| yarn_attention_factor(&raw, factor)),
                }
            }
            other => return Err(RopeError::UnsupportedType { rope_type: other.to_owned() }),
        };
        Ok(RopeParameters { theta, scaling, max_positions })
    }
}

fn required(
    rope_type: &'static str,
    field: &'static str,
    value: Option<f64>,
) -> Result<f64, RopeError> {
    let value = value.ok_or(RopeError::MissingField { rope_type, field })?;
    positive(field, value)
}

fn positive(field: &'static str, value: f64) -> Result<f64, RopeError> {
    if value > 0.0 && value.is_finite() {
        Ok(value)
    } else {
        Err(RopeError::UnsupportedValue { field, value: value.to_string() })
    }
}

/// Section 3.4 of the YaRN paper, in the two forms that configs use.
fn yarn_attention_factor(raw: &RawParameters, factor: f64) -> f64 {
    let scale = |mscale: f64| if factor <= 1.0 { 1.0 } else { 0.1 * mscale * factor.ln() + 1.0 };
    match (raw.mscale, raw.mscale_all_dim) {
        (Some(mscale), Some(all_dim)) if mscale != 0.0 && all_dim != 0.0 => {
            scale(mscale) / scale(all_dim)
        }
        _ => scale(1.0),
    }
}

impl RopeParameters {
    /// What cosines and sines are multiplied with.
    pub fn attention_factor(&self) -> f64 {
        match self.scaling {
            Scaling::Yarn { attention_factor, .. } => attention_factor,
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
        matches!(self.scaling, Scaling::Dynamic { .. })
    }

    /// Radians per position of each pair of a head's values, `head_dim / 2` of them, for a text of `length` tokens.
    pub fn inverse_frequencies(&self, head_dim: i64, length: i64) -> Vec<f64> {
        let dim = head_dim as f64;
        let exponents = (0..head_dim / 2).map(|pair| 2.0 * pair as f64 / dim);
        let plain = |theta: f64| exponents.clone().map(move |exponent| theta.powf(-exponent));
        match self.scaling {
            Scaling::Default => plain(self.theta).collect(),
            Scaling::Linear { factor } => {
                plain(self.theta).map(|frequency| frequency / factor).collect()
            }
            Scaling::Dynamic { factor } => {
                let stretch = length.max(self.max_positions) as f64 / self.max_positions as f64;
                let growth = (factor * stretch - (factor - 1.0)).powf(dim / (dim - 2.0));
                plain(self.theta * growth).collect()
            }
            Scaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_positions } => {
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
            Scaling::Yarn {
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
        assert_eq!(parameters(r#"{"rope_scaling": null}"#).unwrap().theta, DEFAULT_THETA);
    }

    #[test]
    fn what_is_unknown_or_incomplete_is_refused_by_name() {
        for (config, expected) in [
            (
                r#"{"rope_scaling": {"rope_type": "longrope"}}"#,
                "rope_type \"longrope\" is not supported",
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
    fn dynamic_scaling_begins_beyond_the_trained_length() {
        let scaled = parameters(r#"{"rope_scaling": {"type": "dynamic", "factor": 2.0}}"#).unwrap();
        let plain = parameters("{}").unwrap();
        assert_eq!(scaled.inverse_frequencies(8, 64), plain.inverse_frequencies(8, 64));
        assert!(scaled.inverse_frequencies(8, 100)[1] < plain.inverse_frequencies(8, 100)[1]);
        assert_eq!(scaled.context_length(), 128);
    }
}

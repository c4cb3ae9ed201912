//! The fields of a `config.json` that say how positions rotate, in the spellings of all versions.

use std::fmt;

use serde::Deserialize;

use super::{RopeError, RopeParameters, Scaling};

/// Flatten it into a model's config.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct RopeConfig {
    /// As transformers writes it since version 5.
    rope_parameters: Option<RawParameters>,
    /// As it was written before; wins when both are there.
    rope_scaling: Option<RawParameters>,
    rope_theta: Option<f64>,
    /// The base of those layers that see only a window, where it differs.
    rope_local_base_freq: Option<f64>,
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
    short_factor: Option<Vec<f64>>,
    long_factor: Option<Vec<f64>>,
    /// Parameters of those layers that see everything.
    full_attention: Option<Box<Self>>,
    /// Parameters of those layers that see only a window.
    sliding_attention: Option<Box<Self>>,
}

/// What an architecture means where its config does not say.
#[derive(Clone, Copy, Debug)]
pub struct RopeDefaults {
    /// The config's `max_position_embeddings`.
    pub max_positions: i64,
    pub theta: f64,
    /// What share of a head's values turns. `None`: all do, and a config that asks for less is refused.
    pub rotary_share: Option<f64>,
    /// The length that the model was first trained for; `None`: `max_positions`.
    pub original_positions: Option<f64>,
    /// Every stretched kind is read as `longrope`, whose older names it then is (Phi-3).
    pub is_longrope: bool,
}

impl RopeDefaults {
    /// The library's defaults.
    pub fn new(max_positions: i64) -> Self {
        Self {
            max_positions,
            theta: 10_000.0,
            rotary_share: None,
            original_positions: None,
            is_longrope: false,
        }
    }
}

impl RopeConfig {
    /// `max_positions` is the config's `max_position_embeddings`.
    pub fn parameters(&self, max_positions: i64) -> Result<RopeParameters, RopeError> {
        self.parameters_with(&RopeDefaults::new(max_positions))
    }

    /// The parameters of all layers.
    pub fn parameters_with(&self, defaults: &RopeDefaults) -> Result<RopeParameters, RopeError> {
        let raw = self.rope_scaling.as_ref().or(self.rope_parameters.as_ref());
        let raw = raw.cloned().unwrap_or_default();
        if raw.full_attention.is_some() || raw.sliding_attention.is_some() {
            return Err(unsupported("rope_parameters", "parameters per kind of layer"));
        }
        self.resolve(&raw, raw.rope_theta.or(self.rope_theta), defaults)
    }

    /// The parameters of the layers that see everything, and of those that see a window, whose base is `local_theta` where
    /// the config does not say.
    pub fn parameters_by_layer(
        &self,
        defaults: &RopeDefaults,
        local_theta: f64,
    ) -> Result<(RopeParameters, RopeParameters), RopeError> {
        let nested = self.rope_parameters.clone().unwrap_or_default();
        if nested.rope_type.is_some() || nested.old_type.is_some() || nested.rope_theta.is_some() {
            return Err(unsupported("rope_parameters", "one for all kinds of layers"));
        }
        if self.rope_scaling.is_some() && nested.full_attention.is_some() {
            return Err(unsupported("rope_scaling", "one beside rope_parameters"));
        }
        let full = match (nested.full_attention, &self.rope_scaling) {
            (Some(full), _) => *full,
            (None, scaling) => scaling.clone().unwrap_or_default(),
        };
        let sliding = nested.sliding_attention.map(|sliding| *sliding).unwrap_or_default();
        let sliding_theta = sliding.rope_theta.or(self.rope_local_base_freq).unwrap_or(local_theta);
        Ok((
            self.resolve(&full, full.rope_theta.or(self.rope_theta), defaults)?,
            self.resolve(&sliding, Some(sliding_theta), defaults)?,
        ))
    }

    fn resolve(
        &self,
        raw: &RawParameters,
        theta: Option<f64>,
        defaults: &RopeDefaults,
    ) -> Result<RopeParameters, RopeError> {
        let theta = positive("rope_theta", theta.unwrap_or(defaults.theta))?;
        let asked = raw.partial_rotary_factor.or(self.partial_rotary_factor);
        let rotary_share = asked.or(defaults.rotary_share).unwrap_or(1.0);
        let is_partial = defaults.rotary_share.is_some();
        if !(rotary_share == 1.0 || is_partial && 0.0 < rotary_share && rotary_share < 1.0) {
            return Err(unsupported("partial_rotary_factor", rotary_share));
        }
        let max_positions = defaults.max_positions;
        let original_positions = positive(
            "original_max_position_embeddings",
            self.original_max_position_embeddings
                .or(defaults.original_positions)
                .or(raw.original_max_position_embeddings)
                .unwrap_or(max_positions as f64),
        )?;
        let factor = |rope_type| required(rope_type, "factor", raw.factor);
        let rope_type = raw.rope_type.as_deref().or(raw.old_type.as_deref()).unwrap_or("default");
        let scaling = match rope_type {
            "su" | "yarn" | "longrope" if defaults.is_longrope => {
                longrope(raw, max_positions, original_positions)?
            }
            "default" => Scaling::Default,
            other if defaults.is_longrope => {
                return Err(RopeError::UnsupportedType { rope_type: other.to_owned() });
            }
            "linear" => Scaling::Linear { factor: factor("linear")? },
            "dynamic" => Scaling::Dynamic { factor: factor("dynamic")? },
            "llama3" => Scaling::Llama3 {
                factor: factor("llama3")?,
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
                        .unwrap_or_else(|| yarn_attention_factor(raw, factor)),
                }
            }
            "longrope" => longrope(raw, max_positions, original_positions)?,
            other => return Err(RopeError::UnsupportedType { rope_type: other.to_owned() }),
        };
        Ok(RopeParameters { theta, scaling, max_positions, rotary_share })
    }
}

fn longrope(
    raw: &RawParameters,
    max_positions: i64,
    original_positions: f64,
) -> Result<Scaling, RopeError> {
    let factors = |field, list: &Option<Vec<f64>>| {
        let list = list.clone().ok_or(RopeError::MissingField { rope_type: "longrope", field })?;
        list.into_iter().map(|factor| positive(field, factor)).collect::<Result<Vec<_>, _>>()
    };
    let stretch =
        positive("factor", raw.factor.unwrap_or(max_positions as f64 / original_positions))?;
    let attention_factor = raw.attention_factor.unwrap_or_else(|| {
        if stretch <= 1.0 { 1.0 } else { (1.0 + stretch.ln() / original_positions.ln()).sqrt() }
    });
    Ok(Scaling::LongRope {
        short_factor: factors("short_factor", &raw.short_factor)?,
        long_factor: factors("long_factor", &raw.long_factor)?,
        original_positions: original_positions as i64,
        attention_factor,
    })
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
    if value > 0.0 && value.is_finite() { Ok(value) } else { Err(unsupported(field, value)) }
}

fn unsupported(field: &'static str, value: impl fmt::Display) -> RopeError {
    RopeError::UnsupportedValue { field, value: value.to_string() }
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

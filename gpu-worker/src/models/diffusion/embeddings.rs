//! Times and other numbers as vectors.
//!
//! Reference: `diffusers/models/embeddings.py`, `Timesteps` and `TimestepEmbedding`.

use tch::{Kind, Tensor};

use crate::{
    layers::{Activation, Linear, Step},
    weights::{Weights, WeightsError},
};

const LONGEST_PERIOD: f64 = 10000.0;

/// Waves of falling frequency, read at one number.
#[derive(Clone, Copy)]
pub(super) struct Waves {
    pub dim: i64,
    pub cos_first: bool,
    pub freq_shift: f64,
}

impl Waves {
    /// `[n]` to `[n, dim]` in float32.
    pub(super) fn forward(&self, xs: &Tensor) -> Tensor {
        let half = self.dim / 2;
        let places = Tensor::arange(half, (Kind::Float, xs.device()));
        let exponents = places * -LONGEST_PERIOD.ln() / (half as f64 - self.freq_shift);
        let angles = xs.to_kind(Kind::Float).unsqueeze(-1) * exponents.exp();
        let (sin, cos) = (angles.sin(), angles.cos());
        let waves = Tensor::cat(&if self.cos_first { [cos, sin] } else { [sin, cos] }, -1);
        if self.dim % 2 == 1 { waves.constant_pad_nd([0, 1]) } else { waves }
    }
}

/// Two layers that learn from waves.
pub(super) struct TimeEmbedding {
    linear_1: Linear,
    cond_proj: Option<Linear>,
    linear_2: Linear,
    act: Activation,
}

impl TimeEmbedding {
    /// `condition_dim`: length of a vector that is projected and added first, where there is one.
    pub(super) fn load(
        weights: &Weights,
        in_dim: i64,
        dim: i64,
        condition_dim: Option<i64>,
        act: Activation,
    ) -> Result<Self, WeightsError> {
        let project = |dim| Linear::load_with(&weights.at("cond_proj"), dim, in_dim, false);
        Ok(Self {
            linear_1: Linear::load(&weights.at("linear_1"), in_dim, dim)?,
            cond_proj: condition_dim.map(project).transpose()?,
            linear_2: Linear::load(&weights.at("linear_2"), dim, dim)?,
            act,
        })
    }

    /// `[batch, in_dim]`, and `[batch, condition_dim]` where the embedding has a condition, to `[batch, dim]`.
    pub(super) fn forward(&self, xs: &Tensor, condition: Option<&Tensor>, step: &Step) -> Tensor {
        let first = match (&self.cond_proj, condition) {
            (Some(projection), Some(condition)) => {
                self.linear_1.forward(&(xs + projection.forward(condition, step)), step)
            }
            _ => self.linear_1.forward(xs, step),
        };
        self.linear_2.forward(&self.act.forward(&first), step)
    }
}

//! Attention and feed-forward of T5: no biases, no scale, positions as a bias on the scores.

use tch::Tensor;

use super::config::Config;
use crate::{
    layers::{Activation, Linear, Step},
    weights::{Weights, WeightsError},
};

/// Scores are not divided by anything: the weights were initialised to make up for it.
const SCALE: f64 = 1.0;

pub(super) struct Attention {
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    n_heads: i64,
    head_dim: i64,
}

impl Attention {
    pub fn load(config: &Config, weights: &Weights) -> Result<Self, WeightsError> {
        let (dim, inner_dim) = (config.d_model, config.num_heads * config.d_kv);
        let inward = |name| Linear::load_with(&weights.at(name), dim, inner_dim, false);
        Ok(Self {
            q: inward("q")?,
            k: inward("k")?,
            v: inward("v")?,
            o: Linear::load_with(&weights.at("o"), inner_dim, dim, false)?,
            n_heads: config.num_heads,
            head_dim: config.d_kv,
        })
    }

    fn in_heads(&self, xs: &Tensor) -> Tensor {
        xs.view([-1, self.n_heads, self.head_dim])
    }

    /// `[batch, seq, dim]`, packed or not, to the same shape.
    pub fn of_source(&self, xs: &Tensor, bias: &Tensor, step: &Step) -> Tensor {
        let project = |linear: &Linear| step.spread(&linear.forward(xs, step));
        let (q, k, v) = (project(&self.q), project(&self.k), project(&self.v));
        let attended = step.attend_biased(&q, &k, &v, self.n_heads, SCALE, bias);
        self.o.forward(&step.pack(&attended), step)
    }

    /// `[tokens, dim]` of a flat pass to the same shape, with a bias for each segment.
    pub fn of_target(&self, layer: usize, xs: &Tensor, biases: &[Tensor], step: &Step) -> Tensor {
        let project = |linear: &Linear| self.in_heads(&linear.forward(xs, step));
        let (q, k, v) = (project(&self.q), project(&self.k), project(&self.v));
        self.o.forward(&step.attend_cached_biased(layer, SCALE, biases, &q, &k, &v), step)
    }

    /// Stores keys and values of an encoded source, `[tokens, dim]`.
    pub fn remember(&self, layer: usize, encoded: &Tensor, step: &Step) {
        let project = |linear: &Linear| self.in_heads(&linear.forward(encoded, step));
        step.store(layer, &project(&self.k), &project(&self.v));
    }

    /// `[tokens, dim]` of a flat pass to the same shape.
    pub fn to_source(&self, layer: usize, xs: &Tensor, step: &Step) -> Tensor {
        let q = self.in_heads(&self.q.forward(xs, step));
        self.o.forward(&step.attend_source(layer, SCALE, &q), step)
    }
}

pub(super) struct FeedForward {
    /// What the activation is applied to.
    wi: Linear,
    /// What its result is multiplied with, where it is a gate.
    wi_1: Option<Linear>,
    wo: Linear,
    activation: Activation,
}

impl FeedForward {
    pub fn load(config: &Config, weights: &Weights) -> Result<Self, WeightsError> {
        let (dim, inner_dim) = (config.d_model, config.d_ff);
        let inward = |name| Linear::load_with(&weights.at(name), dim, inner_dim, false);
        let is_gated = config.feed_forward_proj.is_gated;
        Ok(Self {
            wi: inward(if is_gated { "wi_0" } else { "wi" })?,
            wi_1: if is_gated { Some(inward("wi_1")?) } else { None },
            wo: Linear::load_with(&weights.at("wo"), inner_dim, dim, false)?,
            activation: config.feed_forward_proj.activation,
        })
    }

    pub fn forward(&self, xs: &Tensor, step: &Step) -> Tensor {
        let inner = self.activation.forward(&self.wi.forward(xs, step));
        let inner = match &self.wi_1 {
            Some(wi_1) => inner * wi_1.forward(xs, step),
            None => inner,
        };
        self.wo.forward(&inner, step)
    }
}

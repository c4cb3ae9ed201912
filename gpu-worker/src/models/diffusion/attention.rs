//! Attention of a picture's positions to each other, as one residual block.
//!
//! Reference: `diffusers/models/attention_processor.py`, `Attention` with a group norm.

use tch::Tensor;

use crate::{
    layers::{GroupNorm, Linear, Step},
    weights::{Rename, Weights, WeightsError},
};

/// What published checkpoints called the projections at first.
pub(super) const OLD_NAMES: &[Rename] = &[
    Rename::Part { from: ".query.", to: ".to_q." },
    Rename::Part { from: ".key.", to: ".to_k." },
    Rename::Part { from: ".value.", to: ".to_v." },
    Rename::Part { from: ".proj_attn.", to: ".to_out.0." },
];

#[derive(Clone, Copy)]
pub(super) struct PictureAttentionConfig {
    pub n_channels: i64,
    pub head_dim: i64,
    /// `None`: it is attended to as it is, without a norm.
    pub n_groups: Option<i64>,
    pub eps: f64,
    /// The sum of both branches is divided by this.
    pub output_scale: f64,
}

pub(super) struct PictureAttention {
    group_norm: Option<GroupNorm>,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
    n_heads: i64,
    scale: f64,
    output_scale: f64,
}

impl PictureAttention {
    /// `head_dim` must divide `n_channels`.
    pub(super) fn load(
        weights: &Weights,
        config: PictureAttentionConfig,
    ) -> Result<Self, WeightsError> {
        let PictureAttentionConfig { n_channels, head_dim, n_groups, eps, output_scale } = config;
        let linear = |name| Linear::load(&weights.at(name), n_channels, n_channels);
        let norm = |n_groups| GroupNorm::load(&weights.at("group_norm"), n_groups, n_channels, eps);
        Ok(Self {
            group_norm: n_groups.map(norm).transpose()?,
            to_q: linear("to_q")?,
            to_k: linear("to_k")?,
            to_v: linear("to_v")?,
            to_out: linear("to_out.0")?,
            n_heads: n_channels / head_dim,
            scale: (head_dim as f64).powf(-0.5),
            output_scale,
        })
    }

    /// `[batch, n_channels, height, width]` to the same shape.
    pub(super) fn forward(&self, xs: &Tensor, step: &Step) -> Tensor {
        let flat = |xs: &Tensor| xs.flatten(2, -1).transpose(1, 2);
        let flat = match &self.group_norm {
            Some(norm) => flat(&norm.forward(xs, step)),
            None => flat(xs),
        };
        let project = |linear: &Linear| linear.forward(&flat, step);
        let (q, k, v) = (project(&self.to_q), project(&self.to_k), project(&self.to_v));
        let attended = step.attend_all(&q, &k, &v, self.n_heads, self.scale);
        let attended = self.to_out.forward(&attended, step).transpose(1, 2).reshape(xs.size());
        let summed = attended + xs;
        if self.output_scale == 1.0 { summed } else { summed / self.output_scale }
    }
}

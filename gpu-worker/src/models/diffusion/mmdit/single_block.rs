//! A block in which all tokens have the same weights, and what looks around and what feeds forward stand side by side.

use tch::Tensor;

use super::{
    FEED_FORWARD, Shape, Turns,
    attention::Attention,
    clamp_half,
    modulation::{Modulation, moved, plain_norm},
};
use crate::{
    layers::{LayerNorm, Linear, Step},
    weights::{Weights, WeightsError},
};

/// Shift, scale and gate.
const PARTS: i64 = 3;

pub(in super::super) struct SingleBlock {
    plain: LayerNorm,
    norm: Modulation,
    proj_mlp: Linear,
    proj_out: Linear,
    attn: Attention,
}

impl SingleBlock {
    pub(in super::super) fn load(weights: &Weights, shape: Shape) -> Result<Self, WeightsError> {
        let (dim, inner_dim) = (shape.dim, FEED_FORWARD * shape.dim);
        Ok(Self {
            plain: plain_norm(dim),
            norm: Modulation::load(&weights.at("norm"), dim, PARTS)?,
            proj_mlp: Linear::load(&weights.at("proj_mlp"), dim, inner_dim)?,
            proj_out: Linear::load(&weights.at("proj_out"), dim + inner_dim, dim)?,
            attn: Attention::load(&weights.at("attn"), shape, false)?,
        })
    }

    /// `[batch, tokens, dim]`, in view of `[batch, dim]`, to the same shape.
    pub(in super::super) fn forward(
        &self,
        xs: &Tensor,
        conditioning: &Tensor,
        turns: &Turns,
        step: &Step,
    ) -> Tensor {
        let parts = self.norm.forward(conditioning, step);
        let seen = moved(&self.plain.forward(xs, step), &parts[0], &parts[1]);
        let inner = self.proj_mlp.forward(&seen, step).gelu("tanh");
        let attended = self.attn.forward(&seen, Some(turns), step);
        let made = self.proj_out.forward(&Tensor::cat(&[attended, inner], 2), step);
        clamp_half(xs + made * &parts[2])
    }
}

//! Norms that have learned nothing but how the time and the text move them (Peebles & Xie, 2022,
//! <https://arxiv.org/abs/2212.09748>).

use tch::Tensor;

use super::EPS;
use crate::{
    layers::{LayerNorm, Linear, Step},
    weights::{Weights, WeightsError},
};

/// Shifts, scales and gates of one part of a block.
pub(super) struct Modulation {
    linear: Linear,
    n_parts: i64,
}

impl Modulation {
    pub(super) fn load(weights: &Weights, dim: i64, n_parts: i64) -> Result<Self, WeightsError> {
        Ok(Self { linear: Linear::load(&weights.at("linear"), dim, n_parts * dim)?, n_parts })
    }

    /// `[batch, dim]` to each of the parts, `[batch, 1, dim]`.
    pub(super) fn forward(&self, conditioning: &Tensor, step: &Step) -> Vec<Tensor> {
        let parts = self.linear.forward(&conditioning.silu(), step);
        parts.unsqueeze(1).chunk(self.n_parts, -1)
    }
}

/// `[batch, seq, dim]`, normalised, to the same shape.
pub(super) fn moved(xs: &Tensor, shift: &Tensor, scale: &Tensor) -> Tensor {
    xs * (scale + 1.0) + shift
}

pub(super) fn plain_norm(dim: i64) -> LayerNorm {
    LayerNorm::plain(dim, EPS)
}

/// A norm of which only the result counts; its parts are a scale and a shift.
pub(in super::super) struct LastNorm {
    norm: LayerNorm,
    modulation: Modulation,
}

impl LastNorm {
    pub(in super::super) fn load(weights: &Weights, dim: i64) -> Result<Self, WeightsError> {
        Ok(Self { norm: plain_norm(dim), modulation: Modulation::load(weights, dim, 2)? })
    }

    /// `[batch, seq, dim]`, in view of `[batch, dim]`, to the same shape.
    pub(in super::super) fn forward(
        &self,
        xs: &Tensor,
        conditioning: &Tensor,
        step: &Step,
    ) -> Tensor {
        let parts = self.modulation.forward(conditioning, step);
        moved(&self.norm.forward(xs, step), &parts[1], &parts[0])
    }
}

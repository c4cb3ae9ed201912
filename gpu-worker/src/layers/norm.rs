//! Layer normalisation (Ba et al., 2016, <https://arxiv.org/abs/1607.06450>) and its root-mean-square form
//! (Zhang & Sennrich, 2019, <https://arxiv.org/abs/1910.07467>).

use tch::{Kind, Tensor};

use super::Step;
use crate::weights::{Weights, WeightsError};

pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    dim: i64,
    eps: f64,
}

impl LayerNorm {
    pub fn load(weights: &Weights, dim: i64, eps: f64) -> Result<Self, WeightsError> {
        Ok(Self {
            weight: weights.get("weight", &[dim])?,
            bias: weights.get("bias", &[dim])?,
            dim,
            eps,
        })
    }

    /// `[…, dim]` to the same shape.
    pub fn forward(&self, xs: &Tensor, _step: &Step) -> Tensor {
        xs.layer_norm([self.dim], Some(&self.weight), Some(&self.bias), self.eps, true)
    }
}

pub struct RmsNorm {
    weight: Tensor,
    dim: i64,
    eps: f64,
}

impl RmsNorm {
    pub fn load(weights: &Weights, dim: i64, eps: f64) -> Result<Self, WeightsError> {
        Ok(Self { weight: weights.get("weight", &[dim])?, dim, eps })
    }

    /// `[…, dim]` to the same shape. Half types are normalised in float32 and scaled in their own type, as the
    /// reference does.
    pub fn forward(&self, xs: &Tensor, _step: &Step) -> Tensor {
        if xs.kind() == Kind::Float {
            return xs.rms_norm([self.dim], Some(&self.weight), self.eps);
        }
        let normalised = xs.to_kind(Kind::Float).rms_norm([self.dim], None::<&Tensor>, self.eps);
        normalised.to_kind(xs.kind()) * &self.weight
    }
}

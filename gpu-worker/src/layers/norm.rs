//! Layer normalisation (Ba et al., 2016, <https://arxiv.org/abs/1607.06450>) and its root-mean-square form
//! (Zhang & Sennrich, 2019, <https://arxiv.org/abs/1910.07467>); group normalisation of pictures
//! (Wu & He, 2018, <https://arxiv.org/abs/1803.08494>).

use tch::{Kind, Tensor};

use super::Step;
use crate::weights::{Weights, WeightsError};

pub struct LayerNorm {
    /// Without a weight and a bias it only normalises.
    weight: Option<Tensor>,
    bias: Option<Tensor>,
    dim: i64,
    eps: f64,
}

impl LayerNorm {
    /// A norm with a weight and a bias.
    pub fn load(weights: &Weights, dim: i64, eps: f64) -> Result<Self, WeightsError> {
        Self::load_with(weights, dim, eps, true)
    }

    /// A norm whose bias is a matter of configuration.
    pub fn load_with(
        weights: &Weights,
        dim: i64,
        eps: f64,
        bias: bool,
    ) -> Result<Self, WeightsError> {
        let weight = Some(weights.get("weight", &[dim])?);
        let bias = if bias { Some(weights.get("bias", &[dim])?) } else { None };
        Ok(Self { weight, bias, dim, eps })
    }

    /// One that has learned nothing.
    pub fn plain(dim: i64, eps: f64) -> Self {
        Self { weight: None, bias: None, dim, eps }
    }

    /// `[…, dim]` to the same shape.
    pub fn forward(&self, xs: &Tensor, _step: &Step) -> Tensor {
        xs.layer_norm([self.dim], self.weight.as_ref(), self.bias.as_ref(), self.eps, true)
    }
}

/// Normalises each of several groups of a picture's channels.
pub struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    n_groups: i64,
    eps: f64,
}

impl GroupNorm {
    /// `n_groups` must divide `n_channels`.
    pub fn load(
        weights: &Weights,
        n_groups: i64,
        n_channels: i64,
        eps: f64,
    ) -> Result<Self, WeightsError> {
        let weight = weights.get("weight", &[n_channels])?;
        Ok(Self { weight, bias: weights.get("bias", &[n_channels])?, n_groups, eps })
    }

    /// `[batch, n_channels, …]` to the same shape.
    pub fn forward(&self, xs: &Tensor, _step: &Step) -> Tensor {
        xs.group_norm(self.n_groups, Some(&self.weight), Some(&self.bias), self.eps, true)
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

    /// One that scales half types in float32, before it rounds to them.
    pub fn load_exact(weights: &Weights, dim: i64, eps: f64) -> Result<Self, WeightsError> {
        Ok(Self { weight: weights.get("weight", &[dim])?.to_kind(Kind::Float), dim, eps })
    }

    /// As [`Self::load_exact`], with a weight that is stored as its distance from 1, as Gemma does.
    pub fn load_offset(weights: &Weights, dim: i64, eps: f64) -> Result<Self, WeightsError> {
        Ok(Self { weight: weights.get("weight", &[dim])?.to_kind(Kind::Float) + 1.0, dim, eps })
    }

    /// `[…, dim]` to the same shape. Half types are normalised in float32 and scaled in their own type, unless the
    /// weight is float32.
    pub fn forward(&self, xs: &Tensor, _step: &Step) -> Tensor {
        let kind = xs.kind();
        if kind == Kind::Float {
            return xs.rms_norm([self.dim], Some(&self.weight), self.eps);
        }
        let xs = xs.to_kind(Kind::Float);
        if self.weight.kind() == Kind::Float {
            return xs.rms_norm([self.dim], Some(&self.weight), self.eps).to_kind(kind);
        }
        xs.rms_norm([self.dim], None::<&Tensor>, self.eps).to_kind(kind) * &self.weight
    }
}

/// Which norm, where that is a matter of configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NormKind {
    Layer,
    /// A layer norm without weight and bias.
    LayerPlain,
    Rms,
    /// Scales half types before it rounds to them.
    RmsExact,
    /// The weight is stored as its distance from 1.
    RmsOffset,
}

/// A norm that was chosen by configuration.
pub enum Norm {
    Layer(LayerNorm),
    Rms(RmsNorm),
}

impl Norm {
    pub fn load(
        weights: &Weights,
        kind: NormKind,
        dim: i64,
        eps: f64,
    ) -> Result<Self, WeightsError> {
        Ok(match kind {
            NormKind::Layer => Self::Layer(LayerNorm::load(weights, dim, eps)?),
            NormKind::LayerPlain => Self::Layer(LayerNorm::plain(dim, eps)),
            NormKind::Rms => Self::Rms(RmsNorm::load(weights, dim, eps)?),
            NormKind::RmsExact => Self::Rms(RmsNorm::load_exact(weights, dim, eps)?),
            NormKind::RmsOffset => Self::Rms(RmsNorm::load_offset(weights, dim, eps)?),
        })
    }

    /// `[…, dim]` to the same shape.
    pub fn forward(&self, xs: &Tensor, step: &Step) -> Tensor {
        match self {
            Self::Layer(norm) => norm.forward(xs, step),
            Self::Rms(norm) => norm.forward(xs, step),
        }
    }
}

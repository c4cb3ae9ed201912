//! Cuts a picture into patches and projects each: a convolution whose stride is its kernel.

use tch::Tensor;

use super::Step;
use crate::weights::{Weights, WeightsError};

pub struct PatchEmbedding {
    weight: Tensor,
    bias: Option<Tensor>,
    patch_size: [i64; 2],
}

impl PatchEmbedding {
    /// With a bias; `patch_size` is height and width.
    pub fn load(
        weights: &Weights,
        n_channels: i64,
        dim: i64,
        patch_size: [i64; 2],
    ) -> Result<Self, WeightsError> {
        Self::load_with(weights, n_channels, dim, patch_size, true)
    }

    pub fn load_with(
        weights: &Weights,
        n_channels: i64,
        dim: i64,
        patch_size: [i64; 2],
        has_bias: bool,
    ) -> Result<Self, WeightsError> {
        Ok(Self {
            weight: weights.get("weight", &[dim, n_channels, patch_size[0], patch_size[1]])?,
            bias: has_bias.then(|| weights.get("bias", &[dim])).transpose()?,
            patch_size,
        })
    }

    /// `[batch, n_channels, height, width]` to `[batch, n_patches, dim]`, row by row. Pixels are brought to the
    /// weight's type.
    pub fn forward(&self, pixels: &Tensor, _step: &Step) -> Tensor {
        pixels
            .to_kind(self.weight.kind())
            .conv2d(&self.weight, self.bias.as_ref(), self.patch_size, [0, 0], [1, 1], 1)
            .flatten(2, -1)
            .transpose(1, 2)
    }
}

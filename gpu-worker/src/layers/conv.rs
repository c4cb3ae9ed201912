//! Convolution over pictures.

use tch::{Kind, Tensor};

use super::Step;
use crate::weights::{Weights, WeightsError};

pub struct Conv2d {
    weight: Tensor,
    bias: Tensor,
    config: Conv2dConfig,
}

/// A square kernel; stride and padding are the same on both axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2dConfig {
    pub kernel: i64,
    pub stride: i64,
    pub padding: i64,
}

impl Conv2dConfig {
    /// Keeps height and width; `kernel` is odd.
    pub const fn same(kernel: i64) -> Self {
        Self { kernel, stride: 1, padding: kernel / 2 }
    }
}

impl Conv2d {
    /// A convolution with a bias.
    pub fn load(
        weights: &Weights,
        in_channels: i64,
        out_channels: i64,
        config: Conv2dConfig,
    ) -> Result<Self, WeightsError> {
        let kernel = config.kernel;
        Ok(Self {
            weight: weights.get("weight", &[out_channels, in_channels, kernel, kernel])?,
            bias: weights.get("bias", &[out_channels])?,
            config,
        })
    }

    /// `[batch, in_channels, height, width]` to `[batch, out_channels, height', width']`.
    pub fn forward(&self, xs: &Tensor, _step: &Step) -> Tensor {
        let Conv2dConfig { stride, padding, .. } = self.config;
        xs.conv2d(&self.weight, Some(&self.bias), [stride, stride], [padding, padding], [1, 1], 1)
    }

    /// Of its weights, and of what it takes.
    pub fn kind(&self) -> Kind {
        self.weight.kind()
    }
}

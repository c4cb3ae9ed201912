//! Convolution over pictures.

use tch::{Kind, Tensor};

use super::{Step, lora::Product};
use crate::weights::{Weights, WeightsError};

pub struct Conv2d {
    weight: Tensor,
    bias: Tensor,
    product: Product,
    /// Its place among the model's layers, by which adapters know it; `None`: they cannot add to it.
    module: Option<usize>,
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
            product: Product::Convolution(config),
            module: weights.convolution(in_channels, out_channels, kernel),
        })
    }

    /// `[batch, in_channels, height, width]` to `[batch, out_channels, height', width']`; the first dimension is the rows
    /// of the step where it has adapters.
    pub fn forward(&self, xs: &Tensor, step: &Step) -> Tensor {
        let mut ys = self.product.of(xs, &self.weight, Some(&self.bias));
        if let (Some(adapted), Some(module)) = (&step.adapted, self.module) {
            adapted.apply(module, self.product, xs, &mut ys);
        }
        ys
    }

    /// Of its weights, and of what it takes.
    pub fn kind(&self) -> Kind {
        self.weight.kind()
    }
}

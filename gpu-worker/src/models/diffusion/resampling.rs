//! Halving and doubling of pictures inside a network.
//!
//! Reference: `diffusers/models/downsampling.py` and `upsampling.py`.

use tch::Tensor;

use crate::{
    layers::{Conv2d, Conv2dConfig, Step},
    weights::{Weights, WeightsError},
};

/// A convolution with a stride of two.
pub(super) struct Downsample {
    conv: Conv2d,
    /// Without padding on all sides one column and one row are put after the last.
    pads_ends: bool,
}

impl Downsample {
    pub(super) fn load(
        weights: &Weights,
        n_channels: i64,
        padding: i64,
    ) -> Result<Self, WeightsError> {
        let config = Conv2dConfig { kernel: 3, stride: 2, padding };
        let conv = Conv2d::load(&weights.at("conv"), n_channels, n_channels, config)?;
        Ok(Self { conv, pads_ends: padding == 0 })
    }

    /// `[batch, n_channels, height, width]` to about half of both sides.
    pub(super) fn forward(&self, xs: &Tensor, step: &Step) -> Tensor {
        if self.pads_ends {
            return self.conv.forward(&xs.constant_pad_nd([0, 1, 0, 1]), step);
        }
        self.conv.forward(xs, step)
    }
}

/// Each pixel becomes four, then a convolution.
pub(super) struct Upsample {
    conv: Conv2d,
}

impl Upsample {
    pub(super) fn load(weights: &Weights, n_channels: i64) -> Result<Self, WeightsError> {
        let conv =
            Conv2d::load(&weights.at("conv"), n_channels, n_channels, Conv2dConfig::same(3))?;
        Ok(Self { conv })
    }

    /// `[batch, n_channels, height, width]` to the given height and width, twice the sides unless what is added later
    /// had an odd one.
    pub(super) fn forward(&self, xs: &Tensor, [height, width]: [i64; 2], step: &Step) -> Tensor {
        let larger = xs.upsample_nearest2d([height, width], None, None);
        self.conv.forward(&larger, step)
    }
}

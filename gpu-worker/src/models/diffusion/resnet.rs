//! The residual block of convolutions that all diffusion U-Nets and their autoencoders are made of.
//!
//! Reference: `diffusers/models/resnet.py`, `ResnetBlock2D`.

use tch::Tensor;

use super::Conditions;
use crate::{
    layers::{Activation, Conv2d, Conv2dConfig, GroupNorm, Linear},
    weights::{Weights, WeightsError},
};

/// What all residual blocks of one part of a network share.
#[derive(Clone, Copy)]
pub(super) struct ResnetConfig {
    pub act: Activation,
    pub n_groups: i64,
    pub eps: f64,
    /// `None` where the network knows no time.
    pub time: Option<TimeConfig>,
    /// The sum of both branches is divided by this.
    pub output_scale: f64,
}

/// How a block hears of the time.
#[derive(Clone, Copy)]
pub(super) struct TimeConfig {
    pub dim: i64,
    /// The time scales and shifts what the second norm makes, rather than being added before it.
    pub scale_shift: bool,
}

pub(super) struct Resnet {
    norm1: GroupNorm,
    conv1: Conv2d,
    time_emb_proj: Option<Linear>,
    norm2: GroupNorm,
    conv2: Conv2d,
    conv_shortcut: Option<Conv2d>,
    config: ResnetConfig,
}

impl Resnet {
    pub(super) fn load(
        weights: &Weights,
        in_channels: i64,
        out_channels: i64,
        config: ResnetConfig,
    ) -> Result<Self, WeightsError> {
        let ResnetConfig { n_groups, eps, time, .. } = config;
        let conv = |name, in_channels, kernel| {
            Conv2d::load(&weights.at(name), in_channels, out_channels, Conv2dConfig::same(kernel))
        };
        let project = |time: TimeConfig| {
            let parts = if time.scale_shift { 2 } else { 1 };
            Linear::load(&weights.at("time_emb_proj"), time.dim, parts * out_channels)
        };
        let widens = in_channels != out_channels;
        Ok(Self {
            norm1: GroupNorm::load(&weights.at("norm1"), n_groups, in_channels, eps)?,
            conv1: conv("conv1", in_channels, 3)?,
            time_emb_proj: time.map(project).transpose()?,
            norm2: GroupNorm::load(&weights.at("norm2"), n_groups, out_channels, eps)?,
            conv2: conv("conv2", out_channels, 3)?,
            conv_shortcut: widens.then(|| conv("conv_shortcut", in_channels, 1)).transpose()?,
            config,
        })
    }

    /// `[batch, in_channels, height, width]` to `[batch, out_channels, height, width]`.
    pub(super) fn forward(&self, xs: &Tensor, conditions: &Conditions) -> Tensor {
        let (act, step) = (self.config.act, conditions.step);
        let hidden = act.forward(&self.norm1.forward(xs, step));
        let hidden = self.conv1.forward(&hidden, step);
        let hidden = act.forward(&self.timed(hidden, conditions));
        let hidden = self.conv2.forward(&hidden, step);
        let summed = match &self.conv_shortcut {
            Some(shortcut) => shortcut.forward(xs, step) + hidden,
            None => xs + hidden,
        };
        if self.config.output_scale == 1.0 { summed } else { summed / self.config.output_scale }
    }

    /// The second norm, told of the time.
    fn timed(&self, hidden: Tensor, conditions: &Conditions) -> Tensor {
        let step = conditions.step;
        let (Some(config), Some(projection)) = (self.config.time, &self.time_emb_proj) else {
            return self.norm2.forward(&hidden, step);
        };
        let time = conditions.time.expect("a network whose blocks hear of the time is told it");
        let time = projection.forward(&self.config.act.forward(time), step);
        let time = time.unsqueeze(-1).unsqueeze(-1);
        if !config.scale_shift {
            return self.norm2.forward(&(hidden + time), step);
        }
        let parts = time.chunk(2, 1);
        self.norm2.forward(&hidden, step) * (&parts[0] + 1.0) + &parts[1]
    }
}

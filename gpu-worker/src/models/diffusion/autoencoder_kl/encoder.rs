//! From pixels to what the moments of their latents are made of.

use tch::Tensor;

use super::{
    super::blocks::{AttentionConfig, DownBlock, DownBlockConfig, MidBlock},
    Config, EPS, nothing,
};
use crate::{
    layers::{Activation, Conv2d, Conv2dConfig, GroupNorm, Step},
    weights::{Weights, WeightsError},
};

pub(super) struct Encoder {
    conv_in: Conv2d,
    down_blocks: Vec<DownBlock>,
    mid_block: MidBlock,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Encoder {
    pub(super) fn load(config: &Config, weights: &Weights) -> Result<Self, WeightsError> {
        let channels = &config.block_out_channels;
        let (first, deepest) = (channels[0], config.deepest());
        let blocks = weights.at("down_blocks");
        let conv = |name, in_channels, out_channels| {
            Conv2d::load(&weights.at(name), in_channels, out_channels, Conv2dConfig::same(3))
        };
        Ok(Self {
            conv_in: conv("conv_in", config.in_channels, first)?,
            down_blocks: (0..channels.len())
                .map(|block| {
                    let is_last = block + 1 == channels.len();
                    let part = DownBlockConfig {
                        in_channels: channels[block.saturating_sub(1)],
                        out_channels: channels[block],
                        n_resnets: config.layers_per_block,
                        attention: AttentionConfig::None,
                        downsample_padding: (!is_last).then_some(0),
                    };
                    DownBlock::load(&blocks.at(block), &part, config.resnet())
                })
                .collect::<Result<_, _>>()?,
            mid_block: config.mid_block(weights)?,
            conv_norm_out: GroupNorm::load(
                &weights.at("conv_norm_out"),
                config.norm_num_groups,
                deepest,
                EPS,
            )?,
            conv_out: conv("conv_out", deepest, 2 * config.latent_channels)?,
        })
    }

    pub(super) fn forward(&self, pixels: &Tensor, step: &Step) -> Tensor {
        let conditions = nothing(step);
        let mut hidden = self.conv_in.forward(pixels, step);
        for block in &self.down_blocks {
            hidden = block.forward(hidden, &conditions, |_| ());
        }
        let hidden = self.mid_block.forward(&hidden, &conditions);
        let hidden = Activation::Silu.forward(&self.conv_norm_out.forward(&hidden, step));
        self.conv_out.forward(&hidden, step)
    }
}

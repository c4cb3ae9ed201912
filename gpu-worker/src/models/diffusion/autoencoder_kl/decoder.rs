//! From latents to pixels.

use tch::Tensor;

use super::{
    super::blocks::{AttentionConfig, MidBlock, UpBlock, UpBlockConfig},
    Config, EPS, nothing,
};
use crate::{
    layers::{Activation, Conv2d, Conv2dConfig, GroupNorm, Step},
    weights::{Weights, WeightsError},
};

pub(super) struct Decoder {
    conv_in: Conv2d,
    mid_block: MidBlock,
    up_blocks: Vec<UpBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Decoder {
    pub(super) fn load(config: &Config, weights: &Weights) -> Result<Self, WeightsError> {
        let channels: Vec<i64> = config.block_out_channels.iter().rev().copied().collect();
        let (deepest, last) = (config.deepest(), config.block_out_channels[0]);
        let blocks = weights.at("up_blocks");
        let conv = |name, in_channels, out_channels| {
            Conv2d::load(&weights.at(name), in_channels, out_channels, Conv2dConfig::same(3))
        };
        Ok(Self {
            conv_in: conv("conv_in", config.latent_channels, deepest)?,
            mid_block: config.mid_block(weights)?,
            up_blocks: (0..channels.len())
                .map(|block| {
                    let mut in_channels = vec![channels[block]; config.layers_per_block + 1];
                    in_channels[0] = channels[block.saturating_sub(1)];
                    let part = UpBlockConfig {
                        in_channels,
                        out_channels: channels[block],
                        attention: AttentionConfig::None,
                        upsamples: block + 1 != channels.len(),
                    };
                    UpBlock::load(&blocks.at(block), &part, config.resnet())
                })
                .collect::<Result<_, _>>()?,
            conv_norm_out: GroupNorm::load(
                &weights.at("conv_norm_out"),
                config.norm_num_groups,
                last,
                EPS,
            )?,
            conv_out: conv("conv_out", last, config.out_channels)?,
        })
    }

    pub(super) fn forward(&self, latents: &Tensor, step: &Step) -> Tensor {
        let conditions = nothing(step);
        let hidden = self.conv_in.forward(latents, step);
        let mut hidden = self.mid_block.forward(&hidden, &conditions);
        for block in &self.up_blocks {
            hidden = block.forward(hidden, &conditions, Vec::new(), None);
        }
        let hidden = Activation::Silu.forward(&self.conv_norm_out.forward(&hidden, step));
        self.conv_out.forward(&hidden, step)
    }
}

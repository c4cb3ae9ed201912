//! The shape of a U-Net: down to the bottom and up again, where what was made on the way down is put beside
//! (Ronneberger et al., 2015, <https://arxiv.org/abs/1505.04597>).

use tch::Tensor;

use super::{
    Conditions,
    blocks::{
        AttentionConfig, DownBlock, DownBlockConfig, MidBlock, UpBlock, UpBlockConfig, sides,
    },
    resnet::ResnetConfig,
};
use crate::weights::{Weights, WeightsError};

/// The way down and the bottom.
pub(super) struct Descent {
    down_blocks: Vec<DownBlock>,
    mid_block: Option<MidBlock>,
    /// Of what is kept on the way down, in this order.
    kept: Vec<i64>,
}

pub(super) struct DescentConfig {
    /// From the first to the deepest.
    pub channels: Vec<i64>,
    pub down: Vec<PartConfig>,
    pub mid: Option<MidConfig>,
    pub downsample_padding: i64,
    pub resnet: ResnetConfig,
}

pub(super) struct UShape {
    descent: Descent,
    up_blocks: Vec<UpBlock>,
}

pub(super) struct UShapeConfig {
    pub descent: DescentConfig,
    /// The deepest first. Each part has one residual block more than the one on the way down.
    pub up: Vec<PartConfig>,
}

/// What another network adds to one on its way: to what is kept on the way down, and to the bottom. Of the same shapes, or
/// with sides of one.
pub struct Control {
    pub down: Vec<Tensor>,
    pub mid: Tensor,
}

/// One part on either way.
pub(super) struct PartConfig {
    pub n_resnets: usize,
    pub attention: AttentionConfig,
}

pub(super) struct MidConfig {
    pub n_attentions: usize,
    pub attention: AttentionConfig,
    pub resnet: ResnetConfig,
}

impl Descent {
    /// `config` has as many parts as it has numbers of channels.
    pub(super) fn load(weights: &Weights, config: DescentConfig) -> Result<Self, WeightsError> {
        let DescentConfig { channels, down, mid, downsample_padding, resnet } = config;
        let n_parts = channels.len();
        let deepest = channels[n_parts - 1];
        let mut kept = vec![channels[0]];
        for (idx, part) in down.iter().enumerate() {
            let n_kept = part.n_resnets + usize::from(idx + 1 < n_parts);
            kept.extend(std::iter::repeat_n(channels[idx], n_kept));
        }
        let down_weights = weights.at("down_blocks");
        let down_blocks = down.into_iter().enumerate().map(|(idx, part)| {
            let part = DownBlockConfig {
                in_channels: channels[idx.saturating_sub(1)],
                out_channels: channels[idx],
                n_resnets: part.n_resnets,
                attention: part.attention,
                downsample_padding: (idx + 1 < n_parts).then_some(downsample_padding),
            };
            DownBlock::load(&down_weights.at(idx), &part, resnet)
        });
        let mid_block = mid.map(|MidConfig { n_attentions, attention, resnet }| {
            let weights = weights.at("mid_block");
            MidBlock::load(&weights, deepest, n_attentions, &attention, resnet)
        });
        Ok(Self {
            down_blocks: down_blocks.collect::<Result<_, _>>()?,
            mid_block: mid_block.transpose()?,
            kept,
        })
    }

    /// Channels of what is kept on the way down, in this order.
    pub(super) fn kept(&self) -> &[i64] {
        &self.kept
    }

    /// `[batch, channels, height, width]` with the first number of channels, to what is kept on the way down, itself
    /// first, and what the bottom makes.
    pub(super) fn forward(
        &self,
        mut hidden: Tensor,
        conditions: &Conditions,
    ) -> (Vec<Tensor>, Tensor) {
        let mut kept = vec![hidden.shallow_clone()];
        for block in &self.down_blocks {
            hidden = block.forward(hidden, conditions, |made| kept.push(made.shallow_clone()));
        }
        if let Some(block) = &self.mid_block {
            hidden = block.forward(&hidden, conditions);
        }
        (kept, hidden)
    }
}

impl UShape {
    /// `config` has as many parts on either way as it has numbers of channels.
    pub(super) fn load(weights: &Weights, config: UShapeConfig) -> Result<Self, WeightsError> {
        let UShapeConfig { descent, up } = config;
        let (channels, resnet) = (descent.channels.clone(), descent.resnet);
        let n_parts = channels.len();
        let descent = Descent::load(weights, descent)?;
        let up_weights = weights.at("up_blocks");
        let up_blocks = up.into_iter().enumerate().map(|(idx, part)| {
            let part = UpBlockConfig {
                in_channels: channels_up(&channels, idx, part.n_resnets),
                out_channels: channels[n_parts - 1 - idx],
                attention: part.attention,
                upsamples: idx + 1 < n_parts,
            };
            UpBlock::load(&up_weights.at(idx), &part, resnet)
        });
        Ok(Self { descent, up_blocks: up_blocks.collect::<Result<_, _>>()? })
    }

    /// Channels of what is kept on the way down, in this order: what [`Control::down`] adds to.
    pub(super) fn kept(&self) -> &[i64] {
        self.descent.kept()
    }

    /// `[batch, channels, height, width]` with the first number of channels, to the same shape.
    pub(super) fn forward(
        &self,
        hidden: Tensor,
        conditions: &Conditions,
        control: Option<&Control>,
    ) -> Tensor {
        let (mut kept, mut hidden) = self.descent.forward(hidden, conditions);
        if let Some(Control { down, mid }) = control {
            kept = kept.iter().zip(down).map(|(kept, added)| kept + added).collect();
            // Not in place: the way up reads what is kept of the way down, which may be the same tensor.
            hidden = &hidden + mid;
        }
        for block in &self.up_blocks {
            let beside = kept.split_off(kept.len() - block.n_resnets());
            let size = kept.last().map(sides);
            hidden = block.forward(hidden, conditions, beside, size);
        }
        hidden
    }
}

/// What each residual block of a part on the way up is given: what came before, and what was kept on the way down.
fn channels_up(channels: &[i64], part: usize, n_resnets: usize) -> Vec<i64> {
    let last = channels.len() - 1;
    let up = |idx: usize| channels[last - idx.min(last)];
    let (before, own, beside_last) = (up(part.saturating_sub(1)), up(part), up(part + 1));
    (0..n_resnets)
        .map(|block| {
            let given = if block == 0 { before } else { own };
            given + if block + 1 == n_resnets { beside_last } else { own }
        })
        .collect()
}

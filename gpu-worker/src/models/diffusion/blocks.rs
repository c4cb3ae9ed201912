//! What is repeated on the way down, at the bottom and on the way up of a U-Net or an autoencoder: residual blocks,
//! attention after each where there is any, and a change of size.
//!
//! Reference: `diffusers/models/unets/unet_2d_blocks.py`.

use tch::Tensor;

use super::{
    Conditions,
    attention::{PictureAttention, PictureAttentionConfig},
    resampling::{Downsample, Upsample},
    resnet::{Resnet, ResnetConfig},
    transformer::{TextAttention, TextAttentionConfig},
};
use crate::weights::{Weights, WeightsError};

/// Which attention follows the residual blocks of one part.
pub(super) enum AttentionConfig {
    None,
    Picture(PictureAttentionConfig),
    /// With so many layers after each residual block.
    Text(TextAttentionConfig, Vec<i64>),
}

pub(super) enum Attention {
    Picture(PictureAttention),
    Text(TextAttention),
}

impl AttentionConfig {
    /// One for each of `n_blocks` residual blocks, or none at all.
    fn load(
        &self,
        weights: &Weights,
        n_channels: i64,
        n_blocks: usize,
    ) -> Result<Vec<Attention>, WeightsError> {
        let weights = weights.at("attentions");
        match self {
            Self::None => Ok(Vec::new()),
            Self::Picture(config) => (0..n_blocks)
                .map(|block| PictureAttention::load(&weights.at(block), *config))
                .map(|attention| attention.map(Attention::Picture))
                .collect(),
            Self::Text(config, n_layers) => (0..n_blocks)
                .zip(n_layers)
                .map(|(block, n_layers)| {
                    TextAttention::load(&weights.at(block), n_channels, *n_layers, *config)
                })
                .map(|attention| attention.map(Attention::Text))
                .collect(),
        }
    }
}

impl Attention {
    fn forward(&self, xs: &Tensor, conditions: &Conditions) -> Tensor {
        match self {
            Self::Picture(attention) => attention.forward(xs, conditions.step),
            Self::Text(attention) => {
                let text = conditions.text.expect("a network that looks at a text is given one");
                attention.forward(xs, text, conditions.step)
            }
        }
    }
}

/// One part on the way down.
pub(super) struct DownBlock {
    resnets: Vec<Resnet>,
    attentions: Vec<Attention>,
    downsampler: Option<Downsample>,
}

pub(super) struct DownBlockConfig {
    pub in_channels: i64,
    pub out_channels: i64,
    pub n_resnets: usize,
    pub attention: AttentionConfig,
    /// Padding of the convolution that halves the sides; `None`: the size stays.
    pub downsample_padding: Option<i64>,
}

impl DownBlock {
    pub(super) fn load(
        weights: &Weights,
        config: &DownBlockConfig,
        resnet: ResnetConfig,
    ) -> Result<Self, WeightsError> {
        let &DownBlockConfig { in_channels, out_channels, n_resnets, .. } = config;
        let resnets = weights.at("resnets");
        let downsampler = weights.at("downsamplers").at(0);
        Ok(Self {
            resnets: (0..n_resnets)
                .map(|block| {
                    let in_channels = if block == 0 { in_channels } else { out_channels };
                    Resnet::load(&resnets.at(block), in_channels, out_channels, resnet)
                })
                .collect::<Result<_, _>>()?,
            attentions: config.attention.load(weights, out_channels, n_resnets)?,
            downsampler: config
                .downsample_padding
                .map(|padding| Downsample::load(&downsampler, out_channels, padding))
                .transpose()?,
        })
    }

    /// `[batch, in_channels, height, width]` to `[batch, out_channels, height', width']`. What each residual block and
    /// the change of size made is given to `keep`.
    pub(super) fn forward(
        &self,
        mut xs: Tensor,
        conditions: &Conditions,
        mut keep: impl FnMut(&Tensor),
    ) -> Tensor {
        for (block, resnet) in self.resnets.iter().enumerate() {
            xs = resnet.forward(&xs, conditions);
            if let Some(attention) = self.attentions.get(block) {
                xs = attention.forward(&xs, conditions);
            }
            keep(&xs);
        }
        if let Some(downsampler) = &self.downsampler {
            xs = downsampler.forward(&xs, conditions.step);
            keep(&xs);
        }
        xs
    }
}

/// The bottom: a residual block, and one more after each attention.
pub(super) struct MidBlock {
    resnets: Vec<Resnet>,
    attentions: Vec<Attention>,
}

impl MidBlock {
    /// `n_attentions` may be 0; without attention there are so many residual blocks more all the same.
    pub(super) fn load(
        weights: &Weights,
        n_channels: i64,
        n_attentions: usize,
        attention: &AttentionConfig,
        resnet: ResnetConfig,
    ) -> Result<Self, WeightsError> {
        let resnets = weights.at("resnets");
        Ok(Self {
            resnets: (0..=n_attentions)
                .map(|block| Resnet::load(&resnets.at(block), n_channels, n_channels, resnet))
                .collect::<Result<_, _>>()?,
            attentions: attention.load(weights, n_channels, n_attentions)?,
        })
    }

    /// `[batch, n_channels, height, width]` to the same shape.
    pub(super) fn forward(&self, xs: &Tensor, conditions: &Conditions) -> Tensor {
        let mut xs = self.resnets[0].forward(xs, conditions);
        for (block, resnet) in self.resnets[1..].iter().enumerate() {
            if let Some(attention) = self.attentions.get(block) {
                xs = attention.forward(&xs, conditions);
            }
            xs = resnet.forward(&xs, conditions);
        }
        xs
    }
}

/// One part on the way up.
pub(super) struct UpBlock {
    resnets: Vec<Resnet>,
    attentions: Vec<Attention>,
    upsampler: Option<Upsample>,
}

pub(super) struct UpBlockConfig {
    /// What each residual block is given: what the one before made, and what is put beside it.
    pub in_channels: Vec<i64>,
    pub out_channels: i64,
    pub attention: AttentionConfig,
    pub upsamples: bool,
}

impl UpBlock {
    pub(super) fn load(
        weights: &Weights,
        config: &UpBlockConfig,
        resnet: ResnetConfig,
    ) -> Result<Self, WeightsError> {
        let out_channels = config.out_channels;
        let resnets = weights.at("resnets");
        let upsampler = weights.at("upsamplers").at(0);
        Ok(Self {
            resnets: config
                .in_channels
                .iter()
                .enumerate()
                .map(|(block, in_channels)| {
                    Resnet::load(&resnets.at(block), *in_channels, out_channels, resnet)
                })
                .collect::<Result<_, _>>()?,
            attentions: config.attention.load(weights, out_channels, config.in_channels.len())?,
            upsampler: config
                .upsamples
                .then(|| Upsample::load(&upsampler, out_channels))
                .transpose()?,
        })
    }

    /// How many tensors [`Self::forward`] wants to put beside, where the network has such.
    pub(super) fn n_resnets(&self) -> usize {
        self.resnets.len()
    }

    /// `[batch, channels, height, width]` to `[batch, out_channels, height', width']`. Of `beside` the last tensor is
    /// put beside what the first residual block is given, and so on; `size` is the height and width in the end, where
    /// they are not simply twice what they were.
    pub(super) fn forward(
        &self,
        mut xs: Tensor,
        conditions: &Conditions,
        mut beside: Vec<Tensor>,
        size: Option<[i64; 2]>,
    ) -> Tensor {
        for (block, resnet) in self.resnets.iter().enumerate() {
            if let Some(beside) = beside.pop() {
                xs = Tensor::cat(&[xs, beside], 1);
            }
            xs = resnet.forward(&xs, conditions);
            if let Some(attention) = self.attentions.get(block) {
                xs = attention.forward(&xs, conditions);
            }
        }
        match &self.upsampler {
            Some(upsampler) => {
                let [height, width] = sides(&xs);
                let size = size.unwrap_or([2 * height, 2 * width]);
                upsampler.forward(&xs, size, conditions.step)
            }
            None => xs,
        }
    }
}

/// Height and width of `[batch, channels, height, width]`.
pub(super) fn sides(xs: &Tensor) -> [i64; 2] {
    let (.., height, width) = xs.size4().expect("a picture has four dimensions");
    [height, width]
}

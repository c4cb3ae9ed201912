//! Attention of a picture's positions to each other and to a text.
//!
//! Reference: `diffusers/models/transformers/transformer_2d.py` and `models/attention.py`, `BasicTransformerBlock`.

use tch::Tensor;

use crate::{
    layers::{Conv2d, Conv2dConfig, GroupNorm, LayerNorm, Linear, Step},
    weights::{Weights, WeightsError},
};

const GROUP_NORM_EPS: f64 = 1e-6;
const LAYER_NORM_EPS: f64 = 1e-5;
/// The feed-forward part is so many times as wide.
const FEED_FORWARD: i64 = 4;

#[derive(Clone, Copy)]
pub(super) struct TextAttentionConfig {
    pub n_heads: i64,
    /// Length of a text token's vector.
    pub text_dim: i64,
    pub n_groups: i64,
    /// Projections in and out are linear layers rather than convolutions.
    pub linear: bool,
    /// The first attention looks at the text too, and not at the picture.
    pub only_text: bool,
}

pub(super) struct TextAttention {
    norm: GroupNorm,
    proj: Projections,
    transformer_blocks: Vec<Block>,
}

enum Projections {
    Linear([Linear; 2]),
    Convolution([Conv2d; 2]),
}

impl TextAttention {
    pub(super) fn load(
        weights: &Weights,
        n_channels: i64,
        n_layers: i64,
        config: TextAttentionConfig,
    ) -> Result<Self, WeightsError> {
        let names = [weights.at("proj_in"), weights.at("proj_out")];
        let [first, last] = &names;
        let linear = |weights| Linear::load(weights, n_channels, n_channels);
        let conv = |weights| Conv2d::load(weights, n_channels, n_channels, Conv2dConfig::same(1));
        let blocks = weights.at("transformer_blocks");
        Ok(Self {
            norm: GroupNorm::load(
                &weights.at("norm"),
                config.n_groups,
                n_channels,
                GROUP_NORM_EPS,
            )?,
            proj: if config.linear {
                Projections::Linear([linear(first)?, linear(last)?])
            } else {
                Projections::Convolution([conv(first)?, conv(last)?])
            },
            transformer_blocks: (0..n_layers)
                .map(|layer| Block::load(&blocks.at(layer), n_channels, config))
                .collect::<Result<_, _>>()?,
        })
    }

    /// `[batch, n_channels, height, width]` to the same shape; `text` is `[batch, seq, text_dim]`.
    pub(super) fn forward(&self, xs: &Tensor, text: &Tensor, step: &Step) -> Tensor {
        let normalised = self.norm.forward(xs, step);
        let flat = |xs: &Tensor| xs.flatten(2, -1).transpose(1, 2);
        let picture = |hidden: Tensor| hidden.transpose(1, 2).reshape(xs.size());
        let run = |hidden: Tensor| {
            self.transformer_blocks
                .iter()
                .fold(hidden, |hidden, block| block.forward(hidden, text, step))
        };
        let made = match &self.proj {
            Projections::Linear([proj_in, proj_out]) => {
                let hidden = run(proj_in.forward(&flat(&normalised), step));
                picture(proj_out.forward(&hidden, step))
            }
            Projections::Convolution([proj_in, proj_out]) => {
                let hidden = run(flat(&proj_in.forward(&normalised, step)));
                proj_out.forward(&picture(hidden), step)
            }
        };
        made + xs
    }
}

struct Block {
    norm1: LayerNorm,
    attn1: Attention,
    norm2: LayerNorm,
    attn2: Attention,
    norm3: LayerNorm,
    ff_in: Linear,
    ff_out: Linear,
    only_text: bool,
}

impl Block {
    fn load(
        weights: &Weights,
        dim: i64,
        config: TextAttentionConfig,
    ) -> Result<Self, WeightsError> {
        let TextAttentionConfig { n_heads, text_dim, only_text, .. } = config;
        let norm = |name| LayerNorm::load(&weights.at(name), dim, LAYER_NORM_EPS);
        let own_dim = if only_text { text_dim } else { dim };
        let ff = weights.at("ff.net");
        Ok(Self {
            norm1: norm("norm1")?,
            attn1: Attention::load(&weights.at("attn1"), dim, own_dim, n_heads)?,
            norm2: norm("norm2")?,
            attn2: Attention::load(&weights.at("attn2"), dim, text_dim, n_heads)?,
            norm3: norm("norm3")?,
            ff_in: Linear::load(&ff.at("0.proj"), dim, 2 * FEED_FORWARD * dim)?,
            ff_out: Linear::load(&ff.at("2"), FEED_FORWARD * dim, dim)?,
            only_text,
        })
    }

    /// `[batch, positions, dim]` to the same shape.
    fn forward(&self, xs: Tensor, text: &Tensor, step: &Step) -> Tensor {
        let normalised = self.norm1.forward(&xs, step);
        let seen = if self.only_text { text } else { &normalised };
        let xs = self.attn1.forward(&normalised, seen, step) + xs;
        let xs = self.attn2.forward(&self.norm2.forward(&xs, step), text, step) + xs;
        let parts = self.ff_in.forward(&self.norm3.forward(&xs, step), step).chunk(2, -1);
        self.ff_out.forward(&(&parts[0] * parts[1].gelu("none")), step) + xs
    }
}

struct Attention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
    n_heads: i64,
    scale: f64,
}

impl Attention {
    fn load(
        weights: &Weights,
        dim: i64,
        seen_dim: i64,
        n_heads: i64,
    ) -> Result<Self, WeightsError> {
        let project = |name, in_dim| Linear::load_with(&weights.at(name), in_dim, dim, false);
        Ok(Self {
            to_q: project("to_q", dim)?,
            to_k: project("to_k", seen_dim)?,
            to_v: project("to_v", seen_dim)?,
            to_out: Linear::load(&weights.at("to_out.0"), dim, dim)?,
            n_heads,
            scale: ((dim / n_heads) as f64).powf(-0.5),
        })
    }

    /// `[batch, positions, dim]` that look at `[batch, seq, seen_dim]`, to the shape of the first.
    fn forward(&self, xs: &Tensor, seen: &Tensor, step: &Step) -> Tensor {
        let q = self.to_q.forward(xs, step);
        let (k, v) = (self.to_k.forward(seen, step), self.to_v.forward(seen, step));
        self.to_out.forward(&step.attend_all(&q, &k, &v, self.n_heads, self.scale), step)
    }
}

//! FLUX's transformer (Black Forest Labs, 2024, <https://github.com/black-forest-labs/flux>): blocks of two kinds of tokens,
//! then blocks of all tokens alike, on latents of which two by two are one token.
//!
//! Reference: `diffusers/models/transformers/transformer_flux.py`.

use serde::Deserialize;
use tch::Tensor;

use super::mmdit::{
    Axes, Conditioning, JointBlock, JointBlockConfig, LastNorm, Shape, SingleBlock, check_blocks,
};
use crate::{
    layers::{Linear, Step},
    models::{LoadError, check_positive, unsupported},
    weights::Weights,
};

/// Latents on a side of a token.
pub(super) const PACKED: i64 = 2;
/// The reference hands times over in 0..1.
const TIME_UNITS: f64 = 1000.0;

/// Defaults are the reference's.
#[derive(Deserialize)]
#[serde(default)]
struct Config {
    patch_size: i64,
    in_channels: i64,
    out_channels: Option<i64>,
    num_layers: i64,
    num_single_layers: i64,
    attention_head_dim: i64,
    num_attention_heads: i64,
    joint_attention_dim: i64,
    pooled_projection_dim: i64,
    guidance_embeds: bool,
    axes_dims_rope: Vec<i64>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            patch_size: 1,
            in_channels: 64,
            out_channels: None,
            num_layers: 19,
            num_single_layers: 38,
            attention_head_dim: 128,
            num_attention_heads: 24,
            joint_attention_dim: 4096,
            pooled_projection_dim: 768,
            guidance_embeds: false,
            axes_dims_rope: vec![16, 56, 56],
        }
    }
}

impl Config {
    fn check(&self) -> Result<(), LoadError> {
        check_positive(&[
            ("in_channels", self.in_channels),
            ("attention_head_dim", self.attention_head_dim),
            ("num_attention_heads", self.num_attention_heads),
            ("joint_attention_dim", self.joint_attention_dim),
            ("pooled_projection_dim", self.pooled_projection_dim),
        ])?;
        check_blocks("num_layers", self.num_layers)?;
        check_blocks("num_single_layers", self.num_single_layers)?;
        if self.patch_size != 1 {
            return Err(unsupported("patch_size", self.patch_size));
        }
        if self.in_channels % (PACKED * PACKED) != 0 {
            return Err(unsupported("in_channels", self.in_channels));
        }
        // One that sees more than it tells: it fills in, or follows outlines.
        if let Some(other) = self.out_channels.filter(|channels| *channels != self.in_channels) {
            return Err(unsupported("out_channels", other));
        }
        Ok(())
    }

    fn axes(&self) -> Result<Axes, LoadError> {
        let dims = &self.axes_dims_rope;
        let refuse = || unsupported("axes_dims_rope", format!("{dims:?}"));
        let axes: [i64; 3] = dims.as_slice().try_into().map_err(|_| refuse())?;
        let is_good = axes.iter().all(|dim| *dim > 0 && dim % 2 == 0)
            && axes.iter().try_fold(0i64, |sum, dim| sum.checked_add(*dim))
                == Some(self.attention_head_dim);
        if is_good { Ok(Axes(axes)) } else { Err(refuse()) }
    }

    fn shape(&self) -> Result<Shape, LoadError> {
        let dim = self.attention_head_dim.saturating_mul(self.num_attention_heads);
        check_positive(&[("num_attention_heads", dim)])?;
        Ok(Shape { dim, n_heads: self.num_attention_heads, norms_heads: true })
    }
}

pub struct FluxTransformer {
    x_embedder: Linear,
    context_embedder: Linear,
    time_text_embed: Conditioning,
    transformer_blocks: Vec<JointBlock>,
    single_transformer_blocks: Vec<SingleBlock>,
    norm_out: LastNorm,
    proj_out: Linear,
    axes: Axes,
    config: Config,
}

impl FluxTransformer {
    /// `config` is the text of `config.json`.
    pub fn load(config: &str, weights: &Weights) -> Result<Self, LoadError> {
        let config: Config = serde_json::from_str(config)?;
        config.check()?;
        let (axes, shape) = (config.axes()?, config.shape()?);
        let linear = |name, in_dim, out_dim| Linear::load(&weights.at(name), in_dim, out_dim);
        let (blocks, single) =
            (weights.at("transformer_blocks"), weights.at("single_transformer_blocks"));
        let block = JointBlockConfig { shape, is_last: false, is_dual: false };
        Ok(Self {
            x_embedder: linear("x_embedder", config.in_channels, shape.dim)?,
            context_embedder: linear("context_embedder", config.joint_attention_dim, shape.dim)?,
            time_text_embed: Conditioning::load(
                &weights.at("time_text_embed"),
                shape.dim,
                config.pooled_projection_dim,
                config.guidance_embeds,
            )?,
            transformer_blocks: (0..config.num_layers)
                .map(|layer| JointBlock::load(&blocks.at(layer), block))
                .collect::<Result<_, _>>()?,
            single_transformer_blocks: (0..config.num_single_layers)
                .map(|layer| SingleBlock::load(&single.at(layer), shape))
                .collect::<Result<_, _>>()?,
            norm_out: LastNorm::load(&weights.at("norm_out"), shape.dim)?,
            proj_out: linear("proj_out", shape.dim, config.in_channels)?,
            axes,
            config,
        })
    }

    /// The velocity of `[batch, latent_channels, height, width]` latents, whose sides are even, at `times`, `[batch]` in
    /// 0..1000, in view of `[batch, seq, text_dim]`, `[batch, pooled_dim]` and, where [`Self::is_guided`], `[batch]`
    /// strengths of guidance.
    pub fn forward(
        &self,
        latents: &Tensor,
        times: &Tensor,
        text: &Tensor,
        pooled: &Tensor,
        guidance: Option<&Tensor>,
        step: &Step,
    ) -> Tensor {
        let (_, _, height, width) = latents.size4().expect("latents are pictures");
        let sides = [height / PACKED, width / PACKED];
        let mut picture = self.x_embedder.forward(&packed(latents, sides), step);
        // Rounded as the reference does, which divides them before.
        let times = times.to_kind(picture.kind()) / TIME_UNITS * TIME_UNITS;
        let guidance = guidance.map(|guidance| guidance.to_kind(picture.kind()) * TIME_UNITS);
        let conditioning = self.time_text_embed.forward(&times, pooled, guidance.as_ref(), step);
        let mut text = self.context_embedder.forward(text, step);
        let seq = text.size()[1];
        let turns = self.axes.turns(seq, sides, latents.device());
        for block in &self.transformer_blocks {
            (picture, text) = block.forward(&picture, &text, &conditioning, Some(&turns), step);
        }
        let mut tokens = Tensor::cat(&[text, picture], 1);
        for block in &self.single_transformer_blocks {
            tokens = block.forward(&tokens, &conditioning, &turns, step);
        }
        let picture = tokens.narrow(1, seq, sides[0] * sides[1]);
        let picture = self.norm_out.forward(&picture, &conditioning, step);
        unpacked(&self.proj_out.forward(&picture, step), sides)
    }

    /// Channels of the latents.
    pub fn latent_channels(&self) -> i64 {
        self.config.in_channels / (PACKED * PACKED)
    }

    /// Length of a text token's vector.
    pub fn text_dim(&self) -> i64 {
        self.config.joint_attention_dim
    }

    /// Length of a whole text's vector.
    pub fn pooled_dim(&self) -> i64 {
        self.config.pooled_projection_dim
    }

    /// Whether it is told the strength of guidance.
    pub fn is_guided(&self) -> bool {
        self.config.guidance_embeds
    }
}

/// `[batch, channels, 2 × height, 2 × width]` to `[batch, height × width, 4 × channels]`.
fn packed(latents: &Tensor, [height, width]: [i64; 2]) -> Tensor {
    let size = latents.size();
    latents
        .reshape([size[0], size[1], height, PACKED, width, PACKED])
        .permute([0, 2, 4, 1, 3, 5])
        .reshape([size[0], height * width, -1])
}

/// The latents that [`packed`] made these of.
fn unpacked(tokens: &Tensor, [height, width]: [i64; 2]) -> Tensor {
    let batch = tokens.size()[0];
    tokens
        .reshape([batch, height, width, -1, PACKED, PACKED])
        .permute([0, 3, 1, 4, 2, 5])
        .reshape([batch, -1, height * PACKED, width * PACKED])
}

//! Stable Diffusion 3's transformer (Esser et al., 2024, <https://arxiv.org/abs/2403.03206>), and that of 3.5.
//!
//! Reference: `diffusers/models/transformers/transformer_sd3.py`.

use serde::Deserialize;
use tch::Tensor;

use super::mmdit::{Conditioning, JointBlock, JointBlockConfig, LastNorm, Shape, check_blocks};
use crate::{
    layers::{Conv2d, Conv2dConfig, Linear, Step},
    models::{LoadError, check_positive, unsupported},
    weights::Weights,
};

/// Latents on a side of a token are no more.
const MOST_PATCH: i64 = 64;

/// Defaults are the reference's.
#[derive(Deserialize)]
#[serde(default)]
struct Config {
    sample_size: i64,
    patch_size: i64,
    in_channels: i64,
    num_layers: i64,
    attention_head_dim: i64,
    num_attention_heads: i64,
    joint_attention_dim: i64,
    caption_projection_dim: i64,
    pooled_projection_dim: i64,
    out_channels: Option<i64>,
    pos_embed_max_size: Option<i64>,
    dual_attention_layers: Vec<i64>,
    qk_norm: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            sample_size: 128,
            patch_size: 2,
            in_channels: 16,
            num_layers: 18,
            attention_head_dim: 64,
            num_attention_heads: 18,
            joint_attention_dim: 4096,
            caption_projection_dim: 1152,
            pooled_projection_dim: 2048,
            out_channels: Some(16),
            pos_embed_max_size: Some(96),
            dual_attention_layers: Vec::new(),
            qk_norm: None,
        }
    }
}

impl Config {
    fn check(&self) -> Result<(), LoadError> {
        check_positive(&[
            ("sample_size", self.sample_size),
            ("patch_size", self.patch_size),
            ("in_channels", self.in_channels),
            ("num_layers", self.num_layers),
            ("attention_head_dim", self.attention_head_dim),
            ("num_attention_heads", self.num_attention_heads),
            ("joint_attention_dim", self.joint_attention_dim),
            ("pooled_projection_dim", self.pooled_projection_dim),
            ("out_channels", self.out_channels()),
            ("caption_projection_dim", self.caption_projection_dim),
        ])?;
        check_blocks("num_layers", self.num_layers)?;
        if self.patch_size > MOST_PATCH {
            return Err(unsupported("patch_size", self.patch_size));
        }
        if self.caption_projection_dim != self.dim() {
            return Err(unsupported("caption_projection_dim", self.caption_projection_dim));
        }
        match self.qk_norm.as_deref() {
            None | Some("rms_norm") => Ok(()),
            Some(other) => Err(unsupported("qk_norm", other)),
        }
    }

    /// How many tokens a side of its table of positions has.
    fn positions(&self) -> Result<i64, LoadError> {
        const MOST: i64 = 1 << 12;
        let field = "pos_embed_max_size";
        let side = self.pos_embed_max_size.ok_or_else(|| unsupported(field, "null"))?;
        if (1..=MOST).contains(&side) { Ok(side) } else { Err(unsupported(field, side)) }
    }

    fn dim(&self) -> i64 {
        self.attention_head_dim.saturating_mul(self.num_attention_heads)
    }

    fn out_channels(&self) -> i64 {
        self.out_channels.unwrap_or(self.in_channels)
    }

    fn block(&self, layer: i64) -> JointBlockConfig {
        JointBlockConfig {
            shape: Shape {
                dim: self.dim(),
                n_heads: self.num_attention_heads,
                norms_heads: self.qk_norm.is_some(),
            },
            is_last: layer + 1 == self.num_layers,
            is_dual: self.dual_attention_layers.contains(&layer),
        }
    }
}

pub struct Sd3Transformer {
    proj: Conv2d,
    /// `[positions, positions, dim]`: of a smaller picture it is the middle.
    pos_embed: Tensor,
    positions: i64,
    time_text_embed: Conditioning,
    context_embedder: Linear,
    transformer_blocks: Vec<JointBlock>,
    norm_out: LastNorm,
    proj_out: Linear,
    config: Config,
}

impl Sd3Transformer {
    /// `config` is the text of `config.json`.
    pub fn load(config: &str, weights: &Weights) -> Result<Self, LoadError> {
        let config: Config = serde_json::from_str(config)?;
        config.check()?;
        let (dim, patch, positions) = (config.dim(), config.patch_size, config.positions()?);
        let (patches, blocks) = (weights.at("pos_embed"), weights.at("transformer_blocks"));
        let in_patches = Conv2dConfig { kernel: patch, stride: patch, padding: 0 };
        let table = patches.get("pos_embed", &[1, positions * positions, dim])?;
        Ok(Self {
            proj: Conv2d::load(&patches.at("proj"), config.in_channels, dim, in_patches)?,
            pos_embed: table.reshape([positions, positions, dim]),
            positions,
            time_text_embed: Conditioning::load(
                &weights.at("time_text_embed"),
                dim,
                config.pooled_projection_dim,
                false,
            )?,
            context_embedder: Linear::load(
                &weights.at("context_embedder"),
                config.joint_attention_dim,
                dim,
            )?,
            transformer_blocks: (0..config.num_layers)
                .map(|layer| JointBlock::load(&blocks.at(layer), config.block(layer)))
                .collect::<Result<_, _>>()?,
            norm_out: LastNorm::load(&weights.at("norm_out"), dim)?,
            proj_out: Linear::load(
                &weights.at("proj_out"),
                dim,
                patch * patch * config.out_channels(),
            )?,
            config,
        })
    }

    /// The velocity of `[batch, in_channels, height, width]` latents at `times`, `[batch]` in 0..1000, in view of
    /// `[batch, seq, text_dim]` and `[batch, pooled_dim]`. Sides are multiples of [`Self::patch_size`], and at most
    /// [`Self::largest`].
    pub fn forward(
        &self,
        latents: &Tensor,
        times: &Tensor,
        text: &Tensor,
        pooled: &Tensor,
        step: &Step,
    ) -> Tensor {
        let (batch, _, height, width) = latents.size4().expect("latents are pictures");
        let patch = self.config.patch_size;
        let [height, width] = [height, width].map(|side| side / patch);
        let tokens = self.proj.forward(latents, step).flatten(2, 3).transpose(1, 2);
        let mut picture = (tokens + self.middle(height, width)).contiguous();
        let conditioning = self.time_text_embed.forward(times, pooled, None, step);
        let mut text = self.context_embedder.forward(text, step);
        for block in &self.transformer_blocks {
            (picture, text) = block.forward(&picture, &text, &conditioning, None, step);
        }
        let picture = self.norm_out.forward(&picture, &conditioning, step);
        self.proj_out
            .forward(&picture, step)
            .reshape([batch, height, width, patch, patch, self.config.out_channels()])
            .permute([0, 5, 1, 3, 2, 4])
            .reshape([batch, -1, height * patch, width * patch])
    }

    /// `[height × width, dim]`.
    fn middle(&self, height: i64, width: i64) -> Tensor {
        let [top, left] = [height, width].map(|side| (self.positions - side) / 2);
        self.pos_embed.narrow(0, top, height).narrow(1, left, width).flatten(0, 1)
    }

    pub fn in_channels(&self) -> i64 {
        self.config.in_channels
    }

    pub fn out_channels(&self) -> i64 {
        self.config.out_channels()
    }

    /// Length of a text token's vector.
    pub fn text_dim(&self) -> i64 {
        self.config.joint_attention_dim
    }

    /// Length of a whole text's vector.
    pub fn pooled_dim(&self) -> i64 {
        self.config.pooled_projection_dim
    }

    /// Latents on a side of a token.
    pub fn patch_size(&self) -> i64 {
        self.config.patch_size
    }

    /// Latents on the longest side that it has positions for.
    pub fn largest(&self) -> i64 {
        self.positions * self.config.patch_size
    }

    /// Latents on a side of the pictures it was trained on.
    pub fn sample_size(&self) -> i64 {
        self.config.sample_size
    }
}

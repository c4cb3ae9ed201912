//! `config.json` of a `UNet2DModel`, and what it may not say.

use serde::Deserialize;

use super::super::{
    attention::PictureAttentionConfig,
    blocks::AttentionConfig,
    embeddings::Waves,
    per_block::PerBlock,
    resnet::{ResnetConfig, TimeConfig},
    u_shape::{DescentConfig, MidConfig, PartConfig, UShapeConfig},
};
use crate::{
    layers::Activation,
    models::{LoadError, check_divides, check_positive, unsupported},
};

const DOWN: [&str; 2] = ["DownBlock2D", "AttnDownBlock2D"];
const MID: &str = "UNetMidBlock2D";
const UP: [&str; 2] = ["UpBlock2D", "AttnUpBlock2D"];

/// Defaults are the reference's.
#[derive(Deserialize)]
#[serde(default)]
pub(super) struct Config {
    sample_size: Option<PerBlock<i64>>,
    pub in_channels: i64,
    pub out_channels: i64,
    pub center_input_sample: bool,
    time_embedding_type: String,
    time_embedding_dim: Option<i64>,
    freq_shift: f64,
    flip_sin_to_cos: bool,
    down_block_types: Vec<String>,
    mid_block_type: Option<String>,
    up_block_types: Vec<String>,
    pub block_out_channels: Vec<i64>,
    layers_per_block: usize,
    mid_block_scale_factor: f64,
    downsample_padding: i64,
    downsample_type: String,
    upsample_type: String,
    act_fn: Activation,
    attention_head_dim: Option<i64>,
    pub norm_num_groups: i64,
    attn_norm_num_groups: Option<i64>,
    pub norm_eps: f64,
    resnet_time_scale_shift: String,
    add_attention: bool,
    class_embed_type: Option<String>,
    pub num_class_embeds: Option<i64>,
}

impl Default for Config {
    fn default() -> Self {
        let blocks = |types: [&str; 4]| types.map(str::to_owned).to_vec();
        Self {
            sample_size: None,
            in_channels: 3,
            out_channels: 3,
            center_input_sample: false,
            time_embedding_type: "positional".to_owned(),
            time_embedding_dim: None,
            freq_shift: 0.0,
            flip_sin_to_cos: true,
            down_block_types: blocks([DOWN[0], DOWN[1], DOWN[1], DOWN[1]]),
            mid_block_type: Some("UNetMidBlock2D".to_owned()),
            up_block_types: blocks([UP[1], UP[1], UP[1], UP[0]]),
            block_out_channels: vec![224, 448, 672, 896],
            layers_per_block: 2,
            mid_block_scale_factor: 1.0,
            downsample_padding: 1,
            downsample_type: "conv".to_owned(),
            upsample_type: "conv".to_owned(),
            act_fn: Activation::Silu,
            attention_head_dim: Some(8),
            norm_num_groups: 32,
            attn_norm_num_groups: None,
            norm_eps: 1e-5,
            resnet_time_scale_shift: "default".to_owned(),
            add_attention: true,
            class_embed_type: None,
            num_class_embeds: None,
        }
    }
}

impl Config {
    pub(super) fn check(&self) -> Result<(), LoadError> {
        check_positive(&[
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
            ("norm_num_groups", self.norm_num_groups),
            ("attn_norm_num_groups", self.attn_norm_num_groups.unwrap_or(1)),
            ("block_out_channels", self.block_out_channels.len() as i64),
            ("layers_per_block", self.layers_per_block as i64),
            ("attention_head_dim", self.attention_head_dim.unwrap_or(1)),
            ("time_embedding_dim", self.time_embedding_dim.unwrap_or(1)),
            ("num_class_embeds", self.num_class_embeds.unwrap_or(1)),
        ])?;
        for channels in &self.block_out_channels {
            check_positive(&[("block_out_channels", *channels)])?;
            check_divides("norm_num_groups", self.norm_num_groups, *channels)?;
        }
        if self.block_out_channels[0] < 4 {
            return Err(unsupported("block_out_channels", self.block_out_channels[0]));
        }
        check_divides(
            "attn_norm_num_groups",
            self.attn_norm_num_groups.unwrap_or(1),
            self.deepest(),
        )?;
        let scale_shift = self.resnet_time_scale_shift.as_str();
        for (field, value, known) in [
            ("time_embedding_type", self.time_embedding_type.as_str(), &["positional"][..]),
            ("downsample_type", &self.downsample_type, &["conv"]),
            ("upsample_type", &self.upsample_type, &["conv"]),
            ("resnet_time_scale_shift", scale_shift, &["default", "scale_shift"]),
            ("mid_block_type", self.mid_block_type.as_deref().unwrap_or(MID), &[MID]),
        ] {
            if !known.contains(&value) {
                return Err(unsupported(field, value));
            }
        }
        if ![0, 1].contains(&self.downsample_padding) {
            return Err(unsupported("downsample_padding", self.downsample_padding));
        }
        match &self.class_embed_type {
            Some(other) => Err(unsupported("class_embed_type", other)),
            None => Ok(()),
        }
    }

    pub(super) fn sample_size(&self) -> Result<Option<[i64; 2]>, LoadError> {
        self.sample_size.as_ref().map(|size| size.sides("sample_size")).transpose()
    }

    /// The network's body.
    pub(super) fn body(&self) -> Result<UShapeConfig, LoadError> {
        let up: Vec<i64> = self.block_out_channels.iter().rev().copied().collect();
        let mid = self.mid_block_type.is_some().then(|| self.mid()).transpose()?;
        let descent = DescentConfig {
            channels: self.block_out_channels.clone(),
            down: self.parts(
                "down_block_types",
                (&self.down_block_types, DOWN),
                &self.block_out_channels,
                self.layers_per_block,
            )?,
            mid,
            downsample_padding: self.downsample_padding,
            resnet: self.resnet(1.0),
        };
        let up = self.parts(
            "up_block_types",
            (&self.up_block_types, UP),
            &up,
            self.layers_per_block + 1,
        )?;
        Ok(UShapeConfig { descent, up })
    }

    fn parts(
        &self,
        field: &'static str,
        (types, [plain, attending]): (&[String], [&str; 2]),
        channels: &[i64],
        n_resnets: usize,
    ) -> Result<Vec<PartConfig>, LoadError> {
        if types.len() != channels.len() {
            let found = format!("{} instead of {}", types.len(), channels.len());
            return Err(unsupported(field, found));
        }
        let part = |(name, channels): (&String, &i64)| {
            let attention = match name.as_str() {
                name if name == plain => AttentionConfig::None,
                name if name == attending => {
                    self.attention(*channels, Some(self.norm_num_groups), 1.0)?
                }
                other => return Err(unsupported(field, other)),
            };
            Ok(PartConfig { n_resnets, attention })
        };
        types.iter().zip(channels).map(part).collect()
    }

    fn mid(&self) -> Result<MidConfig, LoadError> {
        // Told of the time by scale and shift, the attention has no norm unless the config says so.
        let n_groups = match self.resnet_time_scale_shift.as_str() {
            "default" => Some(self.attn_norm_num_groups.unwrap_or(self.norm_num_groups)),
            _ => self.attn_norm_num_groups,
        };
        let attention = if self.add_attention {
            self.attention(self.deepest(), n_groups, self.mid_block_scale_factor)?
        } else {
            AttentionConfig::None
        };
        let resnet = self.resnet(self.mid_block_scale_factor);
        Ok(MidConfig { n_attentions: 1, attention, resnet })
    }

    fn attention(
        &self,
        n_channels: i64,
        n_groups: Option<i64>,
        output_scale: f64,
    ) -> Result<AttentionConfig, LoadError> {
        let head_dim = self.attention_head_dim.unwrap_or(n_channels);
        check_divides("attention_head_dim", head_dim, n_channels)?;
        let eps = self.norm_eps;
        Ok(AttentionConfig::Picture(PictureAttentionConfig {
            n_channels,
            head_dim,
            n_groups,
            eps,
            output_scale,
        }))
    }

    fn resnet(&self, output_scale: f64) -> ResnetConfig {
        let time = TimeConfig {
            dim: self.time_dim(),
            scale_shift: self.resnet_time_scale_shift == "scale_shift",
        };
        ResnetConfig {
            act: self.act_fn,
            n_groups: self.norm_num_groups,
            eps: self.norm_eps,
            time: Some(time),
            output_scale,
        }
    }

    pub(super) fn waves(&self) -> Waves {
        Waves {
            dim: self.block_out_channels[0],
            cos_first: self.flip_sin_to_cos,
            freq_shift: self.freq_shift,
        }
    }

    pub(super) fn time_dim(&self) -> i64 {
        self.time_embedding_dim.unwrap_or(4 * self.block_out_channels[0])
    }

    fn deepest(&self) -> i64 {
        *self.block_out_channels.last().expect("a config that was checked has a block")
    }
}

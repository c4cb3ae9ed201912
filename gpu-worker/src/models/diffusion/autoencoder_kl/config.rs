//! `config.json` of an `AutoencoderKL`, and what it may not say.

use serde::Deserialize;
use serde_json::Value;

use super::super::per_block::PerBlock;
use crate::{
    layers::Activation,
    models::{LoadError, check_divides, check_positive, unsupported},
};

const DOWN: &str = "DownEncoderBlock2D";
const UP: &str = "UpDecoderBlock2D";

/// Defaults are the reference's.
#[derive(Deserialize)]
#[serde(default)]
pub(super) struct Config {
    pub in_channels: i64,
    pub out_channels: i64,
    down_block_types: Vec<String>,
    up_block_types: Vec<String>,
    pub block_out_channels: Vec<i64>,
    pub layers_per_block: usize,
    pub act_fn: Activation,
    pub latent_channels: i64,
    pub norm_num_groups: i64,
    sample_size: PerBlock<i64>,
    pub scaling_factor: f64,
    pub shift_factor: Option<f64>,
    latents_mean: Option<Vec<f64>>,
    latents_std: Option<Vec<f64>>,
    pub force_upcast: bool,
    pub use_quant_conv: bool,
    pub use_post_quant_conv: bool,
    pub mid_block_add_attention: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            in_channels: 3,
            out_channels: 3,
            down_block_types: vec![DOWN.to_owned()],
            up_block_types: vec![UP.to_owned()],
            block_out_channels: vec![64],
            layers_per_block: 1,
            act_fn: Activation::Silu,
            latent_channels: 4,
            norm_num_groups: 32,
            sample_size: PerBlock::One(32),
            scaling_factor: 0.18215,
            shift_factor: None,
            latents_mean: None,
            latents_std: None,
            force_upcast: true,
            use_quant_conv: true,
            use_post_quant_conv: true,
            mid_block_add_attention: true,
        }
    }
}

/// Whether half types are not enough for a network of that class and config.
pub fn needs_float32(class: &str, config: &Value) -> bool {
    let is_forced = config.get("force_upcast").and_then(Value::as_bool);
    class == "AutoencoderKL" && is_forced.unwrap_or(Config::default().force_upcast)
}

impl Config {
    pub(super) fn check(&self) -> Result<(), LoadError> {
        check_positive(&[
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
            ("layers_per_block", self.layers_per_block as i64),
            ("latent_channels", self.latent_channels),
            ("norm_num_groups", self.norm_num_groups),
            ("block_out_channels", self.block_out_channels.len() as i64),
        ])?;
        for channels in &self.block_out_channels {
            check_positive(&[("block_out_channels", *channels)])?;
            check_divides("norm_num_groups", self.norm_num_groups, *channels)?;
        }
        let n_blocks = self.block_out_channels.len();
        for (field, types, known) in [
            ("down_block_types", &self.down_block_types, DOWN),
            ("up_block_types", &self.up_block_types, UP),
        ] {
            if let Some(other) = types.iter().find(|name| *name != known) {
                return Err(unsupported(field, other));
            }
            if types.len() != n_blocks {
                return Err(unsupported(field, format!("{} instead of {n_blocks}", types.len())));
            }
        }
        if self.scaling_factor == 0.0 || !self.scaling_factor.is_finite() {
            return Err(unsupported("scaling_factor", self.scaling_factor));
        }
        for (field, values) in
            [("latents_mean", &self.latents_mean), ("latents_std", &self.latents_std)]
        {
            if values.is_some() {
                return Err(unsupported(field, "a value for every channel"));
            }
        }
        Ok(())
    }

    pub(super) fn sample_size(&self) -> Result<[i64; 2], LoadError> {
        self.sample_size.sides("sample_size")
    }

    /// The channels at the bottom.
    pub(super) fn deepest(&self) -> i64 {
        *self.block_out_channels.last().expect("a config that was checked has a block")
    }
}

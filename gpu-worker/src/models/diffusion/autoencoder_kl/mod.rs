//! The autoencoder between pictures and latents of latent diffusion
//! (Rombach et al., 2022, <https://arxiv.org/abs/2112.10752>).
//!
//! Reference: `diffusers/models/autoencoders/autoencoder_kl.py` and `vae.py`.

mod config;
mod decoder;
mod encoder;

use tch::Tensor;

use self::{config::Config, decoder::Decoder, encoder::Encoder};
use super::{
    Conditions,
    attention::{OLD_NAMES, PictureAttentionConfig},
    blocks::{AttentionConfig, MidBlock},
    resnet::ResnetConfig,
};
use crate::{
    layers::{Conv2d, Conv2dConfig, Step},
    models::LoadError,
    weights::{Rename, Weights, WeightsError},
};

const EPS: f64 = 1e-6;

pub struct AutoencoderKl {
    encoder: Encoder,
    quant_conv: Option<Conv2d>,
    post_quant_conv: Option<Conv2d>,
    decoder: Decoder,
    sample_size: [i64; 2],
    config: Config,
}

/// Where the latents of pictures lie: a normal distribution for every value.
pub struct Moments {
    /// `[batch, latent_channels, height, width]`.
    pub mean: Tensor,
    /// The same shape.
    pub std: Tensor,
}

impl Moments {
    /// Latents out of the distribution, by noise of the same shape.
    pub fn sample(&self, noise: &Tensor) -> Tensor {
        &self.mean + &self.std * noise
    }
}

impl AutoencoderKl {
    /// Old spellings of its checkpoints' names.
    pub const RENAMES: &'static [Rename] = OLD_NAMES;

    /// `config` is the text of `config.json`.
    pub fn load(config: &str, weights: &Weights) -> Result<Self, LoadError> {
        let config: Config = serde_json::from_str(config)?;
        config.check()?;
        let conv = |name, channels| {
            Conv2d::load(&weights.at(name), channels, channels, Conv2dConfig::same(1))
        };
        let latent = config.latent_channels;
        let quant_conv = config.use_quant_conv.then(|| conv("quant_conv", 2 * latent));
        let post_quant_conv = config.use_post_quant_conv.then(|| conv("post_quant_conv", latent));
        Ok(Self {
            encoder: Encoder::load(&config, &weights.at("encoder"))?,
            quant_conv: quant_conv.transpose()?,
            post_quant_conv: post_quant_conv.transpose()?,
            decoder: Decoder::load(&config, &weights.at("decoder"))?,
            sample_size: config.sample_size()?,
            config,
        })
    }

    /// `[batch, in_channels, height, width]` pixels in -1..1 to the distribution of their latents, which have not been
    /// scaled. Height and width should be multiples of [`Self::factor`].
    pub fn encode(&self, pixels: &Tensor, step: &Step) -> Moments {
        const LOG_VARIANCES: [f64; 2] = [-30.0, 20.0];
        let encoded = self.encoder.forward(pixels, step);
        let encoded = match &self.quant_conv {
            Some(conv) => conv.forward(&encoded, step),
            None => encoded,
        };
        let parts = encoded.chunk(2, 1);
        let log_variance = parts[1].clamp(LOG_VARIANCES[0], LOG_VARIANCES[1]);
        Moments { mean: parts[0].shallow_clone(), std: (log_variance * 0.5).exp() }
    }

    /// `[batch, latent_channels, height, width]` latents that are not scaled any more to pixels about -1..1, whose
    /// sides are [`Self::factor`] times as long.
    pub fn decode(&self, latents: &Tensor, step: &Step) -> Tensor {
        match &self.post_quant_conv {
            Some(conv) => self.decoder.forward(&conv.forward(latents, step), step),
            None => self.decoder.forward(latents, step),
        }
    }

    /// Latents as a denoiser wants them.
    pub fn scaled(&self, latents: &Tensor) -> Tensor {
        match self.config.shift_factor {
            Some(shift) => (latents - shift) * self.config.scaling_factor,
            None => latents * self.config.scaling_factor,
        }
    }

    /// The latents that [`Self::scaled`] made these of.
    pub fn unscaled(&self, latents: &Tensor) -> Tensor {
        let latents = latents / self.config.scaling_factor;
        match self.config.shift_factor {
            Some(shift) => latents + shift,
            None => latents,
        }
    }

    /// How many pixels a side of a latent has.
    pub fn factor(&self) -> i64 {
        1 << (self.config.block_out_channels.len() - 1)
    }

    pub fn latent_channels(&self) -> i64 {
        self.config.latent_channels
    }

    /// Channels of the pictures that it encodes.
    pub fn in_channels(&self) -> i64 {
        self.config.in_channels
    }

    /// Height and width of the pictures it was trained on.
    pub fn sample_size(&self) -> [i64; 2] {
        self.sample_size
    }

    /// Whether float16 is not enough for it.
    pub fn needs_float32(&self) -> bool {
        self.config.force_upcast
    }
}

impl Config {
    fn resnet(&self) -> ResnetConfig {
        ResnetConfig {
            act: self.act_fn,
            n_groups: self.norm_num_groups,
            eps: EPS,
            time: None,
            output_scale: 1.0,
        }
    }

    fn mid_block(&self, weights: &Weights) -> Result<MidBlock, WeightsError> {
        let n_channels = self.deepest();
        let attention = if self.mid_block_add_attention {
            AttentionConfig::Picture(PictureAttentionConfig {
                n_channels,
                head_dim: n_channels,
                n_groups: Some(self.norm_num_groups),
                eps: EPS,
                output_scale: 1.0,
            })
        } else {
            AttentionConfig::None
        };
        MidBlock::load(&weights.at("mid_block"), n_channels, 1, &attention, self.resnet())
    }
}

/// An autoencoder knows neither times nor texts.
fn nothing<'a>(step: &'a Step<'a>) -> Conditions<'a> {
    Conditions { time: None, text: None, step }
}

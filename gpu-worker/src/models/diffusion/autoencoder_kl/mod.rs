//! The autoencoder between pictures and latents of latent diffusion
//! (Rombach et al., 2022, <https://arxiv.org/abs/2112.10752>).
//!
//! Reference: `diffusers/models/autoencoders/autoencoder_kl.py` and `vae.py`.

mod config;
mod decoder;
mod encoder;
mod tiles;

use std::cell::Cell;

use tch::{Kind, Tensor};

use self::{config::Config, decoder::Decoder, encoder::Encoder, tiles::Tiling};
pub use self::{config::needs_float32, tiles::Tiles};
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
/// How many pictures with as many channels as the widest layer has there are at once.
pub const WORKING_COPIES: u64 = 5;

pub struct AutoencoderKl {
    encoder: Encoder,
    quant_conv: Option<Conv2d>,
    post_quant_conv: Option<Conv2d>,
    decoder: Decoder,
    sample_size: [i64; 2],
    /// What it computes in.
    kind: Kind,
    /// What takes more than so many bytes is done in tiles.
    whole_bytes: Cell<u64>,
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

    /// `config` is the text of `config.json`. One whose config says so (`force_upcast`) is float32 whatever the
    /// checkpoint is: in half types it would overflow.
    pub fn load(config: &str, weights: &Weights) -> Result<Self, LoadError> {
        let config: Config = serde_json::from_str(config)?;
        config.check()?;
        let weights = &if config.force_upcast { weights.in_float32() } else { weights.clone() };
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
            kind: weights.kind(),
            whole_bytes: Cell::new(u64::MAX),
            config,
        })
    }

    /// `[batch, in_channels, height, width]` pixels in -1..1, of any kind, to the distribution of their latents in
    /// [`Self::kind`], which have not been scaled. Height and width should be multiples of [`Self::factor`].
    pub fn encode(&self, pixels: &Tensor, step: &Step) -> Moments {
        const LOG_VARIANCES: [f64; 2] = [-30.0, 20.0];
        let pixels = pixels.to_kind(self.kind);
        let [height, width] = sides(&pixels);
        let encoded = match self.tiling([height, width], self.trained_sides()) {
            Some(tiling) => {
                let mut tiles = Tiles::new(&pixels, tiling);
                while !tiles.is_complete() {
                    tiles.push(self.encode_at_once(&tiles.cut(), step));
                }
                tiles.join()
            }
            None => self.encode_at_once(&pixels, step),
        };
        let parts = encoded.chunk(2, 1);
        let log_variance = parts[1].clamp(LOG_VARIANCES[0], LOG_VARIANCES[1]);
        Moments { mean: parts[0].shallow_clone(), std: (log_variance * 0.5).exp() }
    }

    /// `[batch, latent_channels, height, width]` latents that are not scaled any more, of any kind, to pixels about
    /// -1..1 in [`Self::kind`], whose sides are [`Self::factor`] times as long.
    pub fn decode(&self, latents: &Tensor, step: &Step) -> Tensor {
        let Some(mut tiles) = self.tiles(latents) else {
            return self.decode_at_once(latents, step);
        };
        while !tiles.is_complete() {
            self.decode_tile(&mut tiles, step);
        }
        tiles.join()
    }

    /// The tiles that [`Self::decode`] works on one by one; `None`: it decodes these latents at once.
    pub fn tiles(&self, latents: &Tensor) -> Option<Tiles> {
        let size = sides(latents).map(|side| side * self.factor());
        let [pixels, latent] = self.trained_sides();
        let tiling = self.tiling(size, [latent, pixels])?;
        Some(Tiles::new(latents, tiling))
    }

    /// Decodes the next tile; there must be one.
    pub fn decode_tile(&self, tiles: &mut Tiles, step: &Step) {
        tiles.push(self.decode_at_once(&tiles.cut(), step));
    }

    /// Pictures that take more than so many bytes are encoded and decoded in tiles from now on, but for those of the size
    /// that it was trained on, and smaller ones.
    pub fn bound_memory(&self, bytes: u64) {
        self.whole_bytes.set(bytes);
    }

    /// About what encoding or decoding one picture of that height and width takes: a few copies of its widest layer.
    pub fn working_bytes(&self, size: [i64; 2]) -> u64 {
        let [height, width] = size.map(i64::unsigned_abs);
        let channels = self.config.block_out_channels[0].unsigned_abs();
        let value = self.kind.elt_size_in_bytes() as u64;
        [height, width, channels, WORKING_COPIES].into_iter().fold(value, u64::saturating_mul)
    }

    /// How a picture of `size` in pixels is cut, where it is; `[cut, made]` are the sides of what is cut and made of it
    /// in training.
    fn tiling(&self, size: [i64; 2], [cut, made]: [i64; 2]) -> Option<Tiling> {
        let [trained, _] = self.trained_sides();
        let is_larger = size.iter().any(|side| *side > trained);
        if is_larger && self.working_bytes(size) > self.whole_bytes.get() {
            return Tiling::of(cut, made);
        }
        None
    }

    /// The side of a tile, in pixels and in latents: what it was trained on, of which the reference takes the height.
    fn trained_sides(&self) -> [i64; 2] {
        [self.sample_size[0], self.sample_size[0] / self.factor()]
    }

    fn encode_at_once(&self, pixels: &Tensor, step: &Step) -> Tensor {
        let encoded = self.encoder.forward(pixels, step);
        match &self.quant_conv {
            Some(conv) => conv.forward(&encoded, step),
            None => encoded,
        }
    }

    fn decode_at_once(&self, latents: &Tensor, step: &Step) -> Tensor {
        let latents = latents.to_kind(self.kind);
        match &self.post_quant_conv {
            Some(conv) => self.decoder.forward(&conv.forward(&latents, step), step),
            None => self.decoder.forward(&latents, step),
        }
    }

    /// The same for a denoiser that wants its latents at another scale.
    pub(super) fn with_scaling_factor(mut self, scaling_factor: f64) -> Self {
        self.config.scaling_factor = scaling_factor;
        self
    }

    /// Latents as a denoiser wants them.
    pub fn scaled(&self, latents: &Tensor) -> Tensor {
        match self.config.shift_factor {
            Some(shift) => (latents - shift) * self.config.scaling_factor,
            None => latents * self.config.scaling_factor,
        }
    }

    /// The latents that [`Self::scaled`] made these of, in [`Self::kind`].
    pub fn unscaled(&self, latents: &Tensor) -> Tensor {
        let latents = latents.to_kind(self.kind) / self.config.scaling_factor;
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

    /// What it computes in; float32 where its config says that half types are not enough.
    pub fn kind(&self) -> Kind {
        self.kind
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

/// Height and width.
fn sides(pictures: &Tensor) -> [i64; 2] {
    let (_, _, height, width) = pictures.size4().expect("pictures have four dimensions");
    [height, width]
}

/// An autoencoder knows neither times nor texts.
fn nothing<'a>(step: &'a Step<'a>) -> Conditions<'a> {
    Conditions { time: None, text: None, step }
}

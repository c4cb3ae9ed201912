//! Swin2SR (Conde et al., 2022, <https://arxiv.org/abs/2209.11345>): enlarges pictures, or repairs them at their size.
//!
//! Reference: `transformers/models/swin2sr/modeling_swin2sr.py`. In two places it is followed as its authors' own code
//! has it (`network_swin2sr.py`): a picture whose sides are no multiple of the windows is padded and the result cut,
//! where the library fails, and a model that repairs adds to the normalised picture, where the library adds to the raw one.

mod body;
mod config;
mod upsampler;
mod window_attention;

use tch::{Kind, Tensor};

use self::{body::Body, config::Config, upsampler::Upsampler};
use super::{Architecture, ImageEnhancer, LoadError, Model, ModelKind};
use crate::{
    layers::{Conv2d, Conv2dConfig, Step, pad_to_multiple},
    weights::{Weights, WeightsError},
};

pub(super) const SWIN2SR: Architecture = Architecture {
    model_type: "swin2sr",
    kinds: &[ModelKind::ImageEnhancer],
    renames: &[],
    // Tables that follow from the config.
    ignored: &["relative_coords_table", "relative_position_index"],
    load,
};

/// What pictures of three channels are centred by.
const MEAN: [f32; 3] = [0.4488, 0.4371, 0.4040];

fn load(config: &str, _kind: ModelKind, weights: &Weights) -> Result<Model, LoadError> {
    let config: Config = serde_json::from_str(config)?;
    config.check()?;
    Ok(Model::ImageEnhancer(Box::new(Swin2Sr::load(&config, weights)?)))
}

struct Swin2Sr {
    first_convolution: Conv2d,
    body: Body,
    upsampler: Upsampler,
    mean: Tensor,
    img_range: f64,
    window_size: i64,
    upscale: i64,
    n_channels: i64,
    kind: Kind,
}

impl Swin2Sr {
    fn load(config: &Config, weights: &Weights) -> Result<Self, WeightsError> {
        let (n_channels, dim) = (config.num_channels, config.embed_dim);
        let body = weights.at("swin2sr");
        let mean = if [n_channels, config.n_channels_out()] == [3, 3] { MEAN } else { [0.0; 3] };
        let mean = Tensor::from_slice(&mean[..n_channels.min(3) as usize]);
        let mean = mean.view([1, -1, 1, 1]).to_device(weights.device()).to_kind(weights.kind());
        Ok(Self {
            first_convolution: Conv2d::load(
                &body.at("first_convolution"),
                n_channels,
                dim,
                Conv2dConfig::same(3),
            )?,
            body: Body::load(config, &body)?,
            upsampler: Upsampler::load(config, weights)?,
            mean,
            img_range: config.img_range,
            window_size: config.window_size,
            upscale: config.upscale,
            n_channels,
            kind: weights.kind(),
        })
    }
}

impl ImageEnhancer for Swin2Sr {
    fn enhance(&self, pixels: &Tensor, step: &Step) -> Tensor {
        let (_, _, height, width) =
            pixels.size4().expect("pixels are [batch, channels, height, width]");
        let pixels = pixels.to_kind(self.kind);
        let normalised = (pad_to_multiple(&pixels, self.window_size) - &self.mean) * self.img_range;
        let embeddings = self.first_convolution.forward(&normalised, step);
        let hidden = self.body.forward(&embeddings, step);
        let size = [height * self.upscale, width * self.upscale];
        let made = self.upsampler.forward(&hidden, &normalised, &pixels, size, step);
        let made = made.narrow(2, 0, size[0]).narrow(3, 0, size[1]);
        (made / self.img_range + &self.mean).to_kind(Kind::Float)
    }

    fn scale(&self) -> i64 {
        self.upscale
    }

    fn n_channels(&self) -> i64 {
        self.n_channels
    }

    fn multiple(&self) -> i64 {
        self.window_size
    }
}

//! The U-Net of denoising diffusion models that look at nothing but the picture
//! (Ho et al., 2020, <https://arxiv.org/abs/2006.11239>).
//!
//! Reference: `diffusers/models/unets/unet_2d.py`.

mod config;

use tch::{Kind, Tensor};

use self::config::Config;
use super::{
    Conditions,
    attention::OLD_NAMES,
    embeddings::{TimeEmbedding, Waves},
    u_shape::UShape,
};
use crate::{
    layers::{Activation, Conv2d, Conv2dConfig, Embedding, GroupNorm, Step},
    models::LoadError,
    weights::{Rename, Weights},
};

pub struct Unet2d {
    conv_in: Conv2d,
    time_proj: Waves,
    time_embedding: TimeEmbedding,
    class_embedding: Option<Embedding>,
    body: UShape,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
    sample_size: Option<[i64; 2]>,
    config: Config,
}

impl Unet2d {
    /// Old spellings of its checkpoints' names.
    pub const RENAMES: &'static [Rename] = OLD_NAMES;

    /// `config` is the text of `config.json`.
    pub fn load(config: &str, weights: &Weights) -> Result<Self, LoadError> {
        let config: Config = serde_json::from_str(config)?;
        config.check()?;
        let first = config.block_out_channels[0];
        let time_proj = config.waves();
        let conv = |name, in_channels, out_channels| {
            Conv2d::load(&weights.at(name), in_channels, out_channels, Conv2dConfig::same(3))
        };
        let class_embedding = config.num_class_embeds.map(|n_classes| {
            Embedding::load(&weights.at("class_embedding"), n_classes, config.time_dim())
        });
        Ok(Self {
            conv_in: conv("conv_in", config.in_channels, first)?,
            time_embedding: TimeEmbedding::load(
                &weights.at("time_embedding"),
                time_proj.dim,
                config.time_dim(),
                None,
                Activation::Silu,
            )?,
            time_proj,
            class_embedding: class_embedding.transpose()?,
            body: UShape::load(weights, config.body()?)?,
            conv_norm_out: GroupNorm::load(
                &weights.at("conv_norm_out"),
                config.norm_num_groups,
                first,
                config.norm_eps,
            )?,
            conv_out: conv("conv_out", first, config.out_channels)?,
            sample_size: config.sample_size()?,
            config,
        })
    }

    /// `[batch, in_channels, height, width]` at `times`, `[batch]`, to `[batch, out_channels, height, width]`.
    /// `classes`, `[batch]` and each below [`Self::n_classes`], where it has any.
    pub fn forward(
        &self,
        sample: &Tensor,
        times: &Tensor,
        classes: Option<&Tensor>,
        step: &Step,
    ) -> Tensor {
        let waves = self.time_proj.forward(times).to_kind(sample.kind());
        let mut time = self.time_embedding.forward(&waves, None, step);
        if let Some(embedding) = &self.class_embedding {
            let classes = classes.expect("a network that looks at a class is given one");
            time += embedding.forward(classes, step);
        }
        let conditions = Conditions { time: Some(&time), text: None, step };
        let centred = self.config.center_input_sample.then(|| sample * 2.0 - 1.0);
        let hidden = self.conv_in.forward(centred.as_ref().unwrap_or(sample), step);
        let hidden = self.body.forward(hidden, &conditions, None);
        let hidden = Activation::Silu.forward(&self.conv_norm_out.forward(&hidden, step));
        self.conv_out.forward(&hidden, step)
    }

    pub fn in_channels(&self) -> i64 {
        self.config.in_channels
    }

    pub fn out_channels(&self) -> i64 {
        self.config.out_channels
    }

    /// Height and width of the pictures it was trained on, where its config says it.
    pub fn sample_size(&self) -> Option<[i64; 2]> {
        self.sample_size
    }

    pub fn n_classes(&self) -> Option<i64> {
        self.config.num_class_embeds
    }

    /// The kind of its weights.
    pub fn kind(&self) -> Kind {
        self.conv_in.kind()
    }
}

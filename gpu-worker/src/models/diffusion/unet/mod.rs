//! The U-Net that removes noise from latents while it looks at a text
//! (Rombach et al., 2022, <https://arxiv.org/abs/2112.10752>).
//!
//! Reference: `diffusers/models/unets/unet_2d_condition.py`.

mod conditioning;
mod config;
mod control_net;

use tch::Tensor;

pub use self::control_net::{Conditioning, ControlNet};
use self::{
    conditioning::{ClassEmbedding, TextTime},
    config::Config,
};
use super::{
    Conditions,
    embeddings::{TimeEmbedding, Waves},
    u_shape::{Control, UShape},
};
use crate::{
    layers::{Activation, Conv2d, Conv2dConfig, GroupNorm, Step},
    models::LoadError,
    weights::Weights,
};

pub struct Unet2dCondition {
    conv_in: Conv2d,
    time_proj: Waves,
    time_embedding: TimeEmbedding,
    class_embedding: Option<ClassEmbedding>,
    text_time: Option<TextTime>,
    body: UShape,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
    act: Activation,
    sample_size: Option<[i64; 2]>,
    config: Config,
}

/// What noise is removed in view of.
pub struct Condition<'a> {
    /// `[batch, seq, text_dim]`.
    pub text: &'a Tensor,
    /// `[batch]`, or whatever the network embeds as a class; where [`Unet2dCondition::wants_class`].
    pub class: Option<&'a Tensor>,
    /// Where [`Unet2dCondition::wants_added`].
    pub added: Option<Added<'a>>,
    /// `[batch, guidance_dim]`, the strength of guidance as waves; where [`Unet2dCondition::guidance_dim`].
    pub guidance: Option<&'a Tensor>,
}

/// What SDXL looks at besides.
pub struct Added<'a> {
    /// `[batch, pooled_dim]`: the whole text as one vector.
    pub text: &'a Tensor,
    /// `[batch, n]`: the original size, crop and size of a picture.
    pub numbers: &'a Tensor,
}

impl Unet2dCondition {
    /// `config` is the text of `config.json`.
    pub fn load(config: &str, weights: &Weights) -> Result<Self, LoadError> {
        let config: Config = serde_json::from_str(config)?;
        config.check()?;
        let first = config.block_out_channels[0];
        let (time_dim, act, time_proj) = (config.time_dim(), config.act_fn, config.waves(first));
        Ok(Self {
            conv_in: Conv2d::load(
                &weights.at("conv_in"),
                config.in_channels,
                first,
                Conv2dConfig::same(config.conv_in_kernel),
            )?,
            time_embedding: TimeEmbedding::load(
                &weights.at("time_embedding"),
                time_proj.dim,
                time_dim,
                config.time_cond_proj_dim,
                act,
            )?,
            time_proj,
            class_embedding: ClassEmbedding::load(&config, &weights.at("class_embedding"))?,
            text_time: TextTime::load(&config, &weights.at("add_embedding"))?,
            body: UShape::load(weights, config.body()?)?,
            conv_norm_out: GroupNorm::load(
                &weights.at("conv_norm_out"),
                config.norm_num_groups,
                first,
                config.norm_eps,
            )?,
            conv_out: Conv2d::load(
                &weights.at("conv_out"),
                first,
                config.out_channels,
                Conv2dConfig::same(config.conv_out_kernel),
            )?,
            act,
            sample_size: config.sample_size()?,
            config,
        })
    }

    /// `[batch, in_channels, height, width]` at `times`, `[batch]`, to `[batch, out_channels, height, width]`.
    pub fn forward(
        &self,
        sample: &Tensor,
        times: &Tensor,
        condition: &Condition,
        step: &Step,
    ) -> Tensor {
        self.controlled(sample, times, condition, None, step)
    }

    /// As [`Self::forward`], with what another network adds on the way.
    pub fn controlled(
        &self,
        sample: &Tensor,
        times: &Tensor,
        condition: &Condition,
        control: Option<&Control>,
        step: &Step,
    ) -> Tensor {
        let time = self.embedded(times, condition, sample, step);
        let conditions = Conditions { time: Some(&time), text: Some(condition.text), step };
        let centred = self.config.center_input_sample.then(|| sample * 2.0 - 1.0);
        let hidden = self.conv_in.forward(centred.as_ref().unwrap_or(sample), step);
        let hidden = self.body.forward(hidden, &conditions, control);
        let hidden = self.act.forward(&self.conv_norm_out.forward(&hidden, step));
        self.conv_out.forward(&hidden, step)
    }

    /// The time, and what is added to it, `[batch, time_dim]`.
    fn embedded(
        &self,
        times: &Tensor,
        condition: &Condition,
        sample: &Tensor,
        step: &Step,
    ) -> Tensor {
        let kind = sample.kind();
        let waves = self.time_proj.forward(times).to_kind(kind);
        let mut time = self.time_embedding.forward(&waves, condition.guidance, step);
        if let Some(embedding) = &self.class_embedding {
            let class = condition.class.expect("a network that looks at a class is given one");
            time += embedding.forward(class, kind, step);
        }
        if let Some(embedding) = &self.text_time {
            let added = condition.added.as_ref();
            let added = added.expect("a network that looks at a whole text is given one");
            time += embedding.forward(added, kind, step);
        }
        time
    }

    pub fn in_channels(&self) -> i64 {
        self.config.in_channels
    }

    pub fn out_channels(&self) -> i64 {
        self.config.out_channels
    }

    /// Height and width of the latents it was trained on, where its config says it.
    pub fn sample_size(&self) -> Option<[i64; 2]> {
        self.sample_size
    }

    /// Channels of what a [`Control`] adds to on the way down, and of the bottom.
    pub fn controlled_channels(&self) -> (&[i64], Option<i64>) {
        (self.body.kept(), self.config.block_out_channels.last().copied())
    }

    /// Length of a text token's vector.
    pub fn text_dim(&self) -> i64 {
        self.config.text_dim()
    }

    pub fn wants_class(&self) -> bool {
        self.class_embedding.is_some()
    }

    /// The highest number of a class, exclusive, where classes are numbers.
    pub fn n_classes(&self) -> Option<i64> {
        self.config.n_classes()
    }

    pub fn wants_added(&self) -> bool {
        self.text_time.is_some()
    }

    /// How long text and numbers together must be: the text's vector and [`Self::number_dim`] for every number.
    pub fn added_dim(&self) -> Option<i64> {
        self.text_time.as_ref().map(TextTime::dim)
    }

    /// What one number becomes.
    pub fn number_dim(&self) -> Option<i64> {
        self.text_time.as_ref().map(TextTime::number_dim)
    }

    /// Length of the vector that tells the strength of guidance to those that were distilled.
    pub fn guidance_dim(&self) -> Option<i64> {
        self.config.time_cond_proj_dim
    }
}

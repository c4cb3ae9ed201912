//! ControlNet (Zhang et al., 2023, <https://arxiv.org/abs/2302.05543>): a copy of a U-Net's way down that looks at a
//! picture too, such as edges or a pose, and tells the U-Net what to add.
//!
//! Reference: `diffusers/models/controlnets/controlnet.py`.

use serde::Deserialize;
use tch::Tensor;

use super::{
    super::{
        Conditions,
        embeddings::{TimeEmbedding, Waves},
        u_shape::{Control, Descent},
    },
    config::Config,
};
use crate::{
    layers::{Activation, Conv2d, Conv2dConfig, Step},
    models::{LoadError, check_positive, unsupported},
    weights::{Weights, WeightsError},
};

/// What its config says beside that of a U-Net. Defaults are the reference's.
#[derive(Deserialize)]
#[serde(default)]
struct OwnConfig {
    conditioning_channels: i64,
    controlnet_conditioning_channel_order: String,
    conditioning_embedding_out_channels: Vec<i64>,
    global_pool_conditions: bool,
}

impl Default for OwnConfig {
    fn default() -> Self {
        Self {
            conditioning_channels: 3,
            controlnet_conditioning_channel_order: "rgb".to_owned(),
            conditioning_embedding_out_channels: vec![16, 32, 96, 256],
            global_pool_conditions: false,
        }
    }
}

pub struct ControlNet {
    conv_in: Conv2d,
    time_proj: Waves,
    time_embedding: TimeEmbedding,
    controlnet_cond_embedding: PictureEmbedding,
    descent: Descent,
    controlnet_down_blocks: Vec<Conv2d>,
    controlnet_mid_block: Conv2d,
    /// The picture's colours come in the other order.
    is_bgr: bool,
    /// What is added is the same everywhere in the picture.
    pools: bool,
    picture_channels: i64,
    config: Config,
}

/// How much of what it tells is added.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conditioning {
    pub scale: f64,
    /// Deeper layers say more than those near the picture, as if there were no text.
    pub guesses: bool,
}

impl ControlNet {
    /// `config` is the text of `config.json`.
    pub fn load(config: &str, weights: &Weights) -> Result<Self, LoadError> {
        let own: OwnConfig = serde_json::from_str(config)?;
        let config: Config = serde_json::from_str(config)?;
        config.check()?;
        check(&config, &own)?;
        let (first, act) = (config.block_out_channels[0], config.act_fn);
        let last = *config.block_out_channels.last().unwrap_or(&first);
        let time_proj = config.waves(first);
        let descent = Descent::load(weights, config.descent()?)?;
        let zero = |weights: Weights, channels: i64| {
            Conv2d::load(&weights, channels, channels, Conv2dConfig::same(1))
        };
        let down = weights.at("controlnet_down_blocks");
        let controlnet_down_blocks = descent
            .kept()
            .iter()
            .enumerate()
            .map(|(at, channels)| zero(down.at(at), *channels))
            .collect::<Result<_, _>>()?;
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
                config.time_dim(),
                None,
                act,
            )?,
            time_proj,
            controlnet_cond_embedding: PictureEmbedding::load(
                &weights.at("controlnet_cond_embedding"),
                &own,
                first,
            )?,
            controlnet_down_blocks,
            controlnet_mid_block: zero(weights.at("controlnet_mid_block"), last)?,
            descent,
            is_bgr: own.controlnet_conditioning_channel_order == "bgr",
            pools: own.global_pool_conditions,
            picture_channels: own.conditioning_channels,
            config,
        })
    }

    /// What the network sees of a picture: `[batch, picture_channels, height, width]` of values 0 to 1 to
    /// `[batch, channels, height / factor, width / factor]`.
    pub fn embed(&self, picture: &Tensor, step: &Step) -> Tensor {
        let turned = self.is_bgr.then(|| picture.flip([1]));
        self.controlnet_cond_embedding.forward(turned.as_ref().unwrap_or(picture), step)
    }

    /// What to add to a U-Net that is given `sample`, `[batch, in_channels, height, width]`, at `times`, `[batch]`, with
    /// `text`, `[batch, seq, text_dim]`. `embedded` is of [`Self::embed`], of one row or of as many.
    pub fn forward(
        &self,
        sample: &Tensor,
        times: &Tensor,
        text: &Tensor,
        embedded: &Tensor,
        conditioning: Conditioning,
        step: &Step,
    ) -> Control {
        let waves = self.time_proj.forward(times).to_kind(sample.kind());
        let time = self.time_embedding.forward(&waves, None, step);
        let conditions = Conditions { time: Some(&time), text: Some(text), step };
        let hidden = self.conv_in.forward(sample, step) + embedded;
        let (kept, bottom) = self.descent.forward(hidden, &conditions);
        let Conditioning { scale, guesses } = conditioning;
        let n_kept = kept.len();
        // From a tenth at the first layer to all at the bottom.
        let share = |at: usize| match guesses && !self.pools {
            true => 10_f64.powf(at as f64 / n_kept as f64 - 1.0),
            false => 1.0,
        };
        let told = |conv: &Conv2d, made: &Tensor, at: usize| {
            let told = conv.forward(made, step) * (scale * share(at));
            if self.pools { told.mean_dim([2, 3].as_slice(), true, None) } else { told }
        };
        let down = self.controlnet_down_blocks.iter().zip(&kept).enumerate();
        Control {
            down: down.map(|(at, (conv, made))| told(conv, made, at)).collect(),
            mid: told(&self.controlnet_mid_block, &bottom, n_kept),
        }
    }

    pub fn in_channels(&self) -> i64 {
        self.config.in_channels
    }

    /// Length of a text token's vector.
    pub fn text_dim(&self) -> i64 {
        self.config.text_dim()
    }

    /// Channels of the picture.
    pub fn picture_channels(&self) -> i64 {
        self.picture_channels
    }

    /// How many times as high and wide as the latents the picture is.
    pub fn factor(&self) -> i64 {
        1 << (self.controlnet_cond_embedding.blocks.len() / 2)
    }

    /// Channels of what it adds to on the way down, and of the bottom.
    pub fn channels(&self) -> (&[i64], Option<i64>) {
        (self.descent.kept(), self.config.block_out_channels.last().copied())
    }

    /// It adds to rows with the text only, whatever is asked: see [`Conditioning::guesses`].
    pub fn always_guesses(&self) -> bool {
        self.pools
    }
}

/// What a U-Net may have and this network has not.
fn check(config: &Config, own: &OwnConfig) -> Result<(), LoadError> {
    let refused = [
        ("class_embed_type", config.class_embed_type.clone()),
        ("num_class_embeds", config.num_class_embeds.map(|classes| classes.to_string())),
        ("addition_embed_type", config.addition_embed_type.clone()),
        ("time_cond_proj_dim", config.time_cond_proj_dim.map(|dim| dim.to_string())),
    ];
    if let Some((field, value)) =
        refused.into_iter().find_map(|(field, value)| Some((field, value?)))
    {
        return Err(unsupported(field, value));
    }
    if config.mid_block_type.is_none() {
        return Err(unsupported("mid_block_type", "null"));
    }
    let order = &own.controlnet_conditioning_channel_order;
    if !["rgb", "bgr"].contains(&order.as_str()) {
        return Err(unsupported("controlnet_conditioning_channel_order", order));
    }
    check_positive(&[("conditioning_channels", own.conditioning_channels)])?;
    let field = "conditioning_embedding_out_channels";
    let channels = &own.conditioning_embedding_out_channels;
    if channels.is_empty() || channels.len() > 16 {
        return Err(unsupported(field, format!("{} values", channels.len())));
    }
    channels.iter().try_for_each(|channels| check_positive(&[(field, *channels)]))
}

/// Makes a picture as small as latents.
struct PictureEmbedding {
    conv_in: Conv2d,
    /// In pairs, the second of which halves both sides.
    blocks: Vec<Conv2d>,
    conv_out: Conv2d,
}

impl PictureEmbedding {
    fn load(
        weights: &Weights,
        config: &OwnConfig,
        out_channels: i64,
    ) -> Result<Self, WeightsError> {
        let channels = &config.conditioning_embedding_out_channels;
        let (first, last) = (channels[0], channels[channels.len() - 1]);
        let same = Conv2dConfig::same(3);
        let halving = Conv2dConfig { stride: 2, ..same };
        let blocks = channels
            .windows(2)
            .flat_map(|pair| [(pair[0], pair[0], same), (pair[0], pair[1], halving)]);
        let at = weights.at("blocks");
        Ok(Self {
            conv_in: Conv2d::load(
                &weights.at("conv_in"),
                config.conditioning_channels,
                first,
                same,
            )?,
            blocks: blocks
                .enumerate()
                .map(|(block, (from, to, config))| Conv2d::load(&at.at(block), from, to, config))
                .collect::<Result<_, _>>()?,
            conv_out: Conv2d::load(&weights.at("conv_out"), last, out_channels, same)?,
        })
    }

    fn forward(&self, picture: &Tensor, step: &Step) -> Tensor {
        let act = Activation::Silu;
        let first = act.forward(&self.conv_in.forward(picture, step));
        let last = self
            .blocks
            .iter()
            .fold(first, |hidden, block| act.forward(&block.forward(&hidden, step)));
        self.conv_out.forward(&last, step)
    }
}

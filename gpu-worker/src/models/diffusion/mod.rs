//! The networks of diffusion pipelines. A repository of such a pipeline has a folder with a config and a checkpoint for
//! each of them; what they share is in blocks here.

mod attention;
mod autoencoder_kl;
mod blocks;
mod clip_layer;
mod clip_text;
mod components;
mod embeddings;
mod flux;
mod flux_transformer;
mod generator;
mod mmdit;
mod per_block;
mod pipeline_class;
mod resampling;
mod resnet;
mod safety_checker;
mod sd3_transformer;
mod stable_diffusion;
mod stable_diffusion_3;
mod transformer;
mod u_shape;
mod unconditional;
mod unet;
mod unet_2d;

use tch::Tensor;

pub use self::{
    autoencoder_kl::{AutoencoderKl, Moments, Tiles, WORKING_COPIES, needs_float32},
    clip_text::{ClipText, EncodedText},
    flux_transformer::FluxTransformer,
    generator::{Beside, ImageGenerator, Prompt, Surroundings, TextLimits},
    pipeline_class::{Family, PipelineClass},
    safety_checker::{SafetyChecker, SafetyScores},
    sd3_transformer::Sd3Transformer,
    u_shape::Control,
    unconditional::Unconditional,
    unet::{Added, Condition, Conditioning, ControlNet, Unet2dCondition},
    unet_2d::Unet2d,
};
pub(super) use self::{
    flux::FLUX,
    stable_diffusion::{
        CONTROL_NET, CONTROL_NET_IMG2IMG, CONTROL_NET_INPAINT, INSTRUCT_PIX2PIX, STABLE_DIFFUSION,
        STABLE_DIFFUSION_IMG2IMG, STABLE_DIFFUSION_INPAINT, STABLE_DIFFUSION_UPSCALE,
        STABLE_DIFFUSION_XL, STABLE_DIFFUSION_XL_IMG2IMG, STABLE_DIFFUSION_XL_INPAINT,
    },
    stable_diffusion_3::STABLE_DIFFUSION_3,
    unconditional::{DDIM, DDPM},
};
use crate::layers::Step;

/// What every block of a network is told.
struct Conditions<'a> {
    /// `[batch, time_dim]`; `None` where the network knows no time.
    time: Option<&'a Tensor>,
    /// `[batch, seq, text_dim]`; `None` where it reads no text.
    text: Option<&'a Tensor>,
    step: &'a Step<'a>,
}

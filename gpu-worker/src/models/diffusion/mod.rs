//! The networks of diffusion pipelines. A repository of such a pipeline has a folder with a config and a checkpoint for
//! each of them; what they share is in blocks here.

mod attention;
mod autoencoder_kl;
mod blocks;
mod clip_layer;
mod clip_text;
mod components;
mod embeddings;
mod per_block;
mod resampling;
mod resnet;
mod safety_checker;
mod stable_diffusion;
mod transformer;
mod u_shape;
mod unet;
mod unet_2d;

use tch::Tensor;

pub(super) use self::stable_diffusion::{
    STABLE_DIFFUSION, STABLE_DIFFUSION_IMG2IMG, STABLE_DIFFUSION_INPAINT, STABLE_DIFFUSION_XL,
};
pub use self::{
    autoencoder_kl::{AutoencoderKl, Moments},
    clip_text::{ClipText, EncodedText},
    safety_checker::{SafetyChecker, SafetyScores},
    stable_diffusion::{Prompt, StableDiffusion, Surroundings},
    unet::{Added, Condition, Unet2dCondition},
    unet_2d::Unet2d,
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

//! Transformers of a picture's tokens and a text's beside each other, as FLUX and Stable Diffusion 3 have them
//! (Esser et al., 2024, <https://arxiv.org/abs/2403.03206>).
//!
//! Reference: `diffusers/models/attention.py`, `JointTransformerBlock`, and `models/transformers/transformer_flux.py`.

mod attention;
mod conditioning;
mod joint_block;
mod modulation;
mod rotation;
mod single_block;

pub(super) use self::{
    conditioning::Conditioning,
    joint_block::{JointBlock, JointBlockConfig},
    modulation::LastNorm,
    rotation::{Axes, Turns},
    single_block::SingleBlock,
};

use tch::{Kind, Tensor};

use crate::{
    layers::{Linear, Step},
    models::{LoadError, unsupported},
    weights::{Weights, WeightsError},
};

/// Of all norms.
const EPS: f64 = 1e-6;
/// The feed-forward part is so many times as wide.
const FEED_FORWARD: i64 = 4;

/// What all blocks of a network have in common.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// Length of a token's vector: all heads together.
    pub dim: i64,
    pub n_heads: i64,
    /// Queries and keys are normalised.
    pub norms_heads: bool,
}

impl Shape {
    fn head_dim(&self) -> i64 {
        self.dim / self.n_heads
    }
}

/// Refuses a number of blocks that no network has; each is looked for in the checkpoint.
pub(super) fn check_blocks(field: &'static str, blocks: i64) -> Result<(), LoadError> {
    const MOST: i64 = 1024;
    if (0..=MOST).contains(&blocks) { Ok(()) } else { Err(unsupported(field, blocks)) }
}

struct FeedForward {
    ff_in: Linear,
    ff_out: Linear,
}

impl FeedForward {
    fn load(weights: &Weights, dim: i64) -> Result<Self, WeightsError> {
        let net = weights.at("net");
        Ok(Self {
            ff_in: Linear::load(&net.at("0.proj"), dim, FEED_FORWARD * dim)?,
            ff_out: Linear::load(&net.at("2"), FEED_FORWARD * dim, dim)?,
        })
    }

    /// `[batch, seq, dim]` to the same shape.
    fn forward(&self, xs: &Tensor, step: &Step) -> Tensor {
        self.ff_out.forward(&self.ff_in.forward(xs, step).gelu("tanh"), step)
    }
}

/// Keeps what float16 cannot hold within its range, as the reference does; other kinds stay as they are.
fn clamp_half(xs: Tensor) -> Tensor {
    const MOST: f64 = 65504.0;
    if xs.kind() == Kind::Half { xs.clamp(-MOST, MOST) } else { xs }
}

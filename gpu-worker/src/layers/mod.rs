//! The blocks that models are wired from. Each is written once and chosen by plain config fields.
//!
//! Every block takes the [`Step`]: what belongs to the requests of one forward pass (positions, padding, cache)
//! travels there, so that model files pass it on unread.

mod activation;
mod attention;
mod cache;
mod conv;
mod cross;
mod disentangled;
mod embedding;
mod half;
mod linear;
mod lora;
mod mirror;
mod norm;
mod packing;
mod patches;
mod ranges;
mod relative;
mod rope;
mod rotary;
mod rows;
mod step;
pub mod windows;

pub use activation::{Activation, leaky_relu};
pub use attention::Attend;
pub use cache::{CacheShape, KvArena, KvSlot, reorder};
pub use conv::{Conv2d, Conv2dConfig};
pub use cross::Source;
pub use disentangled::{
    RelativeAttention, RelativePositions, RelativePositionsConfig, RelativeTable,
};
pub use embedding::Embedding;
pub use half::clamp_half;
pub use linear::Linear;
pub use lora::Adapter;
pub use mirror::pad_to_multiple;
pub use norm::{GroupNorm, LayerNorm, Norm, NormKind, RmsNorm};
pub use patches::PatchEmbedding;
pub use relative::{RelativeBias, RelativeBuckets};
pub use rope::{RopeConfig, RopeDefaults, RopeError, RopeParameters};
pub use rotary::{Rotary, Rotation};
pub use step::{Segment, Step};

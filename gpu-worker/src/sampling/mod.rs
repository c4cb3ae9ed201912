//! Chooses the next token from a model's logits. Pure: no clock, no device; randomness comes from a seed.

mod beam;
mod constraints;
mod continuing;
mod cutoff;
mod decoding;
mod filter;
mod lengths;
mod options;
mod sampler;
mod top;

pub use beam::{BeamNext, BeamOptions, BeamSearch, BeamTarget, EarlyStopping};
pub use constraints::Constraints;
pub use continuing::Continuing;
pub use decoding::Decoding;
pub use options::{InvalidOption, SamplingOptions};
pub use sampler::{History, Sampled, Sampler};

/// Why no token could be chosen. The fault is the model's, never the request's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SamplingError {
    #[error("the model gave no logits")]
    Empty,
    #[error("the model gave a logit that is no finite number, for token {id}")]
    NotFinite { id: usize },
    #[error("the model left no token possible")]
    NothingPossible,
}

impl SamplingError {
    /// The stable code a client sees.
    pub fn code(&self) -> &'static str {
        "inference_failed"
    }
}

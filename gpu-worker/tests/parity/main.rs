//! Every architecture against the reference: the same config, the same weights, the same answers.
//!
//! The fixtures are made by `tests/fixtures/make/make.py` and hold no weights.

// Every function here is test code, though the lint only knows those marked so.
#![allow(clippy::unwrap_used)]

mod answers;
mod asking;
mod beams;
mod causal;
mod control_net;
mod diffusion;
mod encoder;
mod enhancer;
mod families;
mod fixture;
mod generation;
mod half_precision;
mod hashed_weights;
mod image;
mod imagining;
mod kept_matrices;
mod lora;
mod painting;
mod picture_lora;
mod pipeline;
mod prefixes;
mod schedulers;
mod seq2seq;
mod table;
mod tables;
mod transformers;
mod writing;

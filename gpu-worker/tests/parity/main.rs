//! Every architecture against the reference: the same config, the same weights, the same answers.
//!
//! The fixtures are made by `tests/fixtures/make/make.py` and hold no weights.

mod causal;
mod encoder;
mod fixture;
mod half_precision;
mod hashed_weights;
mod image;

//! One worker: it loads models on libtorch, runs them, and streams what happens while it happens.

pub mod hub;
pub mod layers;
pub mod memory;
pub mod models;
pub mod weights;

pub mod media;
pub mod sampling;
pub mod text;

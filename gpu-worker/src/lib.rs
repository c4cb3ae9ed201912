//! One worker: it loads models on libtorch, runs them, and streams what happens while it happens.

pub mod config;
pub mod failure;
pub mod figures;
pub mod hub;
pub mod lane;
pub mod layers;
pub mod limit_flags;
pub mod media;
pub mod memory;
pub mod models;
pub mod residency;
pub mod rpc;
pub mod sampling;
pub mod schedulers;
pub mod tasks;
pub mod text;
pub mod weights;

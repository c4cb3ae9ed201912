//! One worker: it loads models on libtorch, runs them, and streams what happens while it happens.

pub mod sampling;
pub mod text;

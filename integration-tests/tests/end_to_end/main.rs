//! The real binaries, driven through their real interfaces: HTTP and SSE in front, gRPC behind, signals from outside.
//!
//! Models are those of `zoo/hub` and random ones that the tests write. Nothing here needs a network.

#![expect(clippy::needless_pass_by_value, reason = "requests are written in place with `json!`")]

mod adapters;
mod asking_tables;
mod bad_input;
mod bad_models;
mod cancel;
mod causality;
mod conversing;
mod discovery;
mod drain;
mod drained;
mod endurance;
mod enlarging;
mod evictions;
mod faults;
mod faults_memory;
mod faults_silence;
mod first_requests;
mod grpc;
mod grpc_limits;
mod harness;
mod imagining;
mod judging;
mod kept;
mod looking_at_tokens;
mod memory;
mod observing;
mod older_files;
mod painting;
mod painting_families;
mod painting_half;
mod painting_limits;
mod painting_refusals;
mod painting_with;
mod parity_made;
mod parity_pictures;
mod parity_tasks;
mod parity_text;
mod parity_vectors;
mod residency;
mod rivals;
mod sampling;
mod semantics;
mod shutdown;
mod slow_reader;
mod soak;
mod threads;
mod upscaling;
mod worker_loss;
mod writing;

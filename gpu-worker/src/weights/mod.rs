//! Checkpoints: safetensors files and PyTorch's own, checked, mapped or read, and a cursor that hands their tensors out by name and shape.
//!
//! [`Checkpoint::open`] brings every tensor to the wanted device and kind. A model reads them through [`Weights`], whose paths
//! equal the checkpoint's names; afterwards [`Checkpoint::finish`] lists every name that was missing and every one nobody asked for.

mod adapter_plan;
mod arena;
mod checkpoint;
mod cursor;
mod error;
pub mod header;
pub mod index;
mod load;
pub mod lora_file;
pub mod peft;
pub mod pickle;
mod rename;
mod source;
mod torch_file;

pub use self::{
    adapter_plan::AdapterPlan,
    checkpoint::{Checkpoint, Module, Unused},
    cursor::Weights,
    error::WeightsError,
    load::{Access, LoadProgress, OpenOptions, is_kept},
    rename::{GAMMA_BETA, OF_ANY_MODEL, Rename, renamed},
    source::Part,
};

#[cfg(test)]
mod tests;

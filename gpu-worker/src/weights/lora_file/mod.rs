//! LoRA adapters of pipelines that make pictures: one safetensors file, with Kohya's names or those of `diffusers`.
//!
//! `names` is what a tensor's name means, `original` how the U-Net was named when it was published, [`Plan`] which tensors
//! belong to which layer, [`Plan::parts`] what becomes of a model's layers. What is not supported is refused by its name.
//!
//! Reference: `diffusers/loaders/lora_conversion_utils.py` and `loaders/lora_pipeline.py`.

mod names;
mod original;
mod plan;

#[cfg(test)]
mod tests;

pub use self::plan::Plan;

/// Its usual name in a repository.
pub const WEIGHTS_FILE: &str = "pytorch_lora_weights.safetensors";
/// Where the file's header has the settings of the training, by component, if it has them.
pub const METADATA: &str = "lora_adapter_metadata";

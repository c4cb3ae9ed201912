//! LoRA adapters as PEFT saves them: `adapter_config.json` and `adapter_model.safetensors`.
//!
//! [`Config`] is what the config says, [`Plan`] which tensors belong to which layer, [`Plan::parts`] what becomes of a
//! model's layers. What an adapter asks for and this library cannot do is refused by its name, never left out.

mod config;
mod pattern;
mod plan;

#[cfg(test)]
mod tests;

pub(super) use self::plan::take;
pub use self::{
    config::Config,
    plan::{Part, Plan},
};

/// The adapter's config, in its repository.
pub const CONFIG_FILE: &str = "adapter_config.json";
/// Its tensors.
pub const WEIGHTS_FILE: &str = "adapter_model.safetensors";

/// Why an adapter cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PeftError {
    #[error(
        "the adapter's config (adapter_config.json, or in the header of its weights) is no valid JSON object: {0}"
    )]
    Json(#[from] serde_json::Error),
    #[error("the adapter's config: {field} {why}")]
    Invalid { field: String, why: String },
    #[error("the adapter's config: {field} = {value} is not supported")]
    Unsupported { field: String, value: String },
    #[error(
        "the adapter's tensor {name} is not supported: only lora_A and lora_B of linear layers and what modules_to_save names are"
    )]
    Tensor { name: String },
    #[error(
        "the adapter's tensor {name} is not supported: only both halves of low-rank adapters (lora_A and lora_B, lora_down and lora_up) and alpha are"
    )]
    File { name: String },
    #[error("the adapter has {found} and no other half to it")]
    Alone { found: String },
    #[error("the adapter has a second tensor for what {name} is for")]
    Twice { name: String },
    #[error("the adapter has {found} but not {missing}")]
    Half { found: String, missing: String },
    #[error("the adapter has tensors of {module}, which its target_modules do not name")]
    NotTargeted { module: String },
    #[error("the adapter has no tensors")]
    Empty,
    #[error("the adapter's tensor {name} has shape {found:?}, expected {expected:?}")]
    Rank { name: String, found: Vec<i64>, expected: Vec<i64> },
    #[error("the adapter is for another model: this one has no layer for its tensor {name}")]
    NoLayer { name: String },
    #[error("the adapter is for another model: this one has no linear layer {module}")]
    NoModule { module: String },
    #[error(
        "the adapter is for another model: its tensor {name} has shape {found:?}, this one needs {expected:?}"
    )]
    Shape { name: String, found: Vec<i64>, expected: Vec<i64> },
    #[error(
        "{module} cannot be adapted: what it makes of relative positions is computed when the model is loaded"
    )]
    Fixed { module: String },
    #[error("libtorch refused the adapter's tensor {name}")]
    Torch {
        name: String,
        #[source]
        source: tch::TchError,
    },
}

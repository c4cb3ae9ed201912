//! LoRA adapters that tests write, as PEFT saves them.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::models::{change_json, write_json, write_safetensors};

/// What an adapter adds to.
pub struct Shape<'a> {
    /// Paths of layers with their inputs and outputs.
    pub layers: &'a [(&'a str, usize, usize)],
    pub targets: &'a [&'a str],
}

/// The attention of [`super::models::TINY`].
pub const OF_TINY: Shape<'_> = Shape {
    layers: &[
        ("transformer.h.0.attn.c_attn", 64, 192),
        ("transformer.h.1.attn.c_attn", 64, 192),
        ("transformer.h.1.mlp.c_fc", 64, 256),
    ],
    targets: &["c_attn", "c_fc"],
};

/// Queries and values of the zoo's text encoder.
pub const OF_SENTENCES: Shape<'_> = Shape {
    layers: &[
        ("encoder.layer.0.attention.self.query", 96, 96),
        ("encoder.layer.2.attention.self.value", 96, 96),
    ],
    targets: &["query", "value"],
};

impl Shape<'_> {
    /// Writes an adapter of that rank into `hub/adapter_id`; another seed gives other values.
    pub fn write(&self, hub: &Path, adapter_id: &str, rank: usize, seed: u64) {
        let folder = hub.join(adapter_id);
        fs::create_dir_all(&folder).expect("a folder");
        let name = |path: &str, half: &str| format!("base_model.model.{path}.lora_{half}.weight");
        let tensors: Vec<(String, Vec<usize>)> = self
            .layers
            .iter()
            .flat_map(|&(path, inputs, outputs)| {
                [(name(path, "A"), vec![rank, inputs]), (name(path, "B"), vec![outputs, rank])]
            })
            .collect();
        write_safetensors(&folder.join("adapter_model.safetensors"), &tensors, seed);
        write_json(
            &folder.join("adapter_config.json"),
            &json!({"peft_type": "LORA", "r": rank, "lora_alpha": 40, "target_modules": self.targets,
                "bias": "none", "task_type": null, "fan_in_fan_out": false}),
        );
    }
}

/// Changes fields of an adapter's config; `null` removes one.
pub fn change(hub: &Path, adapter_id: &str, change: &Value) {
    change_json(&hub.join(adapter_id).join("adapter_config.json"), change);
}

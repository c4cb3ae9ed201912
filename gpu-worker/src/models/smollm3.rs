//! SmolLM3 (<https://huggingface.co/blog/smollm3>): some layers don't know positions (NoPE,
//! <https://arxiv.org/abs/2501.18795>).
//!
//! Reference: `transformers/models/smollm3/modeling_smollm3.py`.

use serde::Deserialize;

use super::{
    Architecture, LoadError, check_positive,
    decoder::{Common, Config, Decoder, Defaults, RopeChoice, architecture},
    unsupported,
};

pub(super) const SMOLLM3: Architecture =
    architecture("smollm3", |config, _, weights| Decoder::load(&parse(config)?, weights));

#[derive(Deserialize)]
struct Raw {
    #[serde(flatten)]
    common: Common,
    /// 0 for the layers that don't rotate.
    no_rope_layers: Option<Vec<i64>>,
    no_rope_layer_interval: Option<i64>,
}

fn parse(config: &str) -> Result<Config, LoadError> {
    let raw: Raw = serde_json::from_str(config)?;
    let mut config = raw.common.decoder(&Defaults {
        vocab_size: 128_256,
        hidden_size: 2048,
        num_hidden_layers: 36,
        num_attention_heads: 16,
        num_key_value_heads: Some(4),
        max_position_embeddings: 32768,
        tie_word_embeddings: true,
        rope: RopeChoice { theta: 2_000_000.0, ..RopeChoice::PLAIN },
        ..Defaults::LLAMA
    })?;
    config.attention.qkv_bias = raw.common.attention_bias;
    config.attention.output_bias = raw.common.attention_bias;
    config.mlp_bias = raw.common.mlp_bias;
    let n_layers = config.layers.len();
    let rotates: Vec<bool> = match &raw.no_rope_layers {
        Some(layers) if layers.len() < n_layers => {
            return Err(unsupported("no_rope_layers", format!("a list of {}", layers.len())));
        }
        Some(layers) => layers.iter().map(|&rotates| rotates != 0).collect(),
        None => {
            let interval = raw.no_rope_layer_interval.unwrap_or(4);
            check_positive(&[("no_rope_layer_interval", interval)])?;
            (0..n_layers as i64).map(|layer| (layer + 1) % interval != 0).collect()
        }
    };
    let size = raw.common.sliding_window.flatten();
    let sliding = raw.common.sliding_layers(n_layers, |layer| {
        raw.common.use_sliding_window && size.is_some() && !rotates[layer]
    })?;
    config.slide(size, &sliding)?;
    for (layer, rotates) in config.layers.iter_mut().zip(rotates) {
        layer.rope = rotates.then_some(0);
    }
    Ok(config)
}

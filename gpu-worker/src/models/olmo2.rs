//! OLMo 2 (<https://arxiv.org/abs/2501.00656>): norms after both parts of a layer, and over whole queries and keys.
//!
//! Reference: `transformers/models/olmo2/modeling_olmo2.py`.

use super::{
    Architecture, LoadError,
    decoder::{Common, Config, Decoder, Defaults, LayerNorms, QkNorm, architecture},
};
use crate::layers::NormKind;

pub(super) const OLMO2: Architecture =
    architecture("olmo2", |config, _, weights| Decoder::load(&parse(config)?, weights));

fn parse(config: &str) -> Result<Config, LoadError> {
    let raw: Common = serde_json::from_str(config)?;
    let mut config =
        raw.decoder(&Defaults { vocab_size: 50304, rms_norm_eps: 1e-5, ..Defaults::LLAMA })?;
    config.attention.qkv_bias = raw.attention_bias;
    config.attention.output_bias = raw.attention_bias;
    config.attention.qk_norm = QkNorm::Whole;
    config.norm_kind = NormKind::RmsExact;
    config.layer_norms = LayerNorms {
        before_attention: None,
        after_attention: Some("post_attention_layernorm"),
        before_mlp: None,
        after_mlp: Some("post_feedforward_layernorm"),
    };
    Ok(config)
}

//! Gemma (<https://arxiv.org/abs/2403.08295>), Gemma 2 (<https://arxiv.org/abs/2408.00118>) and the text model of
//! Gemma 3 (<https://arxiv.org/abs/2503.19786>).
//!
//! Reference: `transformers/models/{gemma,gemma2,gemma3}/modeling_*.py`.

use serde::Deserialize;

use super::{
    Architecture, LoadError,
    decoder::{Common, Config, Decoder, Defaults, LayerNorms, QkNorm, RopeChoice, architecture},
    unsupported,
};
use crate::layers::{Activation, NormKind};

pub(super) const GEMMA: Architecture =
    architecture("gemma", |config, _, weights| Decoder::load(&gemma(config)?, weights));
pub(super) const GEMMA2: Architecture =
    architecture("gemma2", |config, _, weights| Decoder::load(&gemma2(config)?, weights));
pub(super) const GEMMA3_TEXT: Architecture =
    architecture("gemma3_text", |config, _, weights| Decoder::load(&gemma3(config)?, weights));

const DEFAULTS: Defaults = Defaults {
    vocab_size: 256_000,
    hidden_size: 2304,
    intermediate_size: 9216,
    num_hidden_layers: 26,
    num_attention_heads: 8,
    num_key_value_heads: Some(4),
    head_dim: Some(256),
    max_position_embeddings: 8192,
    act: Activation::GeluTanh,
    tie_word_embeddings: true,
    ..Defaults::LLAMA
};

/// What the reference rotates layers with a window by.
const LOCAL_THETA: f64 = 10_000.0;

#[derive(Deserialize)]
struct Raw {
    #[serde(flatten)]
    common: Common,
    /// The name that counts from Gemma 2 on.
    hidden_activation: Option<Activation>,
    query_pre_attn_scalar: Option<f64>,
    /// Absent and `null` differ: `null` means none.
    #[serde(default = "attn_softcap")]
    attn_logit_softcapping: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    final_logit_softcapping: Option<Option<f64>>,
    /// Every so many layers there is one that sees everything (Gemma 3).
    sliding_window_pattern: Option<usize>,
    use_bidirectional_attention: Option<bool>,
}

fn attn_softcap() -> Option<f64> {
    Some(50.0)
}

fn present<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<f64>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

fn gemma(config: &str) -> Result<Config, LoadError> {
    let raw: Raw = serde_json::from_str(config)?;
    let mut config = raw.common.decoder(&Defaults {
        hidden_size: 3072,
        intermediate_size: 24576,
        num_hidden_layers: 28,
        num_attention_heads: 16,
        num_key_value_heads: Some(16),
        ..DEFAULTS
    })?;
    raw.adapt(&mut config)?;
    // The first releases wrote `gelu` and meant the approximation.
    if config.act == Activation::Gelu {
        config.act = Activation::GeluTanh;
    }
    Ok(config)
}

fn gemma2(config: &str) -> Result<Config, LoadError> {
    let raw: Raw = serde_json::from_str(config)?;
    let mut config = raw.common.decoder(&DEFAULTS)?;
    raw.adapt(&mut config)?;
    raw.sandwich(&mut config)?;
    config.attention.softcap = softcap("attn_logit_softcapping", raw.attn_logit_softcapping)?;
    config.final_softcap =
        softcap("final_logit_softcapping", raw.final_logit_softcapping.unwrap_or(Some(30.0)))?;
    let sliding = raw.common.sliding_layers(config.layers.len(), |layer| layer % 2 == 0)?;
    config.slide(raw.common.sliding_window.unwrap_or(Some(4096)), &sliding)?;
    Ok(config)
}

/// The reference does not use `attn_logit_softcapping` here.
fn gemma3(config: &str) -> Result<Config, LoadError> {
    let raw: Raw = serde_json::from_str(config)?;
    let defaults = Defaults {
        vocab_size: 262_208,
        max_position_embeddings: 131_072,
        rope: RopeChoice { theta: 1_000_000.0, ..RopeChoice::PLAIN },
        ..DEFAULTS
    };
    let mut config = raw.common.without_rope(&defaults)?;
    raw.adapt(&mut config)?;
    raw.sandwich(&mut config)?;
    config.attention.qk_norm = QkNorm::PerHead;
    config.final_softcap =
        softcap("final_logit_softcapping", raw.final_logit_softcapping.flatten())?;
    let pattern = raw.sliding_window_pattern.unwrap_or(6);
    if pattern == 0 {
        return Err(unsupported("sliding_window_pattern", pattern));
    }
    let sliding =
        raw.common.sliding_layers(config.layers.len(), |layer| (layer + 1) % pattern != 0)?;
    config.slide(raw.common.sliding_window.unwrap_or(Some(4096)), &sliding)?;
    let rope = defaults.rope.defaults(config.context_length);
    let (full, local) = raw.common.rope.parameters_by_layer(&rope, LOCAL_THETA)?;
    config.context_length = full.context_length();
    config.ropes = vec![full, local];
    for layer in &mut config.layers {
        layer.rope = Some(usize::from(layer.window.is_some()));
    }
    Ok(config)
}

impl Raw {
    /// What all generations do.
    fn adapt(&self, config: &mut Config) -> Result<(), LoadError> {
        if self.use_bidirectional_attention == Some(true) {
            return Err(unsupported("use_bidirectional_attention", true));
        }
        config.norm_kind = NormKind::RmsOffset;
        config.embedding_scale = Some((config.hidden_size as f64).sqrt());
        config.attention.qkv_bias = self.common.attention_bias;
        config.attention.output_bias = self.common.attention_bias;
        Ok(())
    }

    /// What Gemma 2 brought: norms around both parts, a scale of its own.
    fn sandwich(&self, config: &mut Config) -> Result<(), LoadError> {
        let scalar = self.query_pre_attn_scalar.unwrap_or(256.0);
        if !(scalar > 0.0 && scalar.is_finite()) {
            return Err(unsupported("query_pre_attn_scalar", scalar));
        }
        config.attention.scale = scalar.powf(-0.5);
        config.act = self.hidden_activation.unwrap_or(DEFAULTS.act);
        config.layer_norms = LayerNorms {
            before_attention: Some("input_layernorm"),
            after_attention: Some("post_attention_layernorm"),
            before_mlp: Some("pre_feedforward_layernorm"),
            after_mlp: Some("post_feedforward_layernorm"),
        };
        Ok(())
    }
}

fn softcap(field: &'static str, cap: Option<f64>) -> Result<Option<f64>, LoadError> {
    match cap {
        Some(cap) if !(cap > 0.0 && cap.is_finite()) => Err(unsupported(field, cap)),
        cap => Ok(cap),
    }
}

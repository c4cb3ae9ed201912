//! GPT-NeoX (Black et al., 2022, <https://arxiv.org/abs/2204.06745>), the architecture of Pythia.
//!
//! Reference: `transformers/models/gpt_neox/modeling_gpt_neox.py`.

use serde::Deserialize;

use super::{
    Architecture, LoadError,
    decoder::{
        Common, Config, Decoder, Defaults, MlpNames, Names, Projections, Residual, RopeChoice,
        architecture,
    },
};
use crate::{
    layers::{Activation, NormKind},
    weights::Rename,
};

pub(super) const GPT_NEOX: Architecture = Architecture {
    renames: &[Rename::StripPrefix("gpt_neox.")],
    ignored: &["rotary_emb.inv_freq", ".attention.bias", ".attention.masked_bias"],
    ..architecture("gpt_neox", |config, _, weights| Decoder::load(&parse(config)?, weights))
};

#[derive(Deserialize)]
struct Raw {
    #[serde(flatten)]
    common: Common,
    #[serde(default = "default_eps")]
    layer_norm_eps: f64,
    #[serde(default = "default_true")]
    use_parallel_residual: bool,
    /// Named like a field of [`Common`], whose default it does not share.
    attention_bias: Option<bool>,
    /// What share of a head's values turns.
    rotary_pct: Option<f64>,
    /// The rotation's base.
    rotary_emb_base: Option<f64>,
}

fn default_eps() -> f64 {
    1e-5
}

fn default_true() -> bool {
    true
}

fn parse(config: &str) -> Result<Config, LoadError> {
    let raw: Raw = serde_json::from_str(config)?;
    let mut config = raw.common.decoder(&Defaults {
        vocab_size: 50432,
        hidden_size: 6144,
        intermediate_size: 24576,
        num_hidden_layers: 44,
        num_attention_heads: 64,
        act: Activation::Gelu,
        rope: RopeChoice {
            theta: raw.rotary_emb_base.unwrap_or(10_000.0),
            rotary_share: Some(raw.rotary_pct.unwrap_or(0.25)),
            ..RopeChoice::PLAIN
        },
        ..Defaults::LLAMA
    })?;
    // Heads are never shared here, whatever the config says.
    config.attention.n_kv_heads = config.attention.n_heads;
    config.attention.projections = Projections::ByHead("query_key_value");
    config.attention.output = "dense";
    config.attention.qkv_bias = raw.attention_bias.unwrap_or(true);
    config.attention.output_bias = config.attention.qkv_bias;
    config.mlp = MlpNames::Ungated { up: "dense_h_to_4h", down: "dense_4h_to_h" };
    config.mlp_bias = true;
    config.norm_kind = NormKind::Layer;
    config.norm_eps = raw.layer_norm_eps;
    config.residual = if raw.use_parallel_residual { Residual::Parallel } else { Residual::Serial };
    config.names = Names {
        embed_tokens: "embed_in",
        attention: "attention",
        norm: Some("final_layer_norm"),
        lm_head: "embed_out",
        ..config.names
    };
    Ok(config)
}

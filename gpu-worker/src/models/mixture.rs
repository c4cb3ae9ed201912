//! Decoders with experts: Mixtral (Jiang et al., 2024, <https://arxiv.org/abs/2401.04088>), Qwen2-MoE
//! (<https://arxiv.org/abs/2407.10671>), Qwen3-MoE (<https://arxiv.org/abs/2505.09388>).
//!
//! Reference: `transformers/models/{mixtral,qwen2_moe,qwen3_moe}/modeling_*.py`.

use serde::Deserialize;

use super::{
    Architecture, LoadError, check_positive,
    decoder::{
        Common, Config, Decoder, Defaults, Experts, FeedForward, GATED, MlpNames, QkNorm,
        RopeChoice, architecture, count,
    },
    unsupported,
};
use crate::weights::Rename;

pub(super) const MIXTRAL: Architecture = Architecture {
    renames: &[
        Rename::StripPrefix("model."),
        Rename::Part { from: ".block_sparse_moe.", to: ".mlp." },
    ],
    ..architecture("mixtral", |config, _, weights| Decoder::load(&mixtral(config)?, weights))
};
pub(super) const QWEN2_MOE: Architecture =
    architecture("qwen2_moe", |config, _, weights| Decoder::load(&qwen2_moe(config)?, weights));
pub(super) const QWEN3_MOE: Architecture =
    architecture("qwen3_moe", |config, _, weights| Decoder::load(&qwen3_moe(config)?, weights));

const DEFAULT_WINDOW: i64 = 4096;

#[derive(Deserialize)]
struct Raw {
    #[serde(flatten)]
    common: Common,
    num_local_experts: Option<i64>,
    num_experts: Option<i64>,
    num_experts_per_tok: Option<i64>,
    moe_intermediate_size: Option<i64>,
    shared_expert_intermediate_size: Option<i64>,
    #[serde(default)]
    norm_topk_prob: bool,
    decoder_sparse_step: Option<i64>,
    mlp_only_layers: Option<Vec<usize>>,
    max_window_layers: Option<usize>,
    qkv_bias: Option<bool>,
}

fn mixtral(config: &str) -> Result<Config, LoadError> {
    let raw: Raw = serde_json::from_str(config)?;
    let defaults = Defaults {
        intermediate_size: 14336,
        num_key_value_heads: Some(8),
        max_position_embeddings: 131_072,
        rms_norm_eps: 1e-5,
        rope: RopeChoice { theta: 1_000_000.0, ..RopeChoice::PLAIN },
        ..Defaults::LLAMA
    };
    let mut config = raw.common.decoder(&defaults)?;
    let size = raw.common.sliding_window.flatten();
    let sliding = vec![size.is_some(); config.layers.len()];
    config.slide(size, &sliding)?;
    let experts = raw.experts(Experts {
        n_experts: 8,
        per_token: 2,
        inner_dim: raw.common.intermediate_size.unwrap_or(defaults.intermediate_size),
        normalised: true,
        shared_inner_dim: None,
        names: MlpNames::Gated { gate: "w1", up: "w3", down: "w2" },
    })?;
    for layer in &mut config.layers {
        layer.feed_forward = FeedForward::Experts(experts);
    }
    Ok(config)
}

const QWEN: Defaults = Defaults {
    vocab_size: 151_936,
    hidden_size: 2048,
    num_hidden_layers: 24,
    max_position_embeddings: 32768,
    ..Defaults::LLAMA
};

fn qwen2_moe(config: &str) -> Result<Config, LoadError> {
    let raw: Raw = serde_json::from_str(config)?;
    let mut config = raw.common.decoder(&Defaults {
        intermediate_size: 5632,
        num_attention_heads: 16,
        num_key_value_heads: Some(16),
        ..QWEN
    })?;
    config.attention.qkv_bias = raw.qkv_bias.unwrap_or(true);
    let size = raw.window();
    // Every other layer of the first ones, as the reference has it.
    let last = raw.max_window_layers.unwrap_or(28);
    let sliding = raw.common.sliding_layers(config.layers.len(), |layer| {
        raw.common.use_sliding_window && layer % 2 == 0 && layer < last
    })?;
    config.slide(size, &sliding)?;
    let shared_inner_dim = raw.shared_expert_intermediate_size.unwrap_or(5632);
    check_positive(&[("shared_expert_intermediate_size", shared_inner_dim)])?;
    raw.place(
        &mut config,
        Experts {
            n_experts: 60,
            per_token: 4,
            inner_dim: raw.moe_intermediate_size.unwrap_or(1408),
            normalised: raw.norm_topk_prob,
            shared_inner_dim: Some(shared_inner_dim),
            names: GATED,
        },
    )?;
    Ok(config)
}

fn qwen3_moe(config: &str) -> Result<Config, LoadError> {
    let raw: Raw = serde_json::from_str(config)?;
    let mut config = raw.common.decoder(&Defaults {
        intermediate_size: 6144,
        num_key_value_heads: Some(4),
        ..QWEN
    })?;
    config.attention.qkv_bias = raw.common.attention_bias;
    config.attention.output_bias = raw.common.attention_bias;
    config.attention.qk_norm = QkNorm::PerHead;
    let size = raw.window();
    let sliding = vec![size.is_some(); config.layers.len()];
    config.slide(size, &sliding)?;
    raw.place(
        &mut config,
        Experts {
            n_experts: 128,
            per_token: 8,
            inner_dim: raw.moe_intermediate_size.unwrap_or(768),
            normalised: raw.norm_topk_prob,
            shared_inner_dim: None,
            names: GATED,
        },
    )?;
    Ok(config)
}

impl Raw {
    /// Qwen's window, if it is used.
    fn window(&self) -> Option<i64> {
        let size = self.common.sliding_window.unwrap_or(Some(DEFAULT_WINDOW));
        size.filter(|_| self.common.use_sliding_window)
    }

    /// The default's numbers, or those that the config has.
    fn experts(&self, default: Experts) -> Result<Experts, LoadError> {
        let (field, n_experts) = match (self.num_experts, self.num_local_experts) {
            (Some(n_experts), _) => ("num_experts", n_experts),
            (None, local) => ("num_local_experts", local.unwrap_or(default.n_experts)),
        };
        count(field, n_experts)?;
        let per_token = self.num_experts_per_tok.unwrap_or(default.per_token);
        check_positive(&[("moe_intermediate_size", default.inner_dim)])?;
        if !(1..=n_experts).contains(&per_token) {
            return Err(unsupported("num_experts_per_tok", per_token));
        }
        Ok(Experts { n_experts, per_token, ..default })
    }

    /// Puts experts into the layers that have them.
    fn place(&self, config: &mut Config, default: Experts) -> Result<(), LoadError> {
        let step = self.decoder_sparse_step.unwrap_or(1);
        check_positive(&[("decoder_sparse_step", step)])?;
        let n_experts = self.num_experts.or(self.num_local_experts).unwrap_or(default.n_experts);
        if n_experts == 0 {
            return Ok(());
        }
        let experts = self.experts(default)?;
        let dense = self.mlp_only_layers.as_deref().unwrap_or_default();
        for (idx, layer) in config.layers.iter_mut().enumerate() {
            if !dense.contains(&idx) && (idx as i64 + 1) % step == 0 {
                layer.feed_forward = FeedForward::Experts(experts);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn experts_stand_where_the_config_puts_them() {
        let config = qwen3_moe(
            r#"{"num_hidden_layers": 5, "decoder_sparse_step": 2, "mlp_only_layers": [3], "num_experts": 4,
                "num_experts_per_tok": 2}"#,
        );
        let is_sparse = |layer: &super::super::decoder::LayerConfig| {
            matches!(layer.feed_forward, FeedForward::Experts(_))
        };
        let sparse: Vec<bool> = config.unwrap().layers.iter().map(is_sparse).collect();
        assert_eq!(sparse, [false, true, false, false, false]);
    }

    #[test]
    fn windows_of_qwen2_moe_alternate() {
        let config = qwen2_moe(
            r#"{"num_hidden_layers": 4, "use_sliding_window": true, "sliding_window": 8, "max_window_layers": 2}"#,
        );
        let windows: Vec<_> = config.unwrap().layers.iter().map(|layer| layer.window).collect();
        assert_eq!(windows, [Some(8), None, None, None]);
    }
}

//! What the configs of most decoders share: their field names, and the form that Llama gave them.

use serde::Deserialize;

use super::{
    super::{LoadError, check_divides, check_positive, unsupported},
    config::{
        Attention, Config, FeedForward, Layer, LayerNorms, MlpNames, Names, Projections, QkNorm,
        Residual,
    },
};
use crate::layers::{Activation, NormKind, RopeConfig, RopeDefaults};

/// The most layers and the most experts of a layer: more is no model but a damaged file.
const MOST_PARTS: i64 = 1 << 12;

pub(in crate::models) const LLAMA_NAMES: Names = Names {
    embed_tokens: "embed_tokens",
    layers: "layers",
    attention: "self_attn",
    mlp: "mlp",
    norm: Some("norm"),
    lm_head: "lm_head",
};

const PRE_NORMS: LayerNorms = LayerNorms {
    before_attention: Some("input_layernorm"),
    after_attention: None,
    before_mlp: Some("post_attention_layernorm"),
    after_mlp: None,
};

pub(in crate::models) const GATED: MlpNames =
    MlpNames::Gated { gate: "gate_proj", up: "up_proj", down: "down_proj" };

/// What a model type means where its config does not say.
#[derive(Clone, Copy)]
pub(in crate::models) struct Defaults {
    pub vocab_size: i64,
    pub hidden_size: i64,
    pub intermediate_size: i64,
    pub num_hidden_layers: i64,
    pub num_attention_heads: i64,
    /// `None`: as many as there are query heads.
    pub num_key_value_heads: Option<i64>,
    /// `None`: the width divided by the heads.
    pub head_dim: Option<i64>,
    pub max_position_embeddings: i64,
    pub rms_norm_eps: f64,
    pub act: Activation,
    pub tie_word_embeddings: bool,
    pub rope: RopeChoice,
}

/// What is special about a model type's rotation.
#[derive(Clone, Copy)]
pub(in crate::models) struct RopeChoice {
    pub theta: f64,
    pub rotary_share: Option<f64>,
    pub original_positions: Option<f64>,
    pub is_longrope: bool,
}

impl RopeChoice {
    pub(in crate::models) const PLAIN: Self =
        Self { theta: 10_000.0, rotary_share: None, original_positions: None, is_longrope: false };

    pub(in crate::models) fn defaults(self, max_positions: i64) -> RopeDefaults {
        RopeDefaults {
            max_positions,
            theta: self.theta,
            rotary_share: self.rotary_share,
            original_positions: self.original_positions,
            is_longrope: self.is_longrope,
        }
    }
}

impl Defaults {
    pub(in crate::models) const LLAMA: Self = Self {
        vocab_size: 32000,
        hidden_size: 4096,
        intermediate_size: 11008,
        num_hidden_layers: 32,
        num_attention_heads: 32,
        num_key_value_heads: None,
        head_dim: None,
        max_position_embeddings: 2048,
        rms_norm_eps: 1e-6,
        act: Activation::Silu,
        tie_word_embeddings: false,
        rope: RopeChoice::PLAIN,
    };
}

/// The fields that most decoders' files have, as they are. Flatten it into a model's config.
#[derive(Deserialize)]
pub(in crate::models) struct Common {
    vocab_size: Option<i64>,
    hidden_size: Option<i64>,
    pub intermediate_size: Option<i64>,
    num_hidden_layers: Option<i64>,
    num_attention_heads: Option<i64>,
    /// Absent and `null` differ: `null` always means as many as there are query heads.
    #[serde(default, deserialize_with = "present")]
    num_key_value_heads: Option<Option<i64>>,
    head_dim: Option<i64>,
    hidden_act: Option<Activation>,
    pub max_position_embeddings: Option<i64>,
    rms_norm_eps: Option<f64>,
    tie_word_embeddings: Option<bool>,
    #[serde(default)]
    pub attention_bias: bool,
    #[serde(default)]
    pub mlp_bias: bool,
    #[serde(default)]
    pub use_sliding_window: bool,
    /// Absent and `null` differ: `null` means none.
    #[serde(default, deserialize_with = "present")]
    pub sliding_window: Option<Option<i64>>,
    pub layer_types: Option<Vec<String>>,
    #[serde(flatten)]
    pub rope: RopeConfig,
}

fn present<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<i64>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl Common {
    /// A decoder as Llama is one; what an architecture does otherwise it changes afterwards.
    pub(in crate::models) fn decoder(&self, defaults: &Defaults) -> Result<Config, LoadError> {
        let mut config = self.without_rope(defaults)?;
        let rope = self.rope.parameters_with(&defaults.rope.defaults(config.context_length))?;
        config.context_length = rope.context_length();
        config.ropes = vec![rope];
        Ok(config)
    }

    /// The same for an architecture whose kinds of layers rotate differently: its layers name rotation 0.
    pub(in crate::models) fn without_rope(&self, defaults: &Defaults) -> Result<Config, LoadError> {
        let hidden_size = self.hidden_size.unwrap_or(defaults.hidden_size);
        let n_layers = self.num_hidden_layers.unwrap_or(defaults.num_hidden_layers);
        let n_heads = self.num_attention_heads.unwrap_or(defaults.num_attention_heads);
        check_positive(&[("hidden_size", hidden_size), ("num_attention_heads", n_heads)])?;
        let head_dim = match self.head_dim.or(defaults.head_dim) {
            Some(head_dim) => head_dim,
            None => {
                check_divides("num_attention_heads", n_heads, hidden_size)?;
                hidden_size / n_heads
            }
        };
        let n_kv_heads = match self.num_key_value_heads {
            None => defaults.num_key_value_heads.unwrap_or(n_heads),
            Some(configured) => configured.unwrap_or(n_heads),
        };
        let max_positions =
            self.max_position_embeddings.unwrap_or(defaults.max_position_embeddings);
        let vocab_size = self.vocab_size.unwrap_or(defaults.vocab_size);
        let inner_dim = self.intermediate_size.unwrap_or(defaults.intermediate_size);
        check_positive(&[
            ("head_dim", head_dim),
            ("num_key_value_heads", n_kv_heads),
            ("max_position_embeddings", max_positions),
            ("vocab_size", vocab_size),
            ("intermediate_size", inner_dim),
        ])?;
        check_divides("num_key_value_heads", n_kv_heads, n_heads)?;
        // Rotation turns pairs of values.
        check_divides("head_dim", 2, head_dim)?;
        let n_layers = count("num_hidden_layers", n_layers)?;
        let layer =
            Layer { window: None, rope: Some(0), feed_forward: FeedForward::Dense { inner_dim } };
        Ok(Config {
            vocab_size,
            hidden_size,
            embedding_dim: hidden_size,
            embedding_scale: None,
            learned_positions: None,
            ropes: Vec::new(),
            context_length: max_positions,
            rereads_beyond: None,
            norm_kind: NormKind::Rms,
            norm_eps: self.rms_norm_eps.unwrap_or(defaults.rms_norm_eps),
            layer_norms: PRE_NORMS,
            residual: Residual::Serial,
            attention: Attention {
                n_heads,
                n_kv_heads,
                head_dim,
                scale: (head_dim as f64).powf(-0.5),
                softcap: None,
                projections: Projections::Separate,
                output: "o_proj",
                qkv_bias: false,
                output_bias: false,
                qk_norm: QkNorm::None,
            },
            mlp: GATED,
            mlp_bias: false,
            act: self.hidden_act.unwrap_or(defaults.act),
            layers: vec![layer; n_layers],
            tie_word_embeddings: self.tie_word_embeddings.unwrap_or(defaults.tie_word_embeddings),
            final_softcap: None,
            names: LLAMA_NAMES,
        })
    }

    /// Whether each layer sees only a window: as `layer_types` says, else by `default`.
    pub(in crate::models) fn sliding_layers(
        &self,
        n_layers: usize,
        default: impl Fn(usize) -> bool,
    ) -> Result<Vec<bool>, LoadError> {
        let Some(layer_types) = &self.layer_types else {
            return Ok((0..n_layers).map(default).collect());
        };
        if layer_types.len() != n_layers {
            return Err(unsupported("layer_types", format!("a list of {}", layer_types.len())));
        }
        let is_sliding = |layer_type: &String| match layer_type.as_str() {
            "full_attention" => Ok(false),
            "sliding_attention" => Ok(true),
            other => Err(unsupported("layer_types", other)),
        };
        layer_types.iter().map(is_sliding).collect()
    }
}

impl Config {
    /// Gives a window to those layers that have one.
    pub(in crate::models) fn slide(
        &mut self,
        size: Option<i64>,
        sliding: &[bool],
    ) -> Result<(), LoadError> {
        if let Some(size) = size {
            check_positive(&[("sliding_window", size)])?;
        }
        for (layer, _) in self.layers.iter_mut().zip(sliding).filter(|(_, sliding)| **sliding) {
            let Some(size) = size else {
                return Err(unsupported("layer_types", "sliding_attention without a window"));
            };
            layer.window = Some(size);
        }
        Ok(())
    }
}

/// A number of layers or experts, which decides how much is made from a config alone.
pub(in crate::models) fn count(field: &'static str, value: i64) -> Result<usize, LoadError> {
    if (1..=MOST_PARTS).contains(&value) {
        Ok(value as usize)
    } else {
        Err(unsupported(field, value))
    }
}

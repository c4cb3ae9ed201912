//! GTE (Zhang et al., 2024, <https://arxiv.org/abs/2407.19669>): BERT with rotary positions and gates, and RoBERTa's masked
//! head. Most checkpoints are of the type `new`, after the file that their authors published with them.
//!
//! Reference: `transformers/models/gte/modeling_gte.py`; for the stretched rotation of `new`, <https://kexue.fm/archives/9706>.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Architecture, LoadError, Model, ModelKind, check_divides, check_positive,
    encoder::{
        self, Biases, DecoderConfig, EmbeddingsConfig, EncoderConfig, FusedGate, HeadsConfig,
        Inner, LayerNames, LearnedPositions, Projections, TextPooling, TransformConfig,
    },
    labels::LabelConfig,
    unsupported,
};
use crate::{
    layers::{Activation, RopeConfig, RopeDefaults},
    weights::{Rename, Weights},
};

pub(super) const GTE: Architecture = Architecture {
    model_type: "gte",
    kinds: &[
        ModelKind::TextEncoder,
        ModelKind::SequenceClassifier,
        ModelKind::TokenClassifier,
        ModelKind::MaskedLm,
    ],
    renames: &[
        Rename::StripPrefix("gte."),
        Rename::StripPrefix("new."),
        Rename::Part { from: "encoder.layer.", to: "layers." },
        Rename::Part { from: ".attention.o_proj.", to: ".self_attn.o_proj." },
        Rename::Part { from: ".attention.qkv_proj.", to: ".self_attn.qkv_proj." },
        Rename::Part { from: ".attn_ln.", to: ".post_attention_layernorm." },
        Rename::Part { from: ".mlp_ln.", to: ".post_mlp_layernorm." },
        Rename::Part { from: "lm_head.norm.", to: "lm_head.layer_norm." },
    ],
    ignored: &["inv_freq"],
    load,
};

pub(super) const NEW: Architecture = Architecture { model_type: "new", load: load_new, ..GTE };

fn load(config: &str, kind: ModelKind, weights: &Weights) -> Result<Model, LoadError> {
    let config: Config = serde_json::from_str(config)?;
    encoder::load(&config.encoder()?, &config.heads()?, kind, weights)
}

fn load_new(config: &str, kind: ModelKind, weights: &Weights) -> Result<Model, LoadError> {
    let switches: Switches = serde_json::from_str(config)?;
    let mut fields: Map<String, Value> = serde_json::from_str(config)?;
    switches.check()?;
    switches.plain_rope(&mut fields)?;
    let config: Config = serde_json::from_value(fields.into())?;
    if kind == ModelKind::MaskedLm && config.hidden_act != Activation::Gelu {
        return Err(unsupported("hidden_act", "any but gelu for a masked language model"));
    }
    encoder::load(&config.encoder()?, &config.heads()?, kind, weights)
}

/// What the type `new` can be asked for besides; defaults are its authors'.
#[derive(Deserialize)]
#[serde(default)]
struct Switches {
    position_embedding_type: String,
    layer_norm_type: String,
    logn_attention_scale: bool,
    hidden_size: i64,
    num_attention_heads: i64,
    rope_theta: f64,
    rope_scaling: Option<Stretch>,
}

#[derive(Deserialize)]
struct Stretch {
    #[serde(rename = "type", alias = "rope_type")]
    kind: String,
    factor: Option<f64>,
    mixed_b: Option<f64>,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            position_embedding_type: "rope".to_owned(),
            layer_norm_type: "layer_norm".to_owned(),
            logn_attention_scale: false,
            hidden_size: 768,
            num_attention_heads: 12,
            rope_theta: 10_000.0,
            rope_scaling: None,
        }
    }
}

impl Switches {
    fn check(&self) -> Result<(), LoadError> {
        if self.position_embedding_type != "rope" {
            return Err(unsupported("position_embedding_type", &self.position_embedding_type));
        }
        if self.layer_norm_type != "layer_norm" {
            return Err(unsupported("layer_norm_type", &self.layer_norm_type));
        }
        if self.logn_attention_scale {
            return Err(unsupported("logn_attention_scale", true));
        }
        check_positive(&[
            ("hidden_size", self.hidden_size),
            ("num_attention_heads", self.num_attention_heads),
            ("hidden_size", self.hidden_size / self.num_attention_heads.max(1)),
        ])
    }

    /// Writes the fixed stretch `ntk` as what it amounts to: a larger base, and all frequencies divided by one number.
    fn plain_rope(&self, fields: &mut Map<String, Value>) -> Result<(), LoadError> {
        fields.insert("rope_theta".to_owned(), json!(self.rope_theta));
        let Some(Stretch { kind, factor, mixed_b }) = &self.rope_scaling else { return Ok(()) };
        if kind != "ntk" {
            return Ok(());
        }
        if let Some(mixed_b) = mixed_b {
            return Err(unsupported("rope_scaling.mixed_b", mixed_b));
        }
        let Some(factor) = factor.filter(|factor| *factor >= 1.0 && factor.is_finite()) else {
            return Err(unsupported("rope_scaling.factor", json!(factor)));
        };
        let head_dim = (self.hidden_size / self.num_attention_heads) as f64;
        let stretch = json!({"type": "linear", "factor": factor.powf(2.0 / head_dim)});
        fields.insert("rope_theta".to_owned(), json!(self.rope_theta * factor));
        fields.insert("rope_scaling".to_owned(), stretch);
        Ok(())
    }
}

/// Defaults are the reference's.
#[derive(Deserialize)]
#[serde(default)]
struct Config {
    vocab_size: i64,
    hidden_size: i64,
    num_hidden_layers: i64,
    num_attention_heads: i64,
    intermediate_size: i64,
    hidden_act: Activation,
    max_position_embeddings: i64,
    type_vocab_size: i64,
    layer_norm_eps: f64,
    head_dim: Option<i64>,
    tie_word_embeddings: bool,
    #[serde(flatten)]
    rope: RopeConfig,
    #[serde(flatten)]
    labels: LabelConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            vocab_size: 250_048,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: Activation::Gelu,
            max_position_embeddings: 8192,
            type_vocab_size: 1,
            layer_norm_eps: 1e-12,
            head_dim: None,
            tie_word_embeddings: true,
            rope: RopeConfig::default(),
            labels: LabelConfig::default(),
        }
    }
}

/// What `rope_theta` is when a config does not say.
const DEFAULT_THETA: f64 = 160_000.0;

impl Config {
    fn encoder(&self) -> Result<EncoderConfig, LoadError> {
        check_positive(&[
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            // One model has none.
            ("type_vocab_size", self.type_vocab_size.saturating_add(1)),
        ])?;
        encoder::check_layers("num_hidden_layers", self.num_hidden_layers)?;
        let head_dim = match self.head_dim {
            Some(head_dim) => head_dim,
            None => {
                check_divides("num_attention_heads", self.num_attention_heads, self.hidden_size)?;
                self.hidden_size / self.num_attention_heads
            }
        };
        check_positive(&[
            ("head_dim", head_dim),
            ("head_dim", head_dim.saturating_mul(self.num_attention_heads)),
        ])?;
        let defaults = RopeDefaults {
            theta: DEFAULT_THETA,
            ..RopeDefaults::new(self.max_position_embeddings)
        };
        let rope = self.rope.parameters_with(&defaults)?;
        Ok(EncoderConfig {
            dim: self.hidden_size,
            n_heads: self.num_attention_heads,
            head_dim,
            inner_dim: self.intermediate_size,
            act: self.hidden_act,
            eps: self.layer_norm_eps,
            biases: Biases { attention: true, inner: false, output: true, norms: true },
            embeddings: EmbeddingsConfig {
                words: "embeddings.word_embeddings",
                positions: "",
                types: "embeddings.token_type_embeddings",
                norm: "embeddings.LayerNorm",
                vocab_size: self.vocab_size,
                dim: self.hidden_size,
                learned: LearnedPositions::None,
                n_types: self.type_vocab_size,
                projection: None,
                table: None,
            },
            layers: encoder::numbered("layers", self.num_hidden_layers),
            order: (0..self.num_hidden_layers as usize).collect(),
            names: NAMES,
            positions: encoder::rotary(rope.clone(), rope, head_dim)?,
            final_norm: None,
            convolution: None,
            context_length: self.max_position_embeddings,
        })
    }

    fn heads(&self) -> Result<HeadsConfig, LoadError> {
        let transform = |dense, act, norm| TransformConfig {
            dense,
            bias: true,
            act,
            norm,
            out_dim: self.hidden_size,
        };
        Ok(HeadsConfig {
            pooler: None,
            n_labels: self.labels.labels()?.len() as i64,
            pooling: TextPooling::First,
            sequence: transform("pooler.dense", Activation::Tanh, None),
            sequence_labels: "classifier",
            token: None,
            token_labels: "classifier",
            question_labels: "qa_outputs",
            masked: transform("lm_head.dense", Activation::Gelu, Some("lm_head.layer_norm")),
            decoder: DecoderConfig {
                path: "lm_head.decoder",
                is_tied: self.tie_word_embeddings,
                bias: Some("lm_head.decoder.bias"),
            },
        })
    }
}

const NAMES: LayerNames = LayerNames {
    projections: Projections::Either {
        fused: "self_attn.qkv_proj",
        separate: ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    },
    attention_output: "self_attn.o_proj",
    attention_norm: "post_attention_layernorm",
    inner: Inner::Either {
        fused: FusedGate { path: "mlp.up_gate_proj", gate_first: false },
        gate: "mlp.gate_proj",
        up: "mlp.up_proj",
    },
    output: "mlp.down_proj",
    output_norm: "post_mlp_layernorm",
};

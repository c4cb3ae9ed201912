//! ModernBERT (Warner et al., 2024, <https://arxiv.org/abs/2412.13663>): rotary positions, gates, norms first, and layers that
//! see a window between those that see everything.
//!
//! Reference: `transformers/models/modernbert/modeling_modernbert.py`.

use serde::Deserialize;

use super::{
    Architecture, LoadError, Model, ModelKind, check_divides, check_positive,
    encoder::{
        self, Biases, DecoderConfig, EmbeddingsConfig, EncoderConfig, FusedGate, HeadsConfig,
        Inner, LayerConfig, LayerNames, LearnedPositions, Projections, TEXT_KINDS, TextPooling,
        TransformConfig,
    },
    labels::LabelConfig,
    unsupported,
};
use crate::{
    layers::{Activation, RopeConfig, RopeDefaults},
    weights::{Rename, Weights},
};

pub(super) const MODERNBERT: Architecture = Architecture {
    model_type: "modernbert",
    kinds: TEXT_KINDS,
    renames: &[Rename::StripPrefix("model.")],
    ignored: &[],
    load,
};

fn load(config: &str, kind: ModelKind, weights: &Weights) -> Result<Model, LoadError> {
    let config: Config = serde_json::from_str(config)?;
    config.check()?;
    encoder::load(&config.encoder()?, &config.heads()?, kind, weights)
}

/// Defaults are the reference's.
#[derive(Deserialize)]
#[serde(default)]
struct Config {
    vocab_size: i64,
    hidden_size: i64,
    intermediate_size: i64,
    num_hidden_layers: i64,
    num_attention_heads: i64,
    hidden_activation: Activation,
    max_position_embeddings: i64,
    norm_eps: f64,
    norm_bias: bool,
    attention_bias: bool,
    mlp_bias: bool,
    decoder_bias: bool,
    layer_types: Option<Vec<LayerType>>,
    /// Older than `layer_types`: every so many layers, one sees everything.
    global_attn_every_n_layers: i64,
    local_attention: i64,
    global_rope_theta: f64,
    local_rope_theta: f64,
    rope_scaling: Option<serde_json::Value>,
    classifier_pooling: Pooling,
    classifier_bias: bool,
    classifier_activation: Activation,
    tie_word_embeddings: bool,
    #[serde(flatten)]
    rope: RopeConfig,
    #[serde(flatten)]
    labels: LabelConfig,
}

#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum LayerType {
    FullAttention,
    SlidingAttention,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Pooling {
    Cls,
    Mean,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            vocab_size: 50368,
            hidden_size: 768,
            intermediate_size: 1152,
            num_hidden_layers: 22,
            num_attention_heads: 12,
            hidden_activation: Activation::Gelu,
            max_position_embeddings: 8192,
            norm_eps: 1e-5,
            norm_bias: false,
            attention_bias: false,
            mlp_bias: false,
            decoder_bias: true,
            layer_types: None,
            global_attn_every_n_layers: 3,
            local_attention: 128,
            global_rope_theta: 160_000.0,
            local_rope_theta: 10_000.0,
            rope_scaling: None,
            classifier_pooling: Pooling::Cls,
            classifier_bias: false,
            classifier_activation: Activation::Gelu,
            tie_word_embeddings: true,
            rope: RopeConfig::default(),
            labels: LabelConfig::default(),
        }
    }
}

impl Config {
    fn check(&self) -> Result<(), LoadError> {
        check_positive(&[
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("max_position_embeddings", self.max_position_embeddings),
            ("global_attn_every_n_layers", self.global_attn_every_n_layers),
            ("local_attention", self.local_attention),
        ])?;
        encoder::check_layers("num_hidden_layers", self.num_hidden_layers)?;
        check_divides("num_attention_heads", self.num_attention_heads, self.hidden_size)?;
        if let Some(scaling) = &self.rope_scaling {
            return Err(unsupported("rope_scaling", scaling));
        }
        match &self.layer_types {
            Some(types) if types.len() as i64 != self.num_hidden_layers => {
                Err(unsupported("layer_types", format!("a list of {}", types.len())))
            }
            _ => Ok(()),
        }
    }

    fn layer(&self, layer: i64) -> LayerConfig {
        let is_local = match &self.layer_types {
            Some(types) => types[layer as usize] == LayerType::SlidingAttention,
            None => layer % self.global_attn_every_n_layers != 0,
        };
        LayerConfig {
            path: format!("layers.{layer}"),
            window: is_local.then_some(self.local_attention / 2),
            // What the embeddings' norm made goes into the first one as it is.
            attention_norm: layer > 0,
        }
    }

    fn encoder(&self) -> Result<EncoderConfig, LoadError> {
        let head_dim = self.hidden_size / self.num_attention_heads;
        let defaults = RopeDefaults {
            theta: self.global_rope_theta,
            ..RopeDefaults::new(self.max_position_embeddings)
        };
        let (full, local) = self.rope.parameters_by_layer(&defaults, self.local_rope_theta)?;
        Ok(EncoderConfig {
            dim: self.hidden_size,
            n_heads: self.num_attention_heads,
            head_dim,
            inner_dim: self.intermediate_size,
            act: self.hidden_activation,
            eps: self.norm_eps,
            biases: Biases {
                attention: self.attention_bias,
                inner: self.mlp_bias,
                output: self.mlp_bias,
                norms: self.norm_bias,
            },
            embeddings: EmbeddingsConfig {
                words: "embeddings.tok_embeddings",
                positions: "",
                types: "",
                norm: "embeddings.norm",
                vocab_size: self.vocab_size,
                dim: self.hidden_size,
                learned: LearnedPositions::None,
                n_types: 0,
                projection: None,
                table: None,
            },
            layers: (0..self.num_hidden_layers).map(|layer| self.layer(layer)).collect(),
            order: (0..self.num_hidden_layers as usize).collect(),
            names: NAMES,
            positions: encoder::rotary(full, local, head_dim)?,
            final_norm: Some("final_norm"),
            convolution: None,
            context_length: self.max_position_embeddings,
        })
    }

    fn heads(&self) -> Result<HeadsConfig, LoadError> {
        let head = TransformConfig {
            dense: "head.dense",
            bias: self.classifier_bias,
            act: self.classifier_activation,
            norm: Some("head.norm"),
            out_dim: self.hidden_size,
        };
        Ok(HeadsConfig {
            pooler: None,
            n_labels: self.labels.labels()?.len() as i64,
            pooling: match self.classifier_pooling {
                Pooling::Cls => TextPooling::First,
                Pooling::Mean => TextPooling::Mean,
            },
            sequence: head,
            sequence_labels: "classifier",
            token: Some(head),
            token_labels: "classifier",
            question_labels: "classifier",
            masked: head,
            decoder: DecoderConfig {
                path: "decoder",
                is_tied: self.tie_word_embeddings,
                bias: self.decoder_bias.then_some("decoder.bias"),
            },
        })
    }
}

const NAMES: LayerNames = LayerNames {
    projections: Projections::Fused("attn.Wqkv"),
    attention_output: "attn.Wo",
    attention_norm: "attn_norm",
    inner: Inner::Fused(FusedGate { path: "mlp.Wi", gate_first: true }),
    output: "mlp.Wo",
    output_norm: "mlp_norm",
};

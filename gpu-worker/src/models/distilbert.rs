//! DistilBERT (Sanh et al., 2019, <https://arxiv.org/abs/1910.01108>).
//!
//! Reference: `transformers/models/distilbert/modeling_distilbert.py`.

use serde::Deserialize;

use super::{
    Architecture, LoadError, Model, ModelKind, check_divides, check_positive,
    encoder::{
        self, Biases, DecoderConfig, EmbeddingsConfig, EncoderConfig, HeadsConfig, Inner,
        LayerNames, LearnedPositions, Positions, Projections, TEXT_KINDS, TextPooling,
        TransformConfig,
    },
    labels::LabelConfig,
};
use crate::{
    layers::Activation,
    weights::{Rename, Weights},
};

pub(super) const DISTILBERT: Architecture = Architecture {
    model_type: "distilbert",
    kinds: TEXT_KINDS,
    renames: &[Rename::StripPrefix("distilbert.")],
    ignored: &["embeddings.position_ids"],
    load,
};

/// No config says otherwise.
const LAYER_NORM_EPS: f64 = 1e-12;

fn load(config: &str, kind: ModelKind, weights: &Weights) -> Result<Model, LoadError> {
    let config: Config = serde_json::from_str(config)?;
    config.check()?;
    encoder::load(&config.encoder(), &config.heads()?, kind, weights)
}

/// Defaults are the reference's.
#[derive(Deserialize)]
#[serde(default)]
struct Config {
    vocab_size: i64,
    #[serde(alias = "hidden_size")]
    dim: i64,
    #[serde(alias = "num_hidden_layers")]
    n_layers: i64,
    #[serde(alias = "num_attention_heads")]
    n_heads: i64,
    hidden_dim: i64,
    activation: Activation,
    max_position_embeddings: i64,
    tie_word_embeddings: bool,
    #[serde(flatten)]
    labels: LabelConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            vocab_size: 30522,
            dim: 768,
            n_layers: 6,
            n_heads: 12,
            hidden_dim: 3072,
            activation: Activation::Gelu,
            max_position_embeddings: 512,
            tie_word_embeddings: true,
            labels: LabelConfig::default(),
        }
    }
}

impl Config {
    fn check(&self) -> Result<(), LoadError> {
        check_positive(&[
            ("vocab_size", self.vocab_size),
            ("dim", self.dim),
            ("n_layers", self.n_layers),
            ("n_heads", self.n_heads),
            ("hidden_dim", self.hidden_dim),
            ("max_position_embeddings", self.max_position_embeddings),
        ])?;
        encoder::check_layers("n_layers", self.n_layers)?;
        check_divides("n_heads", self.n_heads, self.dim)
    }

    fn encoder(&self) -> EncoderConfig {
        EncoderConfig {
            dim: self.dim,
            n_heads: self.n_heads,
            head_dim: self.dim / self.n_heads,
            inner_dim: self.hidden_dim,
            act: self.activation,
            eps: LAYER_NORM_EPS,
            biases: Biases::ALL,
            embeddings: EmbeddingsConfig {
                words: "embeddings.word_embeddings",
                positions: "embeddings.position_embeddings",
                types: "",
                norm: "embeddings.LayerNorm",
                vocab_size: self.vocab_size,
                dim: self.dim,
                learned: LearnedPositions::FromStart(self.max_position_embeddings),
                n_types: 0,
                projection: None,
                table: None,
            },
            layers: encoder::numbered("transformer.layer", self.n_layers),
            order: (0..self.n_layers as usize).collect(),
            names: NAMES,
            positions: Positions::Embedded,
            final_norm: None,
            convolution: None,
            context_length: self.max_position_embeddings,
        }
    }

    fn heads(&self) -> Result<HeadsConfig, LoadError> {
        let transform =
            |dense, act, norm| TransformConfig { dense, bias: true, act, norm, out_dim: self.dim };
        Ok(HeadsConfig {
            pooler: None,
            n_labels: self.labels.labels()?.len() as i64,
            pooling: TextPooling::First,
            sequence: transform("pre_classifier", Activation::Relu, None),
            sequence_labels: "classifier",
            token: None,
            token_labels: "classifier",
            question_labels: "qa_outputs",
            masked: transform("vocab_transform", self.activation, Some("vocab_layer_norm")),
            decoder: DecoderConfig {
                path: "vocab_projector",
                is_tied: self.tie_word_embeddings,
                bias: Some("vocab_projector.bias"),
            },
        })
    }
}

const NAMES: LayerNames = LayerNames {
    projections: Projections::Separate(["attention.q_lin", "attention.k_lin", "attention.v_lin"]),
    attention_output: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    inner: Inner::Plain("ffn.lin1"),
    output: "ffn.lin2",
    output_norm: "output_layer_norm",
};

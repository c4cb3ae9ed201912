//! ELECTRA (Clark et al., 2020, <https://arxiv.org/abs/2003.10555>): BERT with narrower embeddings and heads of its own.
//!
//! Reference: `transformers/models/electra/modeling_electra.py`.

use serde::Deserialize;

use super::{
    Architecture, LoadError, Model, ModelKind, bert, check_divides, check_positive,
    encoder::{
        self, Biases, DecoderConfig, EmbeddingsConfig, EncoderConfig, HeadsConfig,
        LearnedPositions, Positions, Projection, TEXT_KINDS, TextPooling, TransformConfig,
    },
    labels::LabelConfig,
};
use crate::{
    layers::Activation,
    weights::{Rename, Weights},
};

pub(super) const ELECTRA: Architecture = Architecture {
    model_type: "electra",
    kinds: TEXT_KINDS,
    renames: &[Rename::StripPrefix("electra.")],
    ignored: &["embeddings.position_ids"],
    load,
};

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
    embedding_size: i64,
    hidden_size: i64,
    num_hidden_layers: i64,
    num_attention_heads: i64,
    intermediate_size: i64,
    hidden_act: Activation,
    max_position_embeddings: i64,
    type_vocab_size: i64,
    layer_norm_eps: f64,
    tie_word_embeddings: bool,
    position_embedding_type: String,
    is_decoder: bool,
    add_cross_attention: bool,
    #[serde(flatten)]
    labels: LabelConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            vocab_size: 30522,
            embedding_size: 128,
            hidden_size: 256,
            num_hidden_layers: 12,
            num_attention_heads: 4,
            intermediate_size: 1024,
            hidden_act: Activation::Gelu,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            layer_norm_eps: 1e-12,
            tie_word_embeddings: true,
            position_embedding_type: "absolute".to_owned(),
            is_decoder: false,
            add_cross_attention: false,
            labels: LabelConfig::default(),
        }
    }
}

impl Config {
    fn check(&self) -> Result<(), LoadError> {
        check_positive(&[
            ("vocab_size", self.vocab_size),
            ("embedding_size", self.embedding_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
        ])?;
        encoder::check_layers("num_hidden_layers", self.num_hidden_layers)?;
        check_divides("num_attention_heads", self.num_attention_heads, self.hidden_size)?;
        encoder::check_bidirectional(
            &self.position_embedding_type,
            self.is_decoder,
            self.add_cross_attention,
        )
    }

    fn encoder(&self) -> EncoderConfig {
        let projection = Projection { path: "embeddings_project", bias: true, before_norm: false };
        EncoderConfig {
            dim: self.hidden_size,
            n_heads: self.num_attention_heads,
            head_dim: self.hidden_size / self.num_attention_heads,
            inner_dim: self.intermediate_size,
            act: self.hidden_act,
            eps: self.layer_norm_eps,
            biases: Biases::ALL,
            embeddings: EmbeddingsConfig {
                words: "embeddings.word_embeddings",
                positions: "embeddings.position_embeddings",
                types: "embeddings.token_type_embeddings",
                norm: "embeddings.LayerNorm",
                vocab_size: self.vocab_size,
                dim: self.embedding_size,
                learned: LearnedPositions::FromStart(self.max_position_embeddings),
                n_types: self.type_vocab_size,
                projection: (self.embedding_size != self.hidden_size).then_some(projection),
                table: None,
            },
            layers: encoder::numbered("encoder.layer", self.num_hidden_layers),
            order: (0..self.num_hidden_layers as usize).collect(),
            names: bert::NAMES,
            positions: Positions::Embedded,
            final_norm: None,
            convolution: None,
            context_length: self.max_position_embeddings,
        }
    }

    fn heads(&self) -> Result<HeadsConfig, LoadError> {
        let transform = |dense, norm, out_dim| TransformConfig {
            dense,
            bias: true,
            act: Activation::Gelu,
            norm,
            out_dim,
        };
        let norm = Some("generator_predictions.LayerNorm");
        Ok(HeadsConfig {
            pooler: None,
            n_labels: self.labels.labels()?.len() as i64,
            pooling: TextPooling::First,
            sequence: transform("classifier.dense", None, self.hidden_size),
            sequence_labels: "classifier.out_proj",
            token: None,
            token_labels: "classifier",
            question_labels: "qa_outputs",
            masked: transform("generator_predictions.dense", norm, self.embedding_size),
            decoder: DecoderConfig {
                path: "generator_lm_head",
                is_tied: self.tie_word_embeddings,
                bias: Some("generator_lm_head.bias"),
            },
        })
    }
}

//! ALBERT (Lan et al., 2019, <https://arxiv.org/abs/1909.11942>): narrower embeddings, and layers that run several times.
//!
//! Reference: `transformers/models/albert/modeling_albert.py`.

use serde::Deserialize;

use super::{
    Architecture, LoadError, Model, ModelKind, check_divides, check_positive,
    encoder::{
        self, Biases, DecoderConfig, EmbeddingsConfig, EncoderConfig, HeadsConfig, Inner,
        LayerNames, LearnedPositions, Positions, Projection, Projections, TEXT_KINDS, TextPooling,
        TransformConfig,
    },
    labels::LabelConfig,
};
use crate::{
    layers::Activation,
    weights::{Rename, Weights},
};

pub(super) const ALBERT: Architecture = Architecture {
    model_type: "albert",
    kinds: TEXT_KINDS,
    renames: &[Rename::StripPrefix("albert.")],
    // The bias is unused beside that of a decoder with its own.
    ignored: &["embeddings.position_ids", "predictions.bias"],
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
    num_hidden_groups: i64,
    inner_group_num: i64,
    num_attention_heads: i64,
    intermediate_size: i64,
    hidden_act: Activation,
    max_position_embeddings: i64,
    type_vocab_size: i64,
    layer_norm_eps: f64,
    tie_word_embeddings: bool,
    position_embedding_type: String,
    #[serde(flatten)]
    labels: LabelConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            vocab_size: 30000,
            embedding_size: 128,
            hidden_size: 4096,
            num_hidden_layers: 12,
            num_hidden_groups: 1,
            inner_group_num: 1,
            num_attention_heads: 64,
            intermediate_size: 16384,
            hidden_act: Activation::GeluTanh,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            layer_norm_eps: 1e-12,
            tie_word_embeddings: true,
            position_embedding_type: "absolute".to_owned(),
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
            ("num_hidden_groups", self.num_hidden_groups),
            ("inner_group_num", self.inner_group_num),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
        ])?;
        for (field, n) in [
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_hidden_groups", self.num_hidden_groups),
            ("inner_group_num", self.inner_group_num),
        ] {
            encoder::check_layers(field, n)?;
        }
        check_divides("num_attention_heads", self.num_attention_heads, self.hidden_size)?;
        encoder::check_bidirectional(&self.position_embedding_type, false, false)
    }

    fn encoder(&self) -> EncoderConfig {
        let layers = (0..self.num_hidden_groups).flat_map(|group| {
            let path = format!("encoder.albert_layer_groups.{group}.albert_layers");
            encoder::numbered(&path, self.inner_group_num)
        });
        let inner = self.inner_group_num as usize;
        let layers_per_group = self.num_hidden_layers as f64 / self.num_hidden_groups as f64;
        let order = (0..self.num_hidden_layers).flat_map(|layer| {
            let group = (layer as f64 / layers_per_group) as usize;
            group * inner..(group + 1) * inner
        });
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
                projection: Some(Projection {
                    path: "encoder.embedding_hidden_mapping_in",
                    bias: true,
                    before_norm: false,
                }),
                table: None,
            },
            layers: layers.collect(),
            order: order.collect(),
            names: NAMES,
            positions: Positions::Embedded,
            final_norm: None,
            convolution: None,
            context_length: self.max_position_embeddings,
        }
    }

    fn heads(&self) -> Result<HeadsConfig, LoadError> {
        let transform =
            |dense, act, norm, out_dim| TransformConfig { dense, bias: true, act, norm, out_dim };
        let norm = Some("predictions.LayerNorm");
        Ok(HeadsConfig {
            pooler: Some("pooler"),
            n_labels: self.labels.labels()?.len() as i64,
            pooling: TextPooling::First,
            sequence: transform("pooler", Activation::Tanh, None, self.hidden_size),
            sequence_labels: "classifier",
            token: None,
            token_labels: "classifier",
            question_labels: "qa_outputs",
            masked: transform("predictions.dense", self.hidden_act, norm, self.embedding_size),
            decoder: DecoderConfig {
                path: "predictions.decoder",
                is_tied: self.tie_word_embeddings,
                bias: Some("predictions.bias"),
            },
        })
    }
}

const NAMES: LayerNames = LayerNames {
    projections: Projections::Separate(["attention.query", "attention.key", "attention.value"]),
    attention_output: "attention.dense",
    attention_norm: "attention.LayerNorm",
    inner: Inner::Plain("ffn"),
    output: "ffn_output",
    output_norm: "full_layer_layer_norm",
};

//! MPNet (Song et al., 2020, <https://arxiv.org/abs/2004.09297>): RoBERTa's positions, and a bias by distance that all
//! layers share.
//!
//! Reference: `transformers/models/mpnet/modeling_mpnet.py`.

use serde::Deserialize;

use super::{
    Architecture, LoadError, Model, ModelKind, check_divides, check_positive,
    encoder::{
        self, Biases, DecoderConfig, EmbeddingsConfig, EncoderConfig, HeadsConfig, Inner,
        LayerNames, LearnedPositions, Positions, Projections, TEXT_KINDS, TextPooling,
        TransformConfig,
    },
    labels::LabelConfig,
    unsupported,
};
use crate::{
    layers::{Activation, RelativeBuckets},
    weights::{Rename, Weights},
};

pub(super) const MPNET: Architecture = Architecture {
    model_type: "mpnet",
    kinds: TEXT_KINDS,
    renames: &[Rename::StripPrefix("mpnet.")],
    // The bias is unused beside that of a decoder with its own.
    ignored: &["embeddings.position_ids", "lm_head.bias"],
    load,
};

/// Whatever the config says, the reference counts positions after this one …
const PADDING_ID: i64 = 1;
/// … and distances in these.
const BUCKETS: RelativeBuckets =
    RelativeBuckets { n_buckets: 32, max_distance: 128, bidirectional: true };

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
    hidden_size: i64,
    num_hidden_layers: i64,
    num_attention_heads: i64,
    intermediate_size: i64,
    hidden_act: Activation,
    max_position_embeddings: i64,
    layer_norm_eps: f64,
    relative_attention_num_buckets: i64,
    tie_word_embeddings: bool,
    #[serde(flatten)]
    labels: LabelConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            vocab_size: 30527,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: Activation::Gelu,
            max_position_embeddings: 512,
            layer_norm_eps: 1e-12,
            relative_attention_num_buckets: 32,
            tie_word_embeddings: true,
            labels: LabelConfig::default(),
        }
    }
}

impl Config {
    fn check(&self) -> Result<(), LoadError> {
        check_positive(&[
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings.saturating_sub(2)),
        ])?;
        encoder::check_layers("num_hidden_layers", self.num_hidden_layers)?;
        check_divides("num_attention_heads", self.num_attention_heads, self.hidden_size)?;
        if self.relative_attention_num_buckets != BUCKETS.n_buckets {
            let n_buckets = self.relative_attention_num_buckets;
            return Err(unsupported("relative_attention_num_buckets", n_buckets));
        }
        Ok(())
    }

    fn encoder(&self) -> EncoderConfig {
        let n_rows = self.max_position_embeddings;
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
                types: "",
                norm: "embeddings.LayerNorm",
                vocab_size: self.vocab_size,
                dim: self.hidden_size,
                learned: LearnedPositions::AfterPadding { n_rows, padding_id: PADDING_ID },
                n_types: 0,
                projection: None,
                table: None,
            },
            layers: encoder::numbered("encoder.layer", self.num_hidden_layers),
            order: (0..self.num_hidden_layers as usize).collect(),
            names: NAMES,
            positions: Positions::Bias {
                path: "encoder.relative_attention_bias",
                buckets: BUCKETS,
            },
            final_norm: None,
            convolution: None,
            context_length: n_rows - PADDING_ID - 1,
        }
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
            pooler: Some("pooler.dense"),
            n_labels: self.labels.labels()?.len() as i64,
            pooling: TextPooling::First,
            sequence: transform("classifier.dense", Activation::Tanh, None),
            sequence_labels: "classifier.out_proj",
            token: None,
            token_labels: "classifier",
            question_labels: "qa_outputs",
            masked: transform("lm_head.dense", Activation::Gelu, Some("lm_head.layer_norm")),
            decoder: DecoderConfig {
                path: "lm_head.decoder",
                is_tied: self.tie_word_embeddings,
                bias: Some("lm_head.bias"),
            },
        })
    }
}

const NAMES: LayerNames = LayerNames {
    projections: Projections::Separate([
        "attention.attn.q",
        "attention.attn.k",
        "attention.attn.v",
    ]),
    attention_output: "attention.attn.o",
    attention_norm: "attention.LayerNorm",
    inner: Inner::Plain("intermediate.dense"),
    output: "output.dense",
    output_norm: "output.LayerNorm",
};

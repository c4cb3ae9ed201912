//! DeBERTa v2 and v3 (He et al., 2020, <https://arxiv.org/abs/2006.03654>, and 2021, <https://arxiv.org/abs/2111.09543>):
//! disentangled attention, perhaps a convolution, and two spellings of the masked head.
//!
//! Reference: `transformers/models/deberta_v2/modeling_deberta_v2.py`.

use serde::Deserialize;

use super::{
    Architecture, LoadError, Model, ModelKind, bert, check_divides, check_positive,
    encoder::{
        self, Biases, ConvolutionConfig, DecoderConfig, EmbeddingsConfig, EncoderConfig,
        HeadsConfig, LayerNames, LearnedPositions, Positions, Projection, Projections, TEXT_KINDS,
        TextPooling, TransformConfig,
    },
    labels::LabelConfig,
    unsupported,
};
use crate::{
    layers::{Activation, RelativePositionsConfig},
    weights::{Rename, Weights},
};

pub(super) const DEBERTA_V2: Architecture = Architecture {
    model_type: "deberta-v2",
    kinds: TEXT_KINDS,
    renames: &[Rename::StripPrefix("deberta.")],
    // Positions by themselves are unused where only distances count, and a bias beside that of a decoder with its own.
    ignored: &[
        "embeddings.position_ids",
        "embeddings.position_embeddings.weight",
        "cls.predictions.bias",
    ],
    load,
};

fn load(config: &str, kind: ModelKind, weights: &Weights) -> Result<Model, LoadError> {
    let config: Config = serde_json::from_str(config)?;
    config.check()?;
    if kind == ModelKind::MaskedLm && !config.legacy && config.embedding_dim() != config.hidden_size
    {
        return Err(unsupported("embedding_size", config.embedding_dim()));
    }
    encoder::load(&config.encoder()?, &config.heads()?, kind, weights)
}

/// Defaults are the reference's.
#[derive(Deserialize)]
#[serde(default)]
struct Config {
    vocab_size: i64,
    embedding_size: Option<i64>,
    hidden_size: i64,
    num_hidden_layers: i64,
    num_attention_heads: i64,
    attention_head_size: Option<i64>,
    intermediate_size: i64,
    hidden_act: Activation,
    max_position_embeddings: i64,
    type_vocab_size: i64,
    layer_norm_eps: f64,
    relative_attention: bool,
    max_relative_positions: i64,
    position_buckets: i64,
    position_biased_input: bool,
    pos_att_type: Option<AttentionTypes>,
    share_att_key: bool,
    norm_rel_ebd: String,
    conv_kernel_size: i64,
    conv_groups: i64,
    conv_act: Activation,
    pooler_hidden_size: Option<i64>,
    pooler_hidden_act: Activation,
    legacy: bool,
    tie_word_embeddings: bool,
    #[serde(flatten)]
    labels: LabelConfig,
}

/// A list, or one string with bars.
#[derive(Deserialize)]
#[serde(untagged)]
enum AttentionTypes {
    List(Vec<String>),
    Text(String),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            vocab_size: 128_100,
            embedding_size: None,
            hidden_size: 1536,
            num_hidden_layers: 24,
            num_attention_heads: 24,
            attention_head_size: None,
            intermediate_size: 6144,
            hidden_act: Activation::Gelu,
            max_position_embeddings: 512,
            type_vocab_size: 0,
            layer_norm_eps: 1e-7,
            relative_attention: false,
            max_relative_positions: -1,
            position_buckets: -1,
            position_biased_input: true,
            pos_att_type: None,
            share_att_key: false,
            norm_rel_ebd: "none".to_owned(),
            conv_kernel_size: 0,
            conv_groups: 1,
            conv_act: Activation::Tanh,
            pooler_hidden_size: None,
            pooler_hidden_act: Activation::Gelu,
            legacy: true,
            tie_word_embeddings: true,
            labels: LabelConfig::default(),
        }
    }
}

impl Config {
    fn check(&self) -> Result<(), LoadError> {
        check_positive(&[
            ("vocab_size", self.vocab_size),
            ("embedding_size", self.embedding_dim()),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size.saturating_add(1)),
            ("conv_kernel_size", self.conv_kernel_size.saturating_add(1)),
            ("conv_groups", self.conv_groups),
        ])?;
        encoder::check_layers("num_hidden_layers", self.num_hidden_layers)?;
        check_divides("num_attention_heads", self.num_attention_heads, self.hidden_size)?;
        let head_dim = self.hidden_size / self.num_attention_heads;
        if let Some(size) = self.attention_head_size.filter(|&size| size != head_dim) {
            return Err(unsupported("attention_head_size", size));
        }
        if let Some(size) = self.pooler_hidden_size.filter(|&size| size != self.hidden_size) {
            return Err(unsupported("pooler_hidden_size", size));
        }
        if self.conv_kernel_size > 0 {
            check_divides("conv_groups", self.conv_groups, self.hidden_size)?;
            if self.conv_kernel_size % 2 == 0 {
                return Err(unsupported("conv_kernel_size", self.conv_kernel_size));
            }
        }
        Ok(())
    }

    fn embedding_dim(&self) -> i64 {
        self.embedding_size.unwrap_or(self.hidden_size)
    }

    fn has_attention(&self, name: &str) -> bool {
        match &self.pos_att_type {
            None => false,
            Some(AttentionTypes::List(names)) => names.iter().any(|found| found == name),
            Some(AttentionTypes::Text(names)) => {
                names.to_lowercase().split('|').any(|found| found.trim() == name)
            }
        }
    }

    fn relative_positions(&self) -> Result<RelativePositionsConfig, LoadError> {
        let longest = match self.max_relative_positions {
            ..1 => self.max_position_embeddings,
            longest => longest,
        };
        check_positive(&[("max_relative_positions", longest)])?;
        let has_buckets = self.position_buckets > 0;
        if self.relative_attention && has_buckets {
            check_positive(&[
                ("position_buckets", self.position_buckets / 2),
                ("position_buckets", self.position_buckets),
                ("max_relative_positions", longest - 1 - self.position_buckets / 2),
            ])?;
        }
        let mut norms = self.norm_rel_ebd.split('|').map(|name| name.trim().to_lowercase());
        Ok(RelativePositionsConfig {
            embeddings: self.relative_attention.then_some("encoder.rel_embeddings"),
            norm: norms
                .any(|name| name == "layer_norm")
                .then_some(("encoder.LayerNorm", self.layer_norm_eps)),
            span: if has_buckets { self.position_buckets } else { longest },
            log_up_to: has_buckets.then_some(longest),
            content_to_position: self.has_attention("c2p"),
            position_to_content: self.has_attention("p2c"),
            shares_projections: self.share_att_key,
            query: "attention.self.query_proj",
            key: "attention.self.key_proj",
            position_key: "attention.self.pos_key_proj",
            position_query: "attention.self.pos_query_proj",
        })
    }

    fn encoder(&self) -> Result<EncoderConfig, LoadError> {
        let n_positions = self.max_position_embeddings;
        let projection =
            Projection { path: "embeddings.embed_proj", bias: false, before_norm: true };
        Ok(EncoderConfig {
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
                dim: self.embedding_dim(),
                learned: if self.position_biased_input {
                    LearnedPositions::FromStart(n_positions)
                } else {
                    LearnedPositions::None
                },
                n_types: self.type_vocab_size,
                projection: (self.embedding_dim() != self.hidden_size).then_some(projection),
                table: None,
            },
            layers: encoder::numbered("encoder.layer", self.num_hidden_layers),
            order: (0..self.num_hidden_layers as usize).collect(),
            names: LayerNames {
                projections: Projections::Separate([
                    "attention.self.query_proj",
                    "attention.self.key_proj",
                    "attention.self.value_proj",
                ]),
                ..bert::NAMES
            },
            positions: Positions::Relative(self.relative_positions()?),
            final_norm: None,
            convolution: (self.conv_kernel_size > 0).then_some(ConvolutionConfig {
                path: "encoder.conv",
                kernel_size: self.conv_kernel_size,
                groups: self.conv_groups,
                act: self.conv_act,
            }),
            context_length: n_positions,
        })
    }

    fn heads(&self) -> Result<HeadsConfig, LoadError> {
        let transform =
            |dense, act, norm, out_dim| TransformConfig { dense, bias: true, act, norm, out_dim };
        let (masked, decoder) = if self.legacy {
            let norm = Some("cls.predictions.transform.LayerNorm");
            let dense = "cls.predictions.transform.dense";
            let decoder = DecoderConfig {
                path: "cls.predictions.decoder",
                is_tied: self.tie_word_embeddings,
                bias: Some("cls.predictions.bias"),
            };
            (transform(dense, self.hidden_act, norm, self.embedding_dim()), decoder)
        } else {
            let norm = Some("lm_predictions.lm_head.LayerNorm");
            let dense = "lm_predictions.lm_head.dense";
            // It has no weight of its own, whatever the config says of ties.
            let decoder = DecoderConfig {
                path: "lm_predictions.lm_head.decoder",
                is_tied: true,
                bias: Some("lm_predictions.lm_head.bias"),
            };
            (transform(dense, self.hidden_act, norm, self.hidden_size), decoder)
        };
        Ok(HeadsConfig {
            pooler: None,
            n_labels: self.labels.labels()?.len() as i64,
            pooling: TextPooling::First,
            sequence: transform("pooler.dense", self.pooler_hidden_act, None, self.hidden_size),
            sequence_labels: "classifier",
            token: None,
            token_labels: "classifier",
            question_labels: "qa_outputs",
            masked,
            decoder,
        })
    }
}

//! BERT (Devlin et al., 2018, <https://arxiv.org/abs/1810.04805>) and what RoBERTa changed of it (Liu et al., 2019,
//! <https://arxiv.org/abs/1907.11692>): positions count after the padding, and other heads.
//!
//! Reference: `modeling_bert.py`, `modeling_roberta.py`, `modeling_xlm_roberta.py` and `modeling_camembert.py` below
//! `transformers/models`.

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
    layers::Activation,
    weights::{Rename, Weights},
};

pub(super) const BERT: Architecture = Architecture {
    model_type: "bert",
    kinds: TEXT_KINDS,
    renames: &[
        Rename::Suffix { from: ".gamma", to: ".weight" },
        Rename::Suffix { from: ".beta", to: ".bias" },
        Rename::StripPrefix("bert."),
    ],
    // Old checkpoints store the numbers 0, 1, 2 …; the bias is unused beside that of a decoder with its own.
    ignored: &["embeddings.position_ids", "cls.predictions.bias", "lm_head.bias"],
    load: |config, kind, weights| load(config, kind, weights, Family::Bert),
};

pub(super) const ROBERTA: Architecture = Architecture {
    model_type: "roberta",
    renames: &[
        Rename::Suffix { from: ".gamma", to: ".weight" },
        Rename::Suffix { from: ".beta", to: ".bias" },
        Rename::StripPrefix("roberta."),
    ],
    load: |config, kind, weights| {
        load(config, kind, weights, Family::Roberta { vocab_size: 50265 })
    },
    ..BERT
};

pub(super) const XLM_ROBERTA: Architecture =
    Architecture { model_type: "xlm-roberta", load: load_multilingual, ..ROBERTA };

pub(super) const CAMEMBERT: Architecture = Architecture {
    model_type: "camembert",
    renames: &[Rename::StripPrefix("roberta."), Rename::StripPrefix("camembert.")],
    load: load_multilingual,
    ..ROBERTA
};

fn load_multilingual(config: &str, kind: ModelKind, weights: &Weights) -> Result<Model, LoadError> {
    load(config, kind, weights, Family::Roberta { vocab_size: 30522 })
}

#[derive(Clone, Copy)]
enum Family {
    Bert,
    Roberta { vocab_size: i64 },
}

fn load(
    config: &str,
    kind: ModelKind,
    weights: &Weights,
    family: Family,
) -> Result<Model, LoadError> {
    let config: Config = serde_json::from_str(config)?;
    let encoder = config.encoder(family)?;
    let heads = config.heads(family)?;
    encoder::load(&encoder, &heads, kind, weights)
}

/// Defaults are the reference's; where those of the two differ, there is none.
#[derive(Deserialize)]
#[serde(default)]
struct Config {
    vocab_size: Option<i64>,
    hidden_size: i64,
    num_hidden_layers: i64,
    num_attention_heads: i64,
    intermediate_size: i64,
    hidden_act: Activation,
    max_position_embeddings: i64,
    type_vocab_size: i64,
    layer_norm_eps: f64,
    pad_token_id: Option<i64>,
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
            vocab_size: None,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: Activation::Gelu,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            layer_norm_eps: 1e-12,
            pad_token_id: None,
            tie_word_embeddings: true,
            position_embedding_type: "absolute".to_owned(),
            is_decoder: false,
            add_cross_attention: false,
            labels: LabelConfig::default(),
        }
    }
}

impl Config {
    fn encoder(&self, family: Family) -> Result<EncoderConfig, LoadError> {
        let n_rows = self.max_position_embeddings;
        let (default_vocab_size, learned, context_length) = match family {
            Family::Bert => (30522, LearnedPositions::FromStart(n_rows), n_rows),
            Family::Roberta { vocab_size } => {
                let padding_id = self.pad_token_id.unwrap_or(1);
                let learned = LearnedPositions::AfterPadding { n_rows, padding_id };
                (vocab_size, learned, n_rows.saturating_sub(padding_id).saturating_sub(1))
            }
        };
        let vocab_size = self.vocab_size.unwrap_or(default_vocab_size);
        check_positive(&[
            ("vocab_size", vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
        ])?;
        encoder::check_layers("num_hidden_layers", self.num_hidden_layers)?;
        check_divides("num_attention_heads", self.num_attention_heads, self.hidden_size)?;
        if let LearnedPositions::AfterPadding { padding_id, .. } = learned
            && !(0..n_rows - 1).contains(&padding_id)
        {
            return Err(unsupported("pad_token_id", padding_id));
        }
        encoder::check_bidirectional(
            &self.position_embedding_type,
            self.is_decoder,
            self.add_cross_attention,
        )?;
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
                vocab_size,
                dim: self.hidden_size,
                learned,
                n_types: self.type_vocab_size,
                projection: None,
                table: None,
            },
            layers: encoder::numbered("encoder.layer", self.num_hidden_layers),
            order: (0..self.num_hidden_layers as usize).collect(),
            names: NAMES,
            positions: Positions::Embedded,
            final_norm: None,
            convolution: None,
            context_length,
        })
    }

    fn heads(&self, family: Family) -> Result<HeadsConfig, LoadError> {
        let is_bert = matches!(family, Family::Bert);
        let transform = |dense, act, norm| TransformConfig {
            dense,
            bias: true,
            act,
            norm,
            out_dim: self.hidden_size,
        };
        let sequence = if is_bert { "pooler.dense" } else { "classifier.dense" };
        Ok(HeadsConfig {
            pooler: Some("pooler.dense"),
            n_labels: self.labels.labels()?.len() as i64,
            pooling: TextPooling::First,
            sequence: transform(sequence, Activation::Tanh, None),
            sequence_labels: if is_bert { "classifier" } else { "classifier.out_proj" },
            token: None,
            token_labels: "classifier",
            question_labels: "qa_outputs",
            masked: if is_bert {
                let norm = Some("cls.predictions.transform.LayerNorm");
                transform("cls.predictions.transform.dense", self.hidden_act, norm)
            } else {
                transform("lm_head.dense", Activation::Gelu, Some("lm_head.layer_norm"))
            },
            decoder: DecoderConfig {
                path: if is_bert { "cls.predictions.decoder" } else { "lm_head.decoder" },
                is_tied: self.tie_word_embeddings,
                bias: Some(if is_bert { "cls.predictions.bias" } else { "lm_head.bias" }),
            },
        })
    }
}

/// The names of BERT's layers, which many others took over.
pub(super) const NAMES: LayerNames = LayerNames {
    projections: Projections::Separate([
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
    ]),
    attention_output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    inner: Inner::Plain("intermediate.dense"),
    output: "output.dense",
    output_norm: "output.LayerNorm",
};

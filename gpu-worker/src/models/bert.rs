//! BERT (Devlin et al., 2018, <https://arxiv.org/abs/1810.04805>).
//!
//! Reference: `transformers/models/bert/modeling_bert.py`.

use serde::Deserialize;
use tch::Tensor;

use super::{
    Architecture, LoadError, Model, ModelKind, TextEncoder, check_divides, check_positive,
    unsupported,
};
use crate::{
    layers::{Activation, Embedding, LayerNorm, Linear, Step},
    weights::{Rename, Weights, WeightsError},
};

pub(super) const BERT: Architecture = Architecture {
    model_type: "bert",
    kinds: &[ModelKind::TextEncoder],
    renames: &[
        Rename::Suffix { from: ".gamma", to: ".weight" },
        Rename::Suffix { from: ".beta", to: ".bias" },
        Rename::StripPrefix("bert."),
    ],
    ignored: &["embeddings.position_ids"],
    load,
};

fn load(config: &str, _kind: ModelKind, weights: &Weights) -> Result<Model, LoadError> {
    let config: Config = serde_json::from_str(config)?;
    config.check()?;
    Ok(Model::TextEncoder(Box::new(Bert::load(&config, weights)?)))
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
    position_embedding_type: String,
    is_decoder: bool,
    add_cross_attention: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            vocab_size: 30522,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: Activation::Gelu,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            layer_norm_eps: 1e-12,
            position_embedding_type: "absolute".to_owned(),
            is_decoder: false,
            add_cross_attention: false,
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
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
        ])?;
        check_divides("num_attention_heads", self.num_attention_heads, self.hidden_size)?;
        if self.position_embedding_type != "absolute" {
            return Err(unsupported("position_embedding_type", &self.position_embedding_type));
        }
        if self.is_decoder {
            return Err(unsupported("is_decoder", true));
        }
        if self.add_cross_attention {
            return Err(unsupported("add_cross_attention", true));
        }
        Ok(())
    }
}

struct Bert {
    embeddings: Embeddings,
    encoder: Vec<Layer>,
    pooler: Option<Linear>,
    dim: i64,
}

impl Bert {
    fn load(config: &Config, weights: &Weights) -> Result<Self, WeightsError> {
        let layers = weights.at("encoder").at("layer");
        let pooler = weights.at("pooler").at("dense");
        Ok(Self {
            embeddings: Embeddings::load(config, &weights.at("embeddings"))?,
            encoder: (0..config.num_hidden_layers)
                .map(|layer| Layer::load(config, &layers.at(layer)))
                .collect::<Result<_, _>>()?,
            pooler: if pooler.has("weight") {
                Some(Linear::load(&pooler, config.hidden_size, config.hidden_size)?)
            } else {
                None
            },
            dim: config.hidden_size,
        })
    }
}

impl TextEncoder for Bert {
    fn hidden(&self, ids: &Tensor, type_ids: Option<&Tensor>, step: &Step) -> Tensor {
        let mut hidden = self.embeddings.forward(ids, type_ids, step);
        for layer in &self.encoder {
            hidden = layer.forward(&hidden, step);
        }
        hidden
    }

    fn pooled(&self, hidden: &Tensor, step: &Step) -> Option<Tensor> {
        let pooler = self.pooler.as_ref()?;
        // The first token ([CLS]) stands for the whole text.
        Some(pooler.forward(&hidden.select(1, 0), step).tanh())
    }

    fn dim(&self) -> i64 {
        self.dim
    }

    fn context_length(&self) -> i64 {
        self.embeddings.max_positions
    }

    fn vocab_size(&self) -> i64 {
        self.embeddings.vocab_size
    }

    fn type_vocab_size(&self) -> i64 {
        self.embeddings.type_vocab_size
    }
}

struct Embeddings {
    word_embeddings: Embedding,
    position_embeddings: Embedding,
    token_type_embeddings: Embedding,
    layer_norm: LayerNorm,
    max_positions: i64,
    vocab_size: i64,
    type_vocab_size: i64,
}

impl Embeddings {
    fn load(config: &Config, weights: &Weights) -> Result<Self, WeightsError> {
        let table = |name, n_rows| Embedding::load(&weights.at(name), n_rows, config.hidden_size);
        Ok(Self {
            word_embeddings: table("word_embeddings", config.vocab_size)?,
            position_embeddings: table("position_embeddings", config.max_position_embeddings)?,
            token_type_embeddings: table("token_type_embeddings", config.type_vocab_size)?,
            layer_norm: LayerNorm::load(
                &weights.at("LayerNorm"),
                config.hidden_size,
                config.layer_norm_eps,
            )?,
            max_positions: config.max_position_embeddings,
            vocab_size: config.vocab_size,
            type_vocab_size: config.type_vocab_size,
        })
    }

    fn forward(&self, ids: &Tensor, type_ids: Option<&Tensor>, step: &Step) -> Tensor {
        let (_batch, seq) = ids.size2().expect("ids are [batch, seq]");
        let segments = match type_ids {
            Some(type_ids) => self.token_type_embeddings.forward(type_ids, step),
            None => self.token_type_embeddings.first(1),
        };
        let embedded = self.word_embeddings.forward(ids, step)
            + segments
            + self.position_embeddings.first(seq);
        self.layer_norm.forward(&embedded, step)
    }
}

struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    attention_output: Output,
    intermediate: Linear,
    output: Output,
    act: Activation,
    n_heads: i64,
    scale: f64,
}

impl Layer {
    fn load(config: &Config, weights: &Weights) -> Result<Self, WeightsError> {
        let dim = config.hidden_size;
        let attention = weights.at("attention");
        let projection = |name| Linear::load(&attention.at("self").at(name), dim, dim);
        Ok(Self {
            query: projection("query")?,
            key: projection("key")?,
            value: projection("value")?,
            attention_output: Output::load(config, &attention.at("output"), dim)?,
            intermediate: Linear::load(
                &weights.at("intermediate").at("dense"),
                dim,
                config.intermediate_size,
            )?,
            output: Output::load(config, &weights.at("output"), config.intermediate_size)?,
            act: config.hidden_act,
            n_heads: config.num_attention_heads,
            scale: ((dim / config.num_attention_heads) as f64).powf(-0.5),
        })
    }

    /// `[batch, seq, dim]` to the same shape.
    fn forward(&self, xs: &Tensor, step: &Step) -> Tensor {
        let (q, k, v) = (
            self.query.forward(xs, step),
            self.key.forward(xs, step),
            self.value.forward(xs, step),
        );
        let attended = step.attend(&q, &k, &v, self.n_heads, self.scale);
        let xs = self.attention_output.forward(&attended, xs, step);
        let expanded = self.act.forward(&self.intermediate.forward(&xs, step));
        self.output.forward(&expanded, &xs, step)
    }
}

/// A projection back to the model's width, added to what came in and normalised.
struct Output {
    dense: Linear,
    layer_norm: LayerNorm,
}

impl Output {
    fn load(config: &Config, weights: &Weights, in_dim: i64) -> Result<Self, WeightsError> {
        Ok(Self {
            dense: Linear::load(&weights.at("dense"), in_dim, config.hidden_size)?,
            layer_norm: LayerNorm::load(
                &weights.at("LayerNorm"),
                config.hidden_size,
                config.layer_norm_eps,
            )?,
        })
    }

    fn forward(&self, xs: &Tensor, residual: &Tensor, step: &Step) -> Tensor {
        self.layer_norm.forward(&(self.dense.forward(xs, step) + residual), step)
    }
}

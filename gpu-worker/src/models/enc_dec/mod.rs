//! Encoder–decoder transformers (Vaswani et al., 2017, <https://arxiv.org/abs/1706.03762>) as one block: what BART and
//! its relatives differ in are the plain fields of [`EncDecConfig`].
//!
//! Reference: `transformers/models/bart/modeling_bart.py` and its siblings.

mod attention;
mod config;
mod decoder;
mod encoder;
mod positions;
mod whole;

use tch::{Kind, Tensor};

pub(super) use self::{
    config::{EncDecConfig, StackConfig},
    positions::PositionKind,
    whole::{WholeText, WholeTextClassifier},
};
use self::{decoder::Decoder, encoder::Encoder};
use super::Seq2SeqLm;
use crate::{
    layers::{CacheShape, Embedding, Linear, Step},
    weights::{Weights, WeightsError},
};

/// A model of a source and a target text, with its head.
pub(super) struct EncDec {
    halves: Halves,
    lm_head: Linear,
    /// `[1, target_vocab_size]`.
    final_logits_bias: Option<Tensor>,
    cache: CacheShape,
    max_positions: i64,
    vocab_size: i64,
    target_vocab_size: i64,
}

impl EncDec {
    /// `weights` are those of the body without its prefix `model.`, and of the head.
    pub fn load(config: &EncDecConfig, weights: &Weights) -> Result<Self, WeightsError> {
        let (source, target) = embeddings(config, weights)?;
        let kind = source.kind();
        let lm_head = if weights.has("lm_head.weight") || !config.tie_word_embeddings {
            let (dim, rows) = (config.d_model, config.target_vocab_size);
            Linear::load_with(&weights.at("lm_head"), dim, rows, false)?
        } else {
            Linear::tied(target.weight())
        };
        let bias = weights.has("final_logits_bias");
        let cache = CacheShape {
            layers: config.decoder.layers,
            kv_heads: config.decoder.heads,
            head_dim: config.d_model / config.decoder.heads,
            kind,
        };
        Ok(Self {
            halves: Halves::of(config, source, target, weights)?,
            lm_head,
            final_logits_bias: if bias {
                Some(weights.get("final_logits_bias", &[1, config.target_vocab_size])?)
            } else {
                None
            },
            cache,
            max_positions: config.max_positions,
            vocab_size: config.vocab_size,
            target_vocab_size: config.target_vocab_size,
        })
    }
}

/// What reads the source and what writes the target.
struct Halves {
    encoder: Encoder,
    decoder: Decoder,
}

impl Halves {
    fn load(config: &EncDecConfig, weights: &Weights) -> Result<Self, WeightsError> {
        let (source, target) = embeddings(config, weights)?;
        Self::of(config, source, target, weights)
    }

    fn of(
        config: &EncDecConfig,
        source: Embedding,
        target: Embedding,
        weights: &Weights,
    ) -> Result<Self, WeightsError> {
        Ok(Self {
            encoder: Encoder::load(config, source, &weights.at("encoder"))?,
            decoder: Decoder::load(config, target, &weights.at("decoder"))?,
        })
    }
}

/// The tables of source and target tokens: its own each, where the checkpoint has it, else the shared one under any of
/// its names.
fn embeddings(
    config: &EncDecConfig,
    weights: &Weights,
) -> Result<(Embedding, Embedding), WeightsError> {
    const SOURCE: &str = "encoder.embed_tokens";
    const TARGET: &str = "decoder.embed_tokens";
    let table = |names: &[&str], rows: i64| {
        let is_there = |name: &&&str| weights.at(name).has("weight");
        let name = names.iter().find(is_there).or(names.get(1)).unwrap_or(&names[0]);
        Embedding::load(&weights.at(name), rows, config.d_model)
    };
    let (rows, target_rows) = (config.vocab_size, config.target_vocab_size);
    if config.shares_embeddings {
        let source = table(&[SOURCE, "shared", TARGET, "lm_head"], rows)?;
        let target = table(&[TARGET, "shared", SOURCE, "lm_head"], target_rows)?;
        return Ok((source, target));
    }
    Ok((table(&[SOURCE], rows)?, table(&[TARGET], target_rows)?))
}

impl Seq2SeqLm for EncDec {
    fn encode(&self, ids: &Tensor, step: &Step) -> Tensor {
        self.halves.encoder.forward(ids, step)
    }

    fn remember(&self, encoded: &Tensor, step: &Step) {
        self.halves.decoder.remember(encoded, step);
    }

    fn hidden(&self, ids: &Tensor, step: &Step) -> Tensor {
        self.halves.decoder.forward(ids, step)
    }

    fn logits(&self, hidden: &Tensor, step: &Step) -> Tensor {
        let logits = self.lm_head.forward(hidden, step);
        let logits = match &self.final_logits_bias {
            Some(bias) => logits + bias,
            None => logits,
        };
        logits.to_kind(Kind::Float)
    }

    fn cache_shape(&self) -> CacheShape {
        self.cache
    }

    fn source_length(&self) -> i64 {
        self.max_positions
    }

    fn target_length(&self) -> i64 {
        self.max_positions
    }

    fn vocab_size(&self) -> i64 {
        self.vocab_size
    }

    fn target_vocab_size(&self) -> i64 {
        self.target_vocab_size
    }
}

//! Embeddings of words, positions and segments, their norm and their projection.

use tch::{Kind, Tensor};

use super::{EncoderConfig, LearnedPositions};
use crate::{
    layers::{Embedding, LayerNorm, Linear, Step},
    weights::{Weights, WeightsError},
};

pub(super) struct Embeddings {
    pub(super) words: Embedding,
    positions: Option<Embedding>,
    learned: LearnedPositions,
    types: Option<Embedding>,
    norm: LayerNorm,
    projection: Option<Linear>,
    projects_first: bool,
}

impl Embeddings {
    pub(super) fn load(config: &EncoderConfig, weights: &Weights) -> Result<Self, WeightsError> {
        let embeddings = &config.embeddings;
        let table = |path, n_rows| Embedding::load(&weights.at(path), n_rows, embeddings.dim);
        let projects_first = embeddings.projection.is_some_and(|projection| projection.before_norm);
        let norm_dim = if projects_first { config.dim } else { embeddings.dim };
        let norm = weights.at(embeddings.norm);
        Ok(Self {
            words: table(embeddings.words, embeddings.vocab_size)?,
            positions: match embeddings.learned {
                LearnedPositions::None => None,
                LearnedPositions::FromStart(n_rows)
                | LearnedPositions::AfterPadding { n_rows, .. } => {
                    Some(table(embeddings.positions, n_rows)?)
                }
            },
            learned: embeddings.learned,
            types: if embeddings.n_types > 0 {
                Some(table(embeddings.types, embeddings.n_types)?)
            } else {
                None
            },
            norm: LayerNorm::load_with(&norm, norm_dim, config.eps, config.biases.norms)?,
            projection: match embeddings.projection {
                Some(projection) => Some(Linear::load_with(
                    &weights.at(projection.path),
                    embeddings.dim,
                    config.dim,
                    projection.bias,
                )?),
                None => None,
            },
            projects_first,
        })
    }

    /// `[batch, seq]` ids and segment numbers to `[batch, seq, dim]`.
    pub(super) fn forward(&self, ids: &Tensor, type_ids: Option<&Tensor>, step: &Step) -> Tensor {
        let mut embedded = self.words.forward(ids, step);
        if let Some(types) = &self.types {
            embedded += match type_ids {
                Some(type_ids) => types.forward(type_ids, step),
                None => types.first(1),
            };
        }
        if let Some(positions) = &self.positions {
            embedded += match self.learned {
                LearnedPositions::AfterPadding { padding_id, .. } => {
                    positions.forward(&numbers(ids, padding_id), step)
                }
                _ => positions.first(ids.size()[1]),
            };
        }
        match &self.projection {
            Some(projection) if self.projects_first => {
                self.norm.forward(&projection.forward(&embedded, step), step)
            }
            Some(projection) => projection.forward(&self.norm.forward(&embedded, step), step),
            None => self.norm.forward(&embedded, step),
        }
    }
}

/// See [`LearnedPositions::AfterPadding`].
fn numbers(ids: &Tensor, padding_id: i64) -> Tensor {
    let present = ids.ne(padding_id).to_kind(Kind::Int64);
    present.cumsum(1, Kind::Int64) * present + padding_id
}

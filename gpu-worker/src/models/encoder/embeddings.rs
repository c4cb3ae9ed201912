//! Embeddings of words, positions and segments, their norm and their projection.

use tch::{Kind, Tensor};

use super::{EncoderConfig, LearnedPositions, table::TableEmbeddings};
use crate::{
    layers::{Embedding, LayerNorm, Linear, Step},
    weights::{Weights, WeightsError},
};

pub(super) struct Embeddings {
    pub(super) words: Embedding,
    positions: Option<Embedding>,
    learned: LearnedPositions,
    types: Option<Embedding>,
    table: Option<TableEmbeddings>,
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
            table: match &embeddings.table {
                Some(table) => Some(TableEmbeddings::load(table, embeddings.dim, weights)?),
                None => None,
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

    /// `[batch, seq]` ids and segment numbers to `[batch, seq, dim]`; tokens of tables have `[batch, seq, 7]` numbers.
    pub(super) fn forward(&self, ids: &Tensor, type_ids: Option<&Tensor>, step: &Step) -> Tensor {
        let mut embedded = self.words.forward(ids, step);
        if let Some(types) = &self.types {
            embedded += match type_ids {
                Some(type_ids) => types.forward(type_ids, step),
                None => types.first(1),
            };
        }
        let table = self.table.as_ref().zip(type_ids);
        if let Some((table, channels)) = table {
            embedded += table.forward(channels, step);
        }
        if let Some(positions) = &self.positions {
            let in_cells = table.and_then(|(table, channels)| table.places(channels));
            embedded += match (self.learned, in_cells) {
                (LearnedPositions::FromStart(n_rows), Some(places)) => {
                    positions.forward(&places.clamp_max(n_rows - 1), step)
                }
                (LearnedPositions::AfterPadding { padding_id, .. }, _) => {
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

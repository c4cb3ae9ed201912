//! A table of vectors, read by index.

use tch::{Kind, Tensor};

use super::Step;
use crate::weights::{Weights, WeightsError};

pub struct Embedding {
    /// As it is stored, see [`Weights::matrix`].
    weight: Tensor,
    /// What its vectors are read as.
    kind: Kind,
}

impl Embedding {
    pub fn load(weights: &Weights, n_rows: i64, dim: i64) -> Result<Self, WeightsError> {
        Ok(Self { weight: weights.matrix("weight", &[n_rows, dim])?, kind: weights.kind() })
    }

    /// A table that was computed.
    pub fn of(weight: Tensor) -> Self {
        Self { kind: weight.kind(), weight }
    }

    /// `[…]` indices to `[…, dim]`. Every index must be below the number of rows.
    pub fn forward(&self, ids: &Tensor, _step: &Step) -> Tensor {
        Tensor::embedding(&self.weight, ids, -1, false, false).to_kind(self.kind)
    }

    /// The first `n_rows` rows, `[n_rows, dim]`: what positions `0..n_rows` look up.
    pub fn first(&self, n_rows: i64) -> Tensor {
        self.rows(0, n_rows)
    }

    /// `n_rows` rows from row `start` on, `[n_rows, dim]`; without a copy where they are stored as what they are read as.
    pub fn rows(&self, start: i64, n_rows: i64) -> Tensor {
        self.weight.narrow(0, start, n_rows).to_kind(self.kind)
    }

    /// What its vectors are.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The table itself, `[n_rows, dim]`, as it is stored: a tied output projection uses it as its weight.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }
}

//! A table of vectors, read by index.

use tch::Tensor;

use super::Step;
use crate::weights::{Weights, WeightsError};

pub struct Embedding {
    weight: Tensor,
}

impl Embedding {
    pub fn load(weights: &Weights, n_rows: i64, dim: i64) -> Result<Self, WeightsError> {
        Ok(Self { weight: weights.get("weight", &[n_rows, dim])? })
    }

    /// A table that was computed.
    pub fn of(weight: Tensor) -> Self {
        Self { weight }
    }

    /// `[…]` indices to `[…, dim]`. Every index must be below the number of rows.
    pub fn forward(&self, ids: &Tensor, _step: &Step) -> Tensor {
        Tensor::embedding(&self.weight, ids, -1, false, false)
    }

    /// The first `n_rows` rows, `[n_rows, dim]`, without a copy: what positions `0..n_rows` look up.
    pub fn first(&self, n_rows: i64) -> Tensor {
        self.weight.narrow(0, 0, n_rows)
    }

    /// `n_rows` rows from row `start` on, `[n_rows, dim]`, without a copy.
    pub fn rows(&self, start: i64, n_rows: i64) -> Tensor {
        self.weight.narrow(0, start, n_rows)
    }

    /// The table itself, `[n_rows, dim]`: a tied output projection uses it as its weight.
    pub fn weight(&self) -> &Tensor {
        &self.weight
    }
}

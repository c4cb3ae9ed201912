//! Positions of the block: learned, or waves of fixed frequencies.

use tch::{Device, Kind, Tensor};

use super::EncDecConfig;
use crate::{
    layers::{Embedding, Step},
    models::{LoadError, unsupported},
    weights::{Weights, WeightsError},
};

/// Larger tables of waves than this are refused: they are computed while the model loads.
const MOST_WAVES: i64 = 1 << 28;

/// How a model knows where a token stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::models) enum PositionKind {
    /// A learned table whose first rows are not used.
    Learned { offset: i64 },
    /// Sines in the first half of a vector, cosines in the second, as Marian computes them; a table that the checkpoint
    /// has takes their place.
    Waves,
    /// As fairseq computes them, counting the tokens that aren't padding from `padding + 1` on.
    WavesAfterPadding { padding: i64 },
}

impl PositionKind {
    pub(super) fn check(self, dim: i64, max_positions: i64) -> Result<(), LoadError> {
        if let Self::WavesAfterPadding { padding } = self {
            // A position more than the padding's number must be a row of the table.
            if !(0..1 << 20).contains(&padding) {
                return Err(unsupported("pad_token_id", padding));
            }
            if dim < 4 {
                return Err(unsupported("d_model", dim));
            }
        }
        let is_computed = !matches!(self, Self::Learned { .. });
        if is_computed && max_positions.saturating_mul(dim) > MOST_WAVES {
            return Err(unsupported("max_position_embeddings", max_positions));
        }
        Ok(())
    }
}

pub(super) struct Positions {
    kind: PositionKind,
    table: Embedding,
}

impl Positions {
    pub fn load(config: &EncDecConfig, weights: &Weights) -> Result<Self, WeightsError> {
        let (rows, dim) = (config.max_positions, config.d_model);
        let computed = |table: Tensor| {
            Embedding::of(table.to_device(weights.device()).to_kind(weights.kind()))
        };
        let table = match config.positions {
            PositionKind::Learned { offset } => Embedding::load(weights, rows + offset, dim)?,
            PositionKind::Waves if weights.has("weight") => Embedding::load(weights, rows, dim)?,
            PositionKind::Waves => computed(waves(rows, dim)),
            PositionKind::WavesAfterPadding { padding } => {
                computed(waves_after_padding(rows + padding + 1, dim, padding))
            }
        };
        Ok(Self { kind: config.positions, table })
    }

    /// `[batch, seq]` ids to what is added to their embeddings.
    pub fn of_batch(&self, ids: &Tensor, step: &Step) -> Tensor {
        match self.kind {
            PositionKind::WavesAfterPadding { padding } => {
                let counts = ids.ne(padding).to_kind(Kind::Int64);
                let positions = counts.cumsum(1, Kind::Int64) * counts + padding;
                self.table.forward(&positions, step)
            }
            kind => {
                let seq = ids.size()[1];
                self.table.rows(kind.offset(), seq)
            }
        }
    }

    /// `[tokens]` ids of a flat pass to what is added to their embeddings.
    pub fn of_sequences(&self, ids: &Tensor, step: &Step) -> Tensor {
        let positions = step.positions() + self.kind.offset();
        let positions = match self.kind {
            PositionKind::WavesAfterPadding { padding } => {
                positions.masked_fill(&ids.eq(padding), padding)
            }
            _ => positions,
        };
        self.table.forward(&positions, step)
    }
}

impl PositionKind {
    /// The row of the first position.
    fn offset(self) -> i64 {
        match self {
            Self::Learned { offset } => offset,
            Self::Waves => 0,
            Self::WavesAfterPadding { padding } => padding + 1,
        }
    }
}

/// Angles in double precision, as numpy computes them.
fn waves(rows: i64, dim: i64) -> Tensor {
    let options = (Kind::Double, Device::Cpu);
    let pairs = Tensor::arange(dim, options).floor_divide_scalar(2) * 2.0 / dim as f64;
    let frequencies = Tensor::from(10000.0_f64).to_kind(Kind::Double).pow(&pairs);
    let angles = Tensor::arange(rows, options).unsqueeze(1) / frequencies.unsqueeze(0);
    let sines = angles.slice(1, 0, dim, 2).sin();
    let cosines = angles.slice(1, 1, dim, 2).cos();
    Tensor::cat(&[sines, cosines], 1).to_kind(Kind::Float)
}

/// Angles in single precision; the row of the padding is zero.
fn waves_after_padding(rows: i64, dim: i64, padding: i64) -> Tensor {
    let half = dim / 2;
    let options = (Kind::Int64, Device::Cpu);
    let step = 10000.0_f64.ln() / (half - 1) as f64;
    let frequencies = (Tensor::arange(half, options).to_kind(Kind::Float) * -step).exp();
    let angles =
        Tensor::arange(rows, options).to_kind(Kind::Float).unsqueeze(1) * frequencies.unsqueeze(0);
    let table = Tensor::cat(&[angles.sin(), angles.cos()], 1).constant_pad_nd([0, dim % 2]);
    let _ = table.get(padding).zero_();
    table
}

//! Tokens of a table (Herzig et al., 2020, <https://arxiv.org/abs/2004.02349>): embeddings of their places, and the head
//! that chooses cells and what to do with them.
//!
//! Reference: `TapasEmbeddings` and `TapasForQuestionAnswering` in `transformers/models/tapas/modeling_tapas.py`.

use tch::{Kind, Tensor};

use super::{Encoder, EncoderConfig, TableConfig, heads::OnEncoder};
use crate::{
    layers::{Embedding, Linear, Step},
    models::{LoadError, Model, TABLE_CHANNELS, TableAnswerer},
    weights::{Weights, WeightsError},
};

const COLUMN: i64 = 1;
const ROW: i64 = 2;

pub(super) struct TableEmbeddings {
    channels: Vec<Embedding>,
    sizes: [i64; TABLE_CHANNELS],
    counts_in_cells: bool,
}

impl TableEmbeddings {
    pub(super) fn load(
        config: &TableConfig,
        dim: i64,
        weights: &Weights,
    ) -> Result<Self, WeightsError> {
        let channels = config.sizes.iter().enumerate().map(|(idx, &n_rows)| {
            Embedding::load(&weights.at(format!("{}_{idx}", config.path)), n_rows, dim)
        });
        Ok(Self {
            channels: channels.collect::<Result<_, _>>()?,
            sizes: config.sizes,
            counts_in_cells: config.counts_in_cells,
        })
    }

    /// `[batch, seq, 7]` numbers to `[batch, seq, dim]`.
    pub(super) fn forward(&self, numbers: &Tensor, step: &Step) -> Tensor {
        let embedded = self.channels.iter().enumerate();
        embedded
            .map(|(idx, channel)| channel.forward(&numbers.select(-1, idx as i64), step))
            .reduce(|sum, more| sum + more)
            .expect("there are seven channels")
    }

    /// Which of its cell's tokens each one is, `[batch, seq]`; `None` when positions don't count in cells. What is in no
    /// cell is a cell by itself.
    pub(super) fn places(&self, numbers: &Tensor) -> Option<Tensor> {
        if !self.counts_in_cells {
            return None;
        }
        let (_, seq, _) = numbers.size3().expect("numbers are [batch, seq, channels]");
        let [_, _, n_rows, ..] = self.sizes;
        let cells = numbers.select(-1, COLUMN) * n_rows + numbers.select(-1, ROW);
        let is_same = cells.unsqueeze(2).eq_tensor(&cells.unsqueeze(1));
        // Of equal values the first one counts.
        let firsts = is_same.to_kind(Kind::Uint8).argmax(-1, false);
        Some(Tensor::arange(seq, (Kind::Int64, numbers.device())) - firsts)
    }
}

/// The head that chooses cells.
#[derive(Clone, Copy, Debug)]
pub struct CellsConfig {
    /// How much smaller the tokens' logits are made.
    pub temperature: f64,
    pub choice: Choice,
    /// What can be done with cells; 0: the model doesn't say.
    pub n_aggregations: i64,
    /// Cells of further rows and columns count as those of the last.
    pub n_rows: i64,
    pub n_columns: i64,
}

/// What the logits of tokens become.
#[derive(Clone, Copy, Debug)]
pub enum Choice {
    Tokens,
    /// Tokens of a cell share their mean.
    Cells,
    /// The same, and only cells of the best column are left; with `allows_none` that can be no column.
    OneColumn {
        allows_none: bool,
    },
}

struct CellsHead {
    output_weights: Tensor,
    output_bias: Tensor,
    columns: Option<(Tensor, Tensor)>,
    aggregation: Option<Aggregation>,
    config: CellsConfig,
    sizes: [i64; TABLE_CHANNELS],
}

struct Aggregation {
    pooler: Linear,
    classifier: Linear,
}

/// An encoder of tables with its head.
pub fn load_table(
    config: &EncoderConfig,
    table: &TableConfig,
    cells: &CellsConfig,
    weights: &Weights,
) -> Result<Model, LoadError> {
    let dim = config.dim;
    let aggregation = if cells.n_aggregations > 0 {
        let classifier = weights.at("aggregation_classifier");
        Some(Aggregation {
            pooler: Linear::load(&weights.at("pooler.dense"), dim, dim)?,
            classifier: Linear::load(&classifier, dim, cells.n_aggregations)?,
        })
    } else {
        None
    };
    let columns = match cells.choice {
        Choice::OneColumn { .. } => Some((
            weights.get("column_output_weights", &[dim])?,
            weights.get("column_output_bias", &[])?,
        )),
        Choice::Tokens | Choice::Cells => None,
    };
    let head = CellsHead {
        output_weights: weights.get("output_weights", &[dim])?,
        output_bias: weights.get("output_bias", &[])?,
        columns,
        aggregation,
        config: *cells,
        sizes: table.sizes,
    };
    let encoder = Encoder::load(config, weights)?;
    Ok(Model::TableAnswerer(Box::new(OnEncoder { encoder, head })))
}

impl TableAnswerer for OnEncoder<CellsHead> {
    fn logits(&self, ids: &Tensor, channels: &Tensor, step: &Step) -> (Tensor, Option<Tensor>) {
        let head = &self.head;
        let hidden = self.encoder.forward(ids, Some(channels), step);
        let aggregation = head.aggregation.as_ref().map(|aggregation| {
            let pooled = aggregation.pooler.forward(&hidden.select(1, 0), step).tanh();
            aggregation.classifier.forward(&pooled, step).to_kind(Kind::Float)
        });
        let score =
            |weights: &Tensor, bias: &Tensor| (hidden.matmul(weights) + bias).to_kind(Kind::Float);
        let tokens = score(&head.output_weights, &head.output_bias) / head.config.temperature;
        let tokens = match (&head.columns, head.config.choice) {
            (Some((weights, bias)), Choice::OneColumn { allows_none }) => {
                let cells = Cells::new(&head.config, channels, step);
                cells.of_best_column(&tokens, &score(weights, bias), allows_none)
            }
            (_, Choice::Cells) => {
                let cells = Cells::new(&head.config, channels, step);
                cells.spread(&cells.mean(&tokens))
            }
            _ => tokens,
        };
        (tokens, aggregation)
    }

    fn channel_sizes(&self) -> [i64; TABLE_CHANNELS] {
        self.head.sizes
    }
}

/// What is added to a logit to make it impossible.
const IMPOSSIBLE: f64 = -10_000.0;

/// Which tokens of a batch are in which cell; padding is in none.
struct Cells {
    n_rows: i64,
    n_columns: i64,
    /// `[batch, seq]`.
    cell: Tensor,
    /// `[batch, seq]`, 1 where there is a token.
    present: Tensor,
    /// `[batch, n_rows × n_columns]`.
    tokens: Tensor,
}

impl Cells {
    fn new(config: &CellsConfig, channels: &Tensor, step: &Step) -> Self {
        let CellsConfig { n_rows, n_columns, .. } = *config;
        let row = channels.select(-1, ROW).clamp_max(n_rows - 1);
        let column = channels.select(-1, COLUMN).clamp_max(n_columns - 1);
        let cell = row * n_columns + column;
        let options = (Kind::Float, channels.device());
        let present = match step.present() {
            Some(mask) => mask.to_kind(Kind::Float),
            None => Tensor::ones(cell.size(), options),
        };
        let tokens = Tensor::zeros([cell.size()[0], n_rows * n_columns], options);
        let tokens = tokens.scatter_add(1, &cell, &present);
        Self { n_rows, n_columns, cell, present, tokens }
    }

    /// `[batch, seq]` to `[batch, n_rows × n_columns]`; 0 where there is no token.
    fn mean(&self, values: &Tensor) -> Tensor {
        let sums = self.tokens.zeros_like().scatter_add(1, &self.cell, &(values * &self.present));
        sums / self.tokens.clamp_min(1)
    }

    /// The value of each token's cell.
    fn spread(&self, values: &Tensor) -> Tensor {
        values.gather(1, &self.cell, false)
    }

    /// `[batch, n_rows × n_columns]` to `[batch, n_columns]`.
    fn sum_of_columns(&self, values: &Tensor) -> Tensor {
        values.view([-1, self.n_rows, self.n_columns]).sum_dim_intlist(1, false, None)
    }

    /// Logits of tokens of which those outside the best column are impossible, by the logits for columns. Column 0 is what
    /// belongs to none.
    fn of_best_column(&self, tokens: &Tensor, columns: &Tensor, allows_none: bool) -> Tensor {
        let exists = self.tokens.gt(0).to_kind(Kind::Float);
        let cells = self.sum_of_columns(&exists);
        let scores = self.sum_of_columns(&self.mean(columns)) / (&cells + 1e-10);
        let numbers = Tensor::arange(self.n_columns, (Kind::Int64, tokens.device()));
        let is_none = numbers.eq(0);
        let mut impossible = cells.lt(0.5).logical_and(&is_none.logical_not());
        if !allows_none {
            impossible = impossible.logical_or(&is_none);
        }
        let scores = scores + impossible.to_kind(Kind::Float) * IMPOSSIBLE;
        let best = scores.argmax(-1, true);
        let is_best = numbers.eq_tensor(&best).logical_and(&is_none.logical_not());
        let is_best = is_best.unsqueeze(1).to_kind(Kind::Float);
        let is_left = exists.view([-1, self.n_rows, self.n_columns]) * is_best;
        let is_left = is_left.view([-1, self.n_rows * self.n_columns]);
        self.spread(&(self.mean(tokens) + (1.0 - is_left) * IMPOSSIBLE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_begin_anew_in_every_cell() {
        let table = TableEmbeddings {
            channels: Vec::new(),
            sizes: [3, 4, 5, 2, 4, 4, 10],
            counts_in_cells: true,
        };
        // Question, a header of two tokens, two cells of the second row, and one more token of the first of them.
        let places = [(0, 0), (0, 0), (1, 0), (1, 0), (1, 2), (1, 2), (2, 2), (1, 2)];
        let numbers: Vec<i64> =
            places.iter().flat_map(|&(column, row)| [0, column, row, 0, 0, 0, 0]).collect();
        let numbers = Tensor::from_slice(&numbers).view([1, 8, 7]);
        let found = table.places(&numbers).unwrap().view([-1]);
        assert_eq!(Vec::<i64>::try_from(found).unwrap(), [0, 1, 0, 1, 0, 1, 0, 3]);
    }
}

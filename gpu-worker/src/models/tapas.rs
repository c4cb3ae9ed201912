//! TAPAS (Herzig et al., 2020, <https://arxiv.org/abs/2004.02349>): BERT over the cells of a table, which answers a question
//! by choosing some of them.
//!
//! Reference: `transformers/models/tapas/modeling_tapas.py`.

use serde::Deserialize;

use super::{
    Architecture, LoadError, Model, ModelKind, TABLE_CHANNELS, bert, check_divides, check_positive,
    encoder::{
        self, Biases, CellsConfig, Choice, EmbeddingsConfig, EncoderConfig, LearnedPositions,
        Positions, TableConfig,
    },
    unsupported,
};
use crate::{
    layers::Activation,
    weights::{Rename, Weights},
};

pub(super) const TAPAS: Architecture = Architecture {
    model_type: "tapas",
    kinds: &[ModelKind::TableAnswerer],
    renames: &[
        Rename::Suffix { from: ".gamma", to: ".weight" },
        Rename::Suffix { from: ".beta", to: ".bias" },
        Rename::StripPrefix("tapas."),
    ],
    // Not every model asks for a column, nor without aggregation for the pooled text.
    ignored: &[
        "embeddings.position_ids",
        "column_output_weights",
        "column_output_bias",
        "pooler.dense.weight",
        "pooler.dense.bias",
    ],
    load,
};

/// More than a channel or a table has; columns and rows make a tensor.
const MOST_NUMBERS: i64 = 1024;

fn load(config: &str, _kind: ModelKind, weights: &Weights) -> Result<Model, LoadError> {
    let config: Config = serde_json::from_str(config)?;
    let (table, cells) = (config.table()?, config.cells()?);
    encoder::load_table(&config.encoder(table)?, &table, &cells, weights)
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
    type_vocab_sizes: Vec<i64>,
    layer_norm_eps: f64,
    reset_position_index_per_cell: bool,
    temperature: f64,
    num_aggregation_labels: i64,
    max_num_rows: i64,
    max_num_columns: i64,
    select_one_column: bool,
    allow_empty_column_selection: bool,
    average_logits_per_cell: bool,
    is_decoder: bool,
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
            max_position_embeddings: 1024,
            type_vocab_sizes: vec![3, 256, 256, 2, 256, 256, 10],
            layer_norm_eps: 1e-12,
            reset_position_index_per_cell: true,
            temperature: 1.0,
            num_aggregation_labels: 0,
            max_num_rows: 64,
            max_num_columns: 32,
            select_one_column: true,
            allow_empty_column_selection: false,
            average_logits_per_cell: false,
            is_decoder: false,
        }
    }
}

impl Config {
    fn table(&self) -> Result<TableConfig, LoadError> {
        let refused = || unsupported("type_vocab_sizes", format!("{:?}", self.type_vocab_sizes));
        let sizes: [i64; TABLE_CHANNELS] =
            self.type_vocab_sizes.as_slice().try_into().map_err(|_| refused())?;
        if sizes.iter().any(|size| !(1..=MOST_NUMBERS).contains(size)) {
            return Err(refused());
        }
        Ok(TableConfig {
            path: "embeddings.token_type_embeddings",
            sizes,
            counts_in_cells: self.reset_position_index_per_cell,
        })
    }

    fn cells(&self) -> Result<CellsConfig, LoadError> {
        if !self.temperature.is_finite() || self.temperature == 0.0 {
            return Err(unsupported("temperature", self.temperature));
        }
        for (field, value, least) in [
            ("num_aggregation_labels", self.num_aggregation_labels, 0),
            ("max_num_rows", self.max_num_rows, 1),
            ("max_num_columns", self.max_num_columns, 1),
        ] {
            if !(least..=MOST_NUMBERS).contains(&value) {
                return Err(unsupported(field, value));
            }
        }
        Ok(CellsConfig {
            temperature: self.temperature,
            choice: if self.select_one_column {
                Choice::OneColumn { allows_none: self.allow_empty_column_selection }
            } else if self.average_logits_per_cell {
                Choice::Cells
            } else {
                Choice::Tokens
            },
            n_aggregations: self.num_aggregation_labels,
            n_rows: self.max_num_rows,
            n_columns: self.max_num_columns,
        })
    }

    fn encoder(&self, table: TableConfig) -> Result<EncoderConfig, LoadError> {
        check_positive(&[
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
        ])?;
        encoder::check_layers("num_hidden_layers", self.num_hidden_layers)?;
        check_divides("num_attention_heads", self.num_attention_heads, self.hidden_size)?;
        if self.is_decoder {
            return Err(unsupported("is_decoder", true));
        }
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
                types: "",
                norm: "embeddings.LayerNorm",
                vocab_size: self.vocab_size,
                dim: self.hidden_size,
                learned: LearnedPositions::FromStart(self.max_position_embeddings),
                n_types: 0,
                table: Some(table),
                projection: None,
            },
            layers: encoder::numbered("encoder.layer", self.num_hidden_layers),
            order: (0..self.num_hidden_layers as usize).collect(),
            names: bert::NAMES,
            positions: Positions::Embedded,
            final_norm: None,
            convolution: None,
            context_length: self.max_position_embeddings,
        })
    }
}

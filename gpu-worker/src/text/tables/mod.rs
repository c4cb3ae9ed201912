//! Tables as tokens: TAPAS's cells with their places and the order of their numbers, TAPEX's one long text.

mod cells;
mod dates;
mod flat;
mod numbers;
mod ranks;

pub use cells::{CHANNELS, TableEncoder, TableError, TableTokens};
pub use flat::FlatTables;

/// A table of texts. Every row has as many cells as there are columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

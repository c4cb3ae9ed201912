//! A question and a table as TAPAS reads them: the tokens of the cells one after the other, each with its place.
//!
//! Reference: `TapasTokenizer` in `transformers/models/tapas/tokenization_tapas.py`.

use serde_json::{Map, Value};

use super::{Table, ranks};
use crate::text::{TextError, Tokenizer, special_tokens::object};

/// Numbers of every token beside its id: segment, column, row, whether it answered the last question, rank in its column
/// from below and from above, relations to the question's numbers.
pub const CHANNELS: usize = 7;

/// What a model takes that does not say.
const MAX_LENGTH: usize = 512;

/// The marks of a piece that is not the beginning of a word.
const INNER: &str = "##";

const CONFIG: &str = "tokenizer_config.json";

/// Why a table cannot be encoded.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error("has {columns} columns, the model takes {limit}")]
    Columns { columns: usize, limit: usize },
    #[error("has {rows} rows, the model takes {limit}")]
    Rows { rows: usize, limit: usize },
    #[error("has {tokens} tokens, this model takes questions of {least} to {most}")]
    Question { tokens: usize, least: usize, most: usize },
    #[error("has {tokens} tokens with the question, the model takes {limit}")]
    Length { tokens: usize, limit: usize },
    #[error("the tokenizer has no {0}")]
    Special(&'static str),
    #[error(transparent)]
    Text(#[from] TextError),
}

/// What a model reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableTokens {
    pub ids: Vec<u32>,
    /// One entry per token. Columns and rows count from 1, and the header is row 0; all is 0 for what is in no cell.
    pub channels: Vec<[u32; CHANNELS]>,
    /// How many rows of the table are there.
    pub rows: usize,
}

pub struct TableEncoder {
    tokenizer: Tokenizer,
    cls: u32,
    sep: u32,
    /// Most tokens, where rows are dropped to fit.
    max_length: usize,
    cell_trim_length: Option<usize>,
    /// Columns and rows must be fewer.
    max_columns: usize,
    max_rows: usize,
    strip_column_names: bool,
    question_length: [usize; 2],
}

/// A token of a cell.
struct Piece {
    id: u32,
    /// Where in the cell its word begins; `None` for a piece without a beginning, which is never left out.
    word: Option<usize>,
}

impl TableEncoder {
    /// `tokenizer_config` is the text of that file.
    pub fn new(tokenizer: Tokenizer, tokenizer_config: Option<&str>) -> Result<Self, TableError> {
        let config = object(CONFIG, tokenizer_config)?;
        let special =
            |role: &'static str| tokenizer.special_id(role).ok_or(TableError::Special(role));
        let (cls, sep) = (special("cls_token")?, special("sep_token")?);
        let max_length = tokenizer.model_max_length().unwrap_or(MAX_LENGTH);
        let limit = |field| Ok::<_, TextError>(count(&config, field)?.unwrap_or(max_length));
        Ok(Self {
            cls,
            sep,
            max_length,
            cell_trim_length: cell_trim_length(&config)?,
            max_columns: limit("max_column_id")?,
            max_rows: limit("max_row_id")?,
            strip_column_names: config.get("strip_column_names") == Some(&Value::Bool(true)),
            question_length: [
                count(&config, "min_question_length")?.unwrap_or(0),
                count(&config, "max_question_length")?.unwrap_or(usize::MAX),
            ],
            tokenizer,
        })
    }

    /// Most tokens that the model takes.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// At most `limit` tokens. With `drops_rows`, cells lose tokens and then the table its last rows until it has no more than
    /// [`Self::max_length`]; even so it can be too long.
    pub fn encode(
        &self,
        question: &str,
        table: &Table,
        drops_rows: bool,
        limit: usize,
    ) -> Result<TableTokens, TableError> {
        let asked = self.question(question)?;
        let (columns, most) = (table.columns.len(), self.max_columns.saturating_sub(1));
        if columns > most {
            return Err(TableError::Columns { columns, limit: most });
        }
        let (rows, most) = (table.rows.len(), self.max_rows.saturating_sub(1));
        if rows > most && !drops_rows {
            return Err(TableError::Rows { rows, limit: most });
        }
        let lines = self.lines(table)?;
        let (rows, tokens) = if drops_rows {
            self.fit(&lines, rows.min(most), asked.len())
        } else {
            (rows, usize::MAX)
        };
        let mut made = TableTokens { rows, ..Default::default() };
        for id in [&[self.cls][..], &asked, &[self.sep]].concat() {
            made.ids.push(id);
            made.channels.push([0; CHANNELS]);
        }
        for (row, line) in lines.iter().enumerate().take(rows + 1) {
            for (column, cell) in line.iter().enumerate() {
                for piece in cell.iter().filter(|piece| piece.is_within(tokens)) {
                    made.ids.push(piece.id);
                    made.channels.push([1, column as u32 + 1, row as u32, 0, 0, 0, 0]);
                }
            }
        }
        let tokens = made.ids.len();
        if tokens > limit {
            return Err(TableError::Length { tokens, limit });
        }
        let facts = ranks::facts(table, question);
        for [_, column, row, _, said @ ..] in &mut made.channels {
            if let (Some(column), Some(row)) = (column.checked_sub(1), row.checked_sub(1)) {
                *said = facts[column as usize][row as usize];
            }
        }
        Ok(made)
    }

    fn question(&self, question: &str) -> Result<Vec<u32>, TableError> {
        let ids = self.tokenizer.encode(question, false)?.ids;
        let [least, most] = self.question_length;
        if (least..=most).contains(&ids.len()) {
            return Ok(ids);
        }
        Err(TableError::Question { tokens: ids.len(), least, most })
    }

    /// The header and the rows, as the tokens of their cells.
    fn lines(&self, table: &Table) -> Result<Vec<Vec<Vec<Piece>>>, TextError> {
        let header = if self.strip_column_names {
            table.columns.iter().map(|_| Ok(Vec::new())).collect()
        } else {
            table.columns.iter().map(|name| self.pieces(name)).collect::<Result<_, TextError>>()
        };
        let rows = table.rows.iter();
        let rows = rows.map(|row| row.iter().map(|cell| self.pieces(cell)).collect());
        std::iter::once(header).chain(rows).collect()
    }

    fn pieces(&self, cell: &str) -> Result<Vec<Piece>, TextError> {
        let mut word = None;
        let ids = self.tokenizer.encode(cell, false)?.ids.into_iter().enumerate();
        let piece = |(at, id): (usize, u32)| {
            let is_inner = self.tokenizer.token(id).is_some_and(|token| token.starts_with(INNER));
            if !is_inner {
                word = Some(at);
            }
            Piece { id, word }
        };
        Ok(ids.map(piece).collect())
    }

    /// How many rows fit, and how many tokens of each cell.
    fn fit(&self, lines: &[Vec<Vec<Piece>>], mut rows: usize, asked: usize) -> (usize, usize) {
        let Some(room) = self.max_length.checked_sub(asked + 2) else { return (0, 1) };
        let longest = lines.iter().flatten().map(Vec::len).max().unwrap_or(0);
        let longest = self.cell_trim_length.map_or(longest, |trim| trim.min(longest));
        // How many tokens more there are with each more token of a cell.
        let mut more = vec![0_usize; longest + 1];
        let places = |row: usize| lines.get(row).into_iter().flatten().flatten();
        let place = |piece: &Piece| piece.word.unwrap_or(0);
        for piece in (0..=rows).flat_map(places) {
            if let Some(count) = more.get_mut(place(piece)) {
                *count += 1;
            }
        }
        loop {
            let mut cost = 0;
            let fitting = more.iter().take_while(|&&count| {
                cost += count;
                cost <= room
            });
            let tokens = fitting.count().min(longest);
            // Cells that are cut to a fixed length are cut no further.
            if tokens == longest || (self.cell_trim_length.is_none() && tokens > 0) {
                return (rows, tokens.max(1));
            }
            for piece in places(rows) {
                if let Some(count) = more.get_mut(place(piece)) {
                    *count -= 1;
                }
            }
            rows = rows.saturating_sub(1);
            if rows == 0 {
                return (0, 1);
            }
        }
    }
}

impl Piece {
    fn is_within(&self, tokens: usize) -> bool {
        self.word.is_none_or(|word| word < tokens)
    }
}

fn field(field: &str, expected: &'static str) -> TextError {
    TextError::Field { file: CONFIG, field: field.to_owned(), expected }
}

fn count(config: &Map<String, Value>, name: &str) -> Result<Option<usize>, TextError> {
    match config.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let count = value.as_u64().and_then(|count| usize::try_from(count).ok());
            count.map(Some).ok_or_else(|| field(name, "a number of 0 or more"))
        }
    }
}

fn cell_trim_length(config: &Map<String, Value>) -> Result<Option<usize>, TextError> {
    const NAME: &str = "cell_trim_length";
    match config.get(NAME) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let length = value.as_i64().ok_or_else(|| field(NAME, "a whole number"))?;
            Ok(usize::try_from(length).ok())
        }
    }
}

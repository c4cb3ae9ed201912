//! A question and a table as one text, as TAPEX reads them: `how many? col : a | b row 1 : c | d`.
//!
//! Reference: `TapexTokenizer` in `transformers/models/deprecated/tapex/tokenization_tapex.py` of transformers 4.57.

use serde_json::Value;

use super::Table;
use crate::text::{TextError, Tokenizer, characters::is_python_space, special_tokens::object};

const CONFIG: &str = "tokenizer_config.json";
const CLASS: &str = "TapexTokenizer";

/// Tokens of a cell, where the files say nothing.
const CELL_LENGTH: usize = 15;

pub struct FlatTables {
    tokenizer: Tokenizer,
    lowercases: bool,
    cell_length: usize,
}

impl FlatTables {
    /// Whether the tokenizer of this `tokenizer_config.json` is meant for tables.
    pub fn are_meant(tokenizer_config: &Value) -> bool {
        tokenizer_config.get("tokenizer_class").and_then(Value::as_str) == Some(CLASS)
    }

    /// `tokenizer_config` is the text of that file.
    pub fn new(tokenizer: Tokenizer, tokenizer_config: Option<&str>) -> Result<Self, TextError> {
        const LENGTH: &str = "max_cell_length";
        let config = object(CONFIG, tokenizer_config)?;
        let length = match config.get(LENGTH) {
            None | Some(Value::Null) => Ok(CELL_LENGTH),
            Some(value) => value.as_u64().map(|length| length as usize).ok_or(TextError::Field {
                file: CONFIG,
                field: LENGTH.to_owned(),
                expected: "a number of 0 or more",
            }),
        };
        Ok(Self {
            tokenizer,
            lowercases: config.get("do_lower_case").and_then(Value::as_bool).unwrap_or(true),
            cell_length: length?,
        })
    }

    /// The text, with long cells cut.
    pub fn text(&self, question: &str, table: &Table) -> Result<String, TextError> {
        let mut lines = vec![format!("{question} col : {}", table.columns.join(" | "))];
        for (row, number) in table.rows.iter().zip(1..) {
            let cells: Vec<String> =
                row.iter().map(|cell| self.cut(cell)).collect::<Result<_, _>>()?;
            lines.push(format!("row {number} : {}", cells.join(" | ")));
        }
        let text = lines.join(" ");
        let text = text.trim_end_matches(is_python_space);
        Ok(if self.lowercases { text.to_lowercase() } else { text.to_owned() })
    }

    /// A cell as its first tokens say it, where it has many.
    fn cut(&self, cell: &str) -> Result<String, TextError> {
        if cell.chars().all(is_python_space) {
            return Ok(cell.to_owned());
        }
        let lower: String = if self.lowercases {
            // One by one, so that no letter depends on its neighbours.
            cell.chars().flat_map(char::to_lowercase).collect()
        } else {
            cell.to_owned()
        };
        let ids = self.tokenizer.encode(&lower, false)?.ids;
        if ids.len() < self.cell_length {
            return Ok(cell.to_owned());
        }
        self.tokenizer.decode(&ids[..self.cell_length], false)
    }
}

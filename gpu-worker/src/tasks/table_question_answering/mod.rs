//! `table-question-answering`: a question and a table in, cells of the table out, or a text about it.
//!
//! Reference: `transformers/pipelines/table_question_answering.py`.

mod cells;
mod flat;
mod pipeline;

use proto::{InferRequest, TableQuestionAnsweringRequest, infer_request::Input};

pub use self::{
    cells::processor as choosing,
    flat::{misfit, processor as writing},
    pipeline::TablePipeline,
};
use super::texts::check_texts;
use crate::{
    failure::{Code, Failure},
    text::Table,
};

const MAX_CELLS: usize = 1 << 16;
/// Bytes of all cells of a table.
const MAX_BYTES: usize = 1 << 20;

const QUESTION: &str = "inputs.question";
const TABLE: &str = "inputs.table";

/// What is asked about which table.
struct Asked {
    question: String,
    table: Table,
    truncate: bool,
}

impl Asked {
    fn of(request: &InferRequest) -> Result<Self, Failure> {
        let Some(Input::TableQuestionAnswering(TableQuestionAnsweringRequest { inputs, options })) =
            &request.input
        else {
            return Err(Failure::invalid("input", "is not for table-question-answering"));
        };
        let inputs = inputs.clone().unwrap_or_default();
        let question = inputs.question.ok_or_else(|| Failure::invalid(QUESTION, "is missing"))?;
        check_texts(QUESTION, std::slice::from_ref(&question))?;
        if question.is_empty() {
            return Err(Failure::invalid(QUESTION, "is empty"));
        }
        let table = inputs.table.ok_or_else(|| Failure::invalid(TABLE, "is missing"))?;
        let table = Table {
            columns: table.columns,
            rows: table.rows.into_iter().map(|row| row.cells).collect(),
        };
        check(&table)?;
        Ok(Self {
            question,
            table,
            truncate: options.as_ref().and_then(|asked| asked.truncate) == Some(true),
        })
    }
}

fn check(table: &Table) -> Result<(), Failure> {
    let (columns, rows) = (table.columns.len(), table.rows.len());
    if columns == 0 || rows == 0 {
        let lacks = if columns == 0 { "columns" } else { "rows" };
        return Err(Failure::invalid(TABLE, format!("has no {lacks}")));
    }
    let ragged = |row: &(usize, &Vec<String>)| row.1.len() != columns;
    if let Some((at, row)) = table.rows.iter().enumerate().find(ragged) {
        let message = format!("has {} cells in row {at}, and {columns} columns", row.len());
        return Err(Failure::invalid(TABLE, message).number("row", at as u64));
    }
    let too_large = |what: &str, size: usize, limit: usize| {
        let message = format!("{TABLE} has {size} {what}, the limit is {limit}");
        Failure::new(Code::PayloadTooLarge, message)
            .at(TABLE)
            .number("size", size as u64)
            .number("limit", limit as u64)
    };
    let cells = columns.saturating_mul(rows + 1);
    if cells > MAX_CELLS {
        return Err(too_large("cells", cells, MAX_CELLS));
    }
    let bytes: usize = table.rows.iter().flatten().chain(&table.columns).map(String::len).sum();
    if bytes > MAX_BYTES {
        return Err(too_large("bytes", bytes, MAX_BYTES));
    }
    Ok(())
}

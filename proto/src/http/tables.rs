//! `Table` is a list of rows of which the first is the header, a list of objects, or an object of columns; a cell of the
//! answer is `[row, column]`.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use serde_json::{Map, Value};
use utoipa::{PartialSchema, ToSchema, openapi::RefOr, openapi::schema::Schema};

use crate::{Table, TableAnswerOutput, TableRow};

/// Texts; numbers are taken as they are written.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it is there for its schema")]
enum Cell {
    /// A text.
    Text(String),
    /// A number.
    Number(f64),
}

/// A table.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it is there for its schema")]
enum Spelled {
    /// Rows, of which the first is the header.
    Rows(Vec<Vec<Cell>>),
    /// A row each, whose fields are the columns.
    Objects(Vec<std::collections::BTreeMap<String, Cell>>),
    /// Columns by their names.
    Columns(std::collections::BTreeMap<String, Vec<Cell>>),
}

impl PartialSchema for Table {
    fn schema() -> RefOr<Schema> {
        Spelled::schema()
    }
}

impl ToSchema for Table {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Spelled::schemas(schemas);
    }
}

impl<'de> Deserialize<'de> for Table {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = match Value::deserialize(deserializer)? {
            Value::Object(columns) => of_columns(columns),
            Value::Array(rows) => match rows.first() {
                Some(Value::Object(_)) => of_objects(rows),
                _ => of_rows(rows),
            },
            other => Err(format!(
                "expected a list of rows, a list of objects or an object of columns, found {}",
                kind(&other)
            )),
        };
        read.map_err(D::Error::custom)
    }
}

fn of_rows(rows: Vec<Value>) -> Result<Table, String> {
    let mut rows = rows.into_iter().enumerate().map(|(at, row)| match row {
        Value::Array(cells) => {
            let cells = cells.into_iter().enumerate();
            cells.map(|(column, value)| cell(value, || format!("[{at}][{column}]"))).collect()
        }
        other => Err(format!("[{at}] is {}, expected a list like the first", kind(&other))),
    });
    let columns: Vec<String> = rows.next().transpose()?.unwrap_or_default();
    let rows = rows.zip(1..).map(|(cells, at)| {
        let cells: Vec<String> = cells?;
        check_width(cells.len(), columns.len(), at)?;
        Ok(TableRow { cells })
    });
    let rows = rows.collect::<Result<_, String>>()?;
    Ok(Table { columns, rows })
}

fn check_width(cells: usize, columns: usize, at: usize) -> Result<(), String> {
    if cells == columns {
        return Ok(());
    }
    Err(format!("[{at}] has {cells} cells, the header has {columns}"))
}

fn of_objects(rows: Vec<Value>) -> Result<Table, String> {
    let mut columns: Vec<String> = Vec::new();
    let rows = rows.into_iter().enumerate().map(|(at, row)| {
        let Value::Object(mut fields) = row else {
            return Err(format!("[{at}] is {}, expected an object like the first", kind(&row)));
        };
        if at == 0 {
            columns = fields.keys().cloned().collect();
        }
        let cells = columns.iter().map(|column| {
            let value = fields.remove(column);
            let value =
                value.ok_or_else(|| format!("[{at}] has no {column:?}, unlike the first"))?;
            cell(value, || format!("[{at}].{column}"))
        });
        let cells = cells.collect::<Result<_, String>>()?;
        match fields.keys().next() {
            Some(name) => Err(format!("[{at}] has {name:?}, unlike the first")),
            None => Ok(TableRow { cells }),
        }
    });
    let rows = rows.collect::<Result<_, String>>()?;
    Ok(Table { columns, rows })
}

fn of_columns(fields: Map<String, Value>) -> Result<Table, String> {
    let mut table = Table::default();
    for (name, values) in fields {
        let Value::Array(values) = values else {
            return Err(format!(".{name} is {}, expected a list of cells", kind(&values)));
        };
        if table.columns.is_empty() {
            table.rows.resize(values.len(), TableRow::default());
        }
        if values.len() != table.rows.len() {
            let (found, first) = (values.len(), table.rows.len());
            return Err(format!(".{name} has {found} cells, the first column has {first}"));
        }
        for (at, (value, row)) in values.into_iter().zip(&mut table.rows).enumerate() {
            row.cells.push(cell(value, || format!(".{name}[{at}]"))?);
        }
        table.columns.push(name);
    }
    Ok(table)
}

fn cell(value: Value, place: impl Fn() -> String) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(format!("{} is {}, expected a text or a number", place(), kind(&other))),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// As rows.
impl Serialize for Table {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rows = self.rows.iter().map(|row| &row.cells);
        serializer.collect_seq(std::iter::once(&self.columns).chain(rows))
    }
}

/// What answers the question.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TableAnswer {
    /// The texts of the chosen cells, after what is to be done with them (`SUM > 1, 2`), or what the model wrote.
    answer: String,
    /// Row and column of the chosen cells, from 0 on, the header not counted; none where the model writes.
    coordinates: Vec<[u32; 2]>,
    /// Their texts.
    cells: Vec<String>,
    /// What is to be done with them, where the model says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    aggregator: Option<String>,
}

impl From<TableAnswerOutput> for TableAnswer {
    fn from(output: TableAnswerOutput) -> Self {
        let TableAnswerOutput { answer, coordinates, cells, aggregator } = output;
        let coordinates = coordinates.iter().map(|place| [place.row, place.column]).collect();
        Self { answer, coordinates, cells, aggregator }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{CellPlace, TableQuestionAnsweringInputs, http::TaskOutput, infer_result::Output};

    fn read(value: Value) -> Result<Table, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn a_table_is_the_same_however_it_is_written() {
        let rows = json!([["b", "a"], ["1", "x"], ["2.5", ""]]);
        let table = read(rows.clone()).unwrap();
        assert_eq!(table.columns, ["b", "a"]);
        assert_eq!(table.rows[1].cells, ["2.5", ""]);
        let objects = json!([{"b": 1, "a": "x"}, {"a": "", "b": 2.5}]);
        assert_eq!(read(objects).unwrap(), table);
        assert_eq!(read(json!({"b": ["1", 2.5], "a": ["x", ""]})).unwrap(), table);
        assert_eq!(serde_json::to_value(&table).unwrap(), rows);
    }

    #[test]
    fn what_is_no_table_says_where() {
        for (value, says) in [
            (json!("a"), "found a string"),
            (json!([["a", "b"], ["1"]]), "[1] has 1 cells, the header has 2"),
            (json!([["a"], "1"]), "[1] is a string"),
            (json!([["a"], [null]]), "[1][0] is null"),
            (json!([{"a": "1"}, {"b": "1"}]), "[1] has no \"a\""),
            (json!([{"a": "1"}, {"a": "1", "b": "2"}]), "[1] has \"b\""),
            (json!([{"a": true}]), "[0].a is a truth value"),
            (json!([{"a": "1"}, ["1"]]), "[1] is a list"),
            (json!({"a": ["1", "2"], "b": ["1"]}), ".b has 1 cells, the first column has 2"),
            (json!({"a": "1"}), ".a is a string"),
            (json!({"a": [["1"]]}), ".a[0] is a list"),
        ] {
            let error = read(value.clone()).unwrap_err();
            assert!(error.contains(says), "{value}: {error}");
        }
        assert_eq!(read(json!([])).unwrap(), Table::default());
        assert_eq!(read(json!({})).unwrap(), Table::default());
    }

    #[test]
    fn a_question_may_be_called_a_query() {
        let inputs: TableQuestionAnsweringInputs =
            serde_json::from_value(json!({"query": "Why?", "table": [["a"], ["1"]]})).unwrap();
        assert_eq!(inputs.question.as_deref(), Some("Why?"));
    }

    #[test]
    fn coordinates_are_pairs() {
        let output = Output::TableAnswer(TableAnswerOutput {
            answer: "SUM > 1".into(),
            coordinates: vec![CellPlace { row: 2, column: 1 }],
            cells: vec!["1".into()],
            aggregator: Some("SUM".into()),
        });
        let shape = json!({
            "answer": "SUM > 1", "coordinates": [[2, 1]], "cells": ["1"], "aggregator": "SUM",
        });
        assert_eq!(serde_json::to_value(TaskOutput::from(output)).unwrap(), shape);
    }
}

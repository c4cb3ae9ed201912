//! For models that choose cells: the table as tokens, and the scores of tokens as cells.
//!
//! Reference: `convert_logits_to_predictions` in `transformers/models/tapas/tokenization_tapas.py`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use proto::{CellPlace, InferRequest, TableAnswerOutput, infer_result::Output};
use serde_json::Value;

use super::{Asked, QUESTION, TABLE};
use crate::{
    failure::{Code, Failure},
    tasks::{Files, Made, Prepared, Processor, TableRow, TableScores, Work, token_reader},
    text::{CHANNELS, Table, TableEncoder, TableError},
};

/// Cells that are likelier than this are chosen.
const THRESHOLD: f64 = 0.5;

/// What the channels count, as far as there can be too much of it.
const COUNTED: [(usize, &str); 4] =
    [(1, "columns"), (2, "rows"), (4, "different values"), (5, "different values")];

pub fn processor(files: &Files) -> Result<Arc<dyn Processor>, Failure> {
    let config = files.json("config.json")?.unwrap_or_default();
    let tokenizer = crate::tasks::tokenizer(files)?;
    let encoder = TableEncoder::new(tokenizer, files.text("tokenizer_config.json"))
        .map_err(|error| Failure::new(Code::FormatNotSupported, error.to_string()))?;
    let positions = count(&config, "max_position_embeddings");
    Ok(Arc::new(Chooser {
        max_tokens: positions.map_or(encoder.max_length(), |most| most.min(encoder.max_length())),
        sizes: sizes(&config),
        aggregations: Aggregations::of(&config)?,
        encoder,
    }))
}

struct Chooser {
    encoder: TableEncoder,
    max_tokens: usize,
    /// Numbers of each channel are below these, where the config says so.
    sizes: Option<[u32; CHANNELS]>,
    aggregations: Option<Aggregations>,
}

/// What can be done with cells.
#[derive(Clone, Debug)]
struct Aggregations {
    names: BTreeMap<usize, String>,
    /// Which of them is nothing.
    none: Option<usize>,
}

fn count(config: &Value, name: &str) -> Option<usize> {
    config.get(name).and_then(Value::as_u64).map(|count| count as usize)
}

fn sizes(config: &Value) -> Option<[u32; CHANNELS]> {
    serde_json::from_value(config.get("type_vocab_sizes")?.clone()).ok()
}

impl Aggregations {
    /// `None` where the config names none.
    fn of(config: &Value) -> Result<Option<Self>, Failure> {
        let wrong = || {
            let message = "config.json: `aggregation_labels` must name each label by its number";
            Failure::new(Code::FormatNotSupported, message).text("field", "aggregation_labels")
        };
        let labels = match config.get("aggregation_labels") {
            None | Some(Value::Null) => return Ok(None),
            Some(labels) => labels.as_object().ok_or_else(wrong)?,
        };
        let n_labels = count(config, "num_aggregation_labels").unwrap_or(0);
        if labels.is_empty() || n_labels == 0 {
            return Ok(None);
        }
        let read = |(number, name): (&String, &Value)| {
            Some((number.parse().ok()?, name.as_str()?.to_owned()))
        };
        let names: Option<BTreeMap<usize, String>> = labels.iter().map(read).collect();
        let names = names.ok_or_else(wrong)?;
        if (0..n_labels).any(|number| !names.contains_key(&number)) {
            return Err(wrong());
        }
        Ok(Some(Self { names, none: count(config, "no_aggregation_label_index") }))
    }
}

impl Processor for Chooser {
    fn prepare(&self, request: &InferRequest) -> Result<Prepared, Failure> {
        let Asked { question, table, truncate } = Asked::of(request)?;
        let tokens = self.encoder.encode(&question, &table, truncate, self.max_tokens);
        let tokens = tokens.map_err(|error| refusal(&error, truncate))?;
        let n_tokens = tokens.ids.len();
        if tokens.rows == 0 {
            let message = "question and header leave no room for a row";
            return Err(Failure::new(Code::InputTooLong, message)
                .at(TABLE)
                .number("limit", self.max_tokens as u64));
        }
        self.check_channels(&tokens.channels)?;
        let row = TableRow { ids: tokens.ids, channels: tokens.channels };
        let places: Vec<Option<(u32, u32)>> = row.channels.iter().map(place).collect();
        let aggregations = self.aggregations.clone();
        Ok(Prepared {
            work: Work::AskTable(row),
            finish: Box::new(move |made| {
                let Made::Table(scores) = made else {
                    return Err(failed("the lane made no scores of a table"));
                };
                let output = answer(&table, &places, &scores, aggregations.as_ref())?;
                Ok(Output::TableAnswer(output))
            }),
            prompt_tokens: Some(n_tokens as u32),
            seed: None,
        })
    }
}

impl Chooser {
    fn check_channels(&self, channels: &[[u32; CHANNELS]]) -> Result<(), Failure> {
        let Some(sizes) = self.sizes else { return Ok(()) };
        for (channel, what) in COUNTED {
            let most = channels.iter().map(|numbers| numbers[channel]).max().unwrap_or(0);
            let limit = sizes[channel].saturating_sub(1);
            if most > limit {
                let message = format!("has {most} {what}, the model takes {limit}");
                return Err(Failure::invalid(TABLE, message)
                    .number("size", most.into())
                    .number("limit", limit.into()));
            }
        }
        Ok(())
    }
}

fn refusal(error: &TableError, truncated: bool) -> Failure {
    let (field, limit) = match *error {
        TableError::Columns { limit, .. } | TableError::Rows { limit, .. } => (TABLE, limit),
        TableError::Question { most, .. } => (QUESTION, most),
        TableError::Length { tokens, limit } => {
            let way_out = match truncated {
                true => " even without its rows",
                false => "; options.truncate leaves out what does not fit",
            };
            return token_reader::too_long(TABLE, tokens, limit, way_out);
        }
        TableError::Special(_) => {
            return Failure::new(Code::FormatNotSupported, error.to_string());
        }
        TableError::Text(_) => return Failure::invalid(QUESTION, error.to_string()),
    };
    Failure::invalid(field, error.to_string()).number("limit", limit as u64)
}

fn failed(message: &str) -> Failure {
    Failure::new(Code::InferenceFailed, message)
}

/// Row and column of a token of a cell, from 0 on; those of the header are in none.
fn place(channels: &[u32; CHANNELS]) -> Option<(u32, u32)> {
    let [_, column, row, ..] = *channels;
    Some((row.checked_sub(1)?, column.checked_sub(1)?))
}

fn answer(
    table: &Table,
    places: &[Option<(u32, u32)>],
    scores: &TableScores,
    aggregations: Option<&Aggregations>,
) -> Result<TableAnswerOutput, Failure> {
    if scores.tokens.len() != places.len() {
        return Err(failed("the lane made scores of another size"));
    }
    if scores.tokens.iter().chain(&scores.aggregations).any(|score| !score.is_finite()) {
        return Err(failed("the model's output is not finite"));
    }
    let coordinates = chosen(places, &scores.tokens);
    let cells: Vec<String> = coordinates
        .iter()
        .map(|place| table.rows[place.row as usize][place.column as usize].clone())
        .collect();
    let joined = cells.join(", ");
    let Some(aggregations) = aggregations else {
        return Ok(TableAnswerOutput { answer: joined, coordinates, cells, aggregator: None });
    };
    let best = scores.aggregations.iter().enumerate().rev().max_by(|a, b| a.1.total_cmp(b.1));
    let best =
        best.map(|(number, _)| number).ok_or_else(|| failed("the lane made no aggregation"))?;
    let name =
        aggregations.names.get(&best).ok_or_else(|| failed("the aggregation has no name"))?;
    let answer =
        if aggregations.none == Some(best) { joined } else { format!("{name} > {joined}") };
    // An empty name is none, as in the reference.
    let aggregator = Some(name.clone()).filter(|name| !name.is_empty());
    Ok(TableAnswerOutput { answer, coordinates, cells, aggregator })
}

/// The cells whose tokens are likely on average, by rows.
fn chosen(places: &[Option<(u32, u32)>], logits: &[f32]) -> Vec<CellPlace> {
    let mut of_cells: HashMap<(u32, u32), (f64, u32)> = HashMap::new();
    for (place, logit) in places.iter().zip(logits) {
        if let Some(place) = place {
            let (sum, count) = of_cells.entry(*place).or_default();
            *sum += f64::from(1.0 / (1.0 + (-logit.max(-88.7)).exp()));
            *count += 1;
        }
    }
    let likely =
        of_cells.into_iter().filter(|(_, (sum, count))| sum / f64::from(*count) > THRESHOLD);
    let mut cells: Vec<(u32, u32)> = likely.map(|(place, _)| place).collect();
    cells.sort_unstable();
    cells.into_iter().map(|(row, column)| CellPlace { row, column }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn table() -> Table {
        Table {
            columns: vec!["a".into(), "b".into()],
            rows: vec![vec!["1".into(), "x".into()], vec!["2".into(), "y z".into()]],
        }
    }

    /// Question, header, and the cells row by row; the last has two tokens.
    fn places() -> Vec<Option<(u32, u32)>> {
        vec![None, None, Some((0, 0)), Some((0, 1)), Some((1, 0)), Some((1, 1)), Some((1, 1))]
    }

    fn found(tokens: [f32; 7], aggregations: &[f32], config: &Value) -> TableAnswerOutput {
        let scores = TableScores { tokens: tokens.to_vec(), aggregations: aggregations.to_vec() };
        let named = Aggregations::of(config).unwrap();
        answer(&table(), &places(), &scores, named.as_ref()).unwrap()
    }

    #[test]
    fn a_cell_is_chosen_when_its_tokens_are_likely_on_average() {
        let output = found([9.0, 9.0, 0.0, -1.0, 0.1, -1.0, 2.0], &[], &json!({}));
        assert_eq!(output.answer, "2, y z");
        let places: Vec<_> =
            output.coordinates.iter().map(|cell| (cell.row, cell.column)).collect();
        assert_eq!((places, output.aggregator), (vec![(1, 0), (1, 1)], None));
    }

    #[test]
    fn what_is_to_be_done_stands_before_the_cells() {
        let config = json!({
            "num_aggregation_labels": 2, "aggregation_labels": {"1": "SUM", "0": "NONE"},
            "no_aggregation_label_index": 0,
        });
        let tokens = [0.0, 0.0, 5.0, -5.0, 5.0, -5.0, -5.0];
        let sum = found(tokens, &[0.0, 1.0], &config);
        assert_eq!((sum.answer.as_str(), sum.aggregator.as_deref()), ("SUM > 1, 2", Some("SUM")));
        let none = found(tokens, &[1.0, 1.0], &config);
        assert_eq!((none.answer.as_str(), none.aggregator.as_deref()), ("1, 2", Some("NONE")));
        let empty = found([-1.0; 7], &[0.0, 1.0], &config);
        assert_eq!((empty.answer.as_str(), empty.cells.len()), ("SUM > ", 0));
    }

    #[test]
    fn labels_without_numbers_are_refused() {
        for labels in [json!(["NONE"]), json!({"0": 1}), json!({"x": "NONE"}), json!({"1": "SUM"})]
        {
            let config = json!({"num_aggregation_labels": 1, "aggregation_labels": labels});
            assert!(Aggregations::of(&config).is_err(), "{labels}");
        }
        assert!(Aggregations::of(&json!({"num_aggregation_labels": 4})).unwrap().is_none());
    }

    #[test]
    fn scores_of_another_size_or_no_numbers_are_no_answer() {
        let answer = |tokens: Vec<f32>| {
            answer(&table(), &places(), &TableScores { tokens, aggregations: Vec::new() }, None)
        };
        assert!(answer(vec![0.0; 6]).is_err());
        assert!(answer(vec![f32::NAN; 7]).is_err());
    }
}

//! `text-ranking` and `text-retrieval`: which of the given texts answer a query best. The first reads the query together
//! with each text, the second compares their vectors.

use proto::{
    RankingInputs, RankingOutput, TextRankingOptions, TextRankingRequest, TextRetrievalOptions,
    TextRetrievalRequest, infer_request::Input,
};
use serde_json::Value;

use super::{Named, Schemas, Sent, Task, read};
use crate::failure::Failure;

pub(super) const TEXT_RANKING: Task = Task {
    id: "text-ranking",
    aliases: &["reranking"],
    summary: "Ranks texts by how well each answers a query, reading both together.",
    example: r#"{"inputs": {"query": "when did the boat leave", "candidates": ["The boat left at noon.", "A red house."]}, "options": {"return_text": true}}"#,
    read: read_ranking,
    schemas: schemas::<TextRankingOptions>(),
    ..RANKS_TEXTS
};

pub(super) const TEXT_RETRIEVAL: Task = Task {
    id: "text-retrieval",
    aliases: &[],
    summary: "Finds the texts that are nearest to a query, by vectors of their meaning.",
    example: r#"{"inputs": {"query": "a small boat", "candidates": ["a little ship", "a red house"]}, "options": {"top_k": 1}}"#,
    read: read_retrieval,
    schemas: schemas::<TextRetrievalOptions>(),
    ..RANKS_TEXTS
};

/// What both have in common.
const RANKS_TEXTS: Task = Task {
    id: "",
    aliases: &[],
    summary: "",
    takes: &["text"],
    makes: &["score"],
    streams: &[],
    required: &[&["query"], &["candidates"]],
    example: "",
    read: read_ranking,
    schemas: schemas::<TextRankingOptions>(),
};

const fn schemas<T: utoipa::ToSchema>() -> Schemas {
    Schemas {
        inputs: Named::of::<RankingInputs>(),
        options: Named::of::<T>(),
        output: Named::of::<RankingOutput>(),
    }
}

fn read_ranking(inputs: Sent, options: Option<Value>) -> Result<Input, Failure> {
    let inputs = read_inputs(&TEXT_RANKING, inputs)?;
    let options: TextRankingOptions = read::options(options)?;
    let request = TextRankingRequest { inputs: Some(inputs), options: Some(options) };
    Ok(Input::TextRanking(request))
}

fn read_retrieval(inputs: Sent, options: Option<Value>) -> Result<Input, Failure> {
    let inputs = read_inputs(&TEXT_RETRIEVAL, inputs)?;
    let options: TextRetrievalOptions = read::options(options)?;
    let request = TextRetrievalRequest { inputs: Some(inputs), options: Some(options) };
    Ok(Input::TextRetrieval(request))
}

fn read_inputs(task: &Task, inputs: Sent) -> Result<RankingInputs, Failure> {
    let inputs: RankingInputs = read::inputs(inputs)?;
    let mut missing = Vec::new();
    missing.extend(inputs.query.is_none().then_some("query"));
    missing.extend(inputs.candidates.is_empty().then_some("candidates"));
    if missing.is_empty() { Ok(inputs) } else { Err(task.missing(&missing)) }
}

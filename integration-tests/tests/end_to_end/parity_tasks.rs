//! The zoo's models of texts through the public API answer what the reference answers.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::harness::{
    assert_alike,
    system::System,
    zoo::{
        self, ANSWER_FINDER, GAP_FILLER, LABEL_CHOOSER, MOOD_READER, NAME_FINDER, PASSAGE_RANKER,
        SUMMARISER, TABLE_READER, TRANSLATOR, list,
    },
};

const TOLERANCE: f64 = 1e-5;

/// Each case one by one, then all at once.
async fn answers_as_the_reference(model_id: &str) {
    let system = System::shared().await;
    let api = system.api();
    let expected = zoo::parity(model_id);
    let cases = list(&expected["cases"]);
    let request = |case: &Value| {
        json!({
            "model_id": model_id, "task": case["task"], "inputs": case["inputs"],
            "options": case["options"],
        })
    };
    let requests: Vec<Value> = cases.iter().map(request).collect();
    for (request, case) in requests.iter().zip(cases) {
        let output = api.output(request).await;
        assert_alike(&case.to_string(), &output, &case["output"], TOLERANCE);
    }
    let outputs = join_all(requests.iter().map(|request| api.output(request))).await;
    for (output, case) in outputs.iter().zip(cases) {
        assert_alike(&format!("together: {case}"), output, &case["output"], TOLERANCE);
    }
}

#[tokio::test]
async fn translations_are_those_of_the_reference() {
    answers_as_the_reference(TRANSLATOR).await;
}

#[tokio::test]
async fn filled_gaps_are_those_of_the_reference() {
    answers_as_the_reference(GAP_FILLER).await;
}

#[tokio::test]
async fn moods_are_those_of_the_reference() {
    answers_as_the_reference(MOOD_READER).await;
}

#[tokio::test]
async fn names_in_texts_are_those_of_the_reference() {
    answers_as_the_reference(NAME_FINDER).await;
}

#[tokio::test]
async fn answers_from_texts_are_those_of_the_reference() {
    answers_as_the_reference(ANSWER_FINDER).await;
}

#[tokio::test]
async fn chosen_labels_are_those_of_the_reference() {
    answers_as_the_reference(LABEL_CHOOSER).await;
}

#[tokio::test]
async fn ranked_passages_are_those_of_the_reference() {
    answers_as_the_reference(PASSAGE_RANKER).await;
}

#[tokio::test]
async fn answers_from_tables_are_those_of_the_reference() {
    answers_as_the_reference(TABLE_READER).await;
}

#[tokio::test]
async fn summaries_are_those_of_the_reference() {
    answers_as_the_reference(SUMMARISER).await;
}

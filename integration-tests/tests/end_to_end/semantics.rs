//! The answers make sense: a program made the data of the zoo, so it knows what is right.

use futures::{StreamExt, stream};
use serde_json::{Value, json};

use crate::harness::{
    system::System,
    zoo::{self, SENTENCES, SHAPES, STORYTELLER, assert_share, list},
};

/// Requests in flight: the server puts them together into batches.
const AT_ONCE: usize = 8;

/// Answers in the order of the requests.
async fn outputs(requests: Vec<Value>) -> Vec<Value> {
    let system = System::shared().await;
    let api = &system.api();
    stream::iter(requests)
        .map(|request| async move { api.output(&request).await })
        .buffered(AT_ONCE)
        .collect()
        .await
}

#[tokio::test]
async fn stories_tell_of_what_was_asked_for() {
    let (cases, least) = zoo::cases(STORYTELLER);
    let request = |case: &Value| {
        let inputs = match case.get("messages") {
            Some(messages) => json!({"messages": messages}),
            None => json!({"text": case["prompt"]}),
        };
        json!({"model_id": STORYTELLER, "inputs": inputs, "options": {"do_sample": false, "max_new_tokens": 160}})
    };
    let outputs = outputs(cases.iter().map(request).collect()).await;
    let mut wrong = Vec::new();
    for (case, output) in cases.iter().zip(&outputs) {
        let story = output["text"].as_str().expect("a text");
        if !list(&case["wanted"]).iter().all(|it| story.contains(it.as_str().expect("a word"))) {
            wrong.push(format!("{case}: {story}"));
        }
    }
    assert_share("stories", cases.len(), &wrong, least);
}

#[tokio::test]
async fn a_paraphrase_is_nearer_than_another_sentence() {
    let (cases, least) = zoo::cases(SENTENCES);
    let request = |case: &Value| {
        let inputs = json!({"source_sentence": case["anchor"], "sentences": [case["paraphrase"], case["other"]]});
        json!({"model_id": SENTENCES, "inputs": inputs})
    };
    let outputs = outputs(cases.iter().map(request).collect()).await;
    let mut wrong = Vec::new();
    for (case, output) in cases.iter().zip(&outputs) {
        let scores = zoo::numbers(&output["scores"]);
        if scores[0] <= scores[1] {
            wrong.push(format!("{case}: {scores:?}"));
        }
    }
    assert_share("paraphrases", cases.len(), &wrong, least);
}

#[tokio::test]
async fn pictures_are_called_what_they_show() {
    let (cases, least) = zoo::cases(SHAPES);
    let request = |case: &Value| {
        let picture = zoo::picture(case["file"].as_str().expect("a file"));
        json!({"model_id": SHAPES, "inputs": {"image_base64": picture}, "options": {"top_k": 1}})
    };
    let outputs = outputs(cases.iter().map(request).collect()).await;
    let mut wrong = Vec::new();
    for (case, output) in cases.iter().zip(&outputs) {
        let best = &output["predictions"][0]["label"];
        if *best != case["label"] {
            wrong.push(format!("{case}: {best}"));
        }
    }
    assert_share("pictures", cases.len(), &wrong, least);
}

//! The answers make sense: a program made the data of the zoo, so it knows what is right.

use futures::{StreamExt, stream};
use image::{
    RgbImage,
    imageops::{FilterType, resize},
};
use serde_json::{Value, json};

use crate::harness::{
    enhancers::{base64, pixels},
    system::System,
    zoo::{
        self, ANSWER_FINDER, GAP_FILLER, LABEL_CHOOSER, MOOD_READER, NAME_FINDER, PAINTER,
        PASSAGE_RANKER, SENTENCES, SHAPES, STORYTELLER, SUMMARISER, TABLE_READER, TRANSLATOR,
        UPSCALER, list,
    },
};

/// Requests in flight: the server puts them together into batches.
const AT_ONCE: usize = 8;

/// Asks every held-out case of a model. `request` makes inputs and options of a case, `is_right` takes the case and the
/// task's output.
async fn assert_right(
    model_id: &str,
    request: impl Fn(&Value) -> Value,
    is_right: impl Fn(&Value, &Value) -> bool,
) {
    let (cases, least) = zoo::cases(model_id);
    let system = System::shared().await;
    let api = &system.api();
    let requests = cases.iter().map(|case| {
        let mut request = request(case);
        request["model_id"] = json!(model_id);
        request
    });
    let outputs: Vec<Value> = stream::iter(requests.collect::<Vec<_>>())
        .map(|request| async move { api.output(&request).await })
        .buffered(AT_ONCE)
        .collect()
        .await;
    let answers = cases.iter().zip(&outputs);
    let wrong: Vec<String> = answers
        .filter(|(case, output)| !is_right(case, output))
        .map(|(case, output)| format!("{case}: {output}"))
        .collect();
    zoo::assert_share(model_id, cases.len(), &wrong, least);
}

#[tokio::test]
async fn stories_tell_of_what_was_asked_for() {
    let request = |case: &Value| {
        let inputs = match case.get("messages") {
            Some(messages) => json!({"messages": messages}),
            None => json!({"text": case["prompt"]}),
        };
        json!({"inputs": inputs, "options": {"do_sample": false, "max_new_tokens": 160}})
    };
    let is_right = |case: &Value, output: &Value| {
        let story = output["text"].as_str().expect("a text");
        list(&case["wanted"]).iter().all(|it| story.contains(it.as_str().expect("a word")))
    };
    assert_right(STORYTELLER, request, is_right).await;
}

#[tokio::test]
async fn a_paraphrase_is_nearer_than_another_sentence() {
    let request = |case: &Value| {
        let sentences = [&case["paraphrase"], &case["other"]];
        json!({"inputs": {"source_sentence": case["anchor"], "sentences": sentences}})
    };
    let is_right = |_: &Value, output: &Value| {
        let scores = zoo::numbers(&output["scores"]);
        scores[0] > scores[1]
    };
    assert_right(SENTENCES, request, is_right).await;
}

#[tokio::test]
async fn pictures_are_called_what_they_show() {
    let request = |case: &Value| {
        let picture = zoo::picture(case["file"].as_str().expect("a file"));
        json!({"inputs": {"image_base64": picture}, "options": {"top_k": 1}})
    };
    let is_right =
        |case: &Value, output: &Value| output["predictions"][0]["label"] == case["label"];
    assert_right(SHAPES, request, is_right).await;
}

#[tokio::test]
async fn sentences_are_translated() {
    let request = |case: &Value| json!({"inputs": {"text": case["text"]}});
    let is_right = |case: &Value, output: &Value| output["text"] == case["translation"];
    assert_right(TRANSLATOR, request, is_right).await;
}

#[tokio::test]
async fn paintings_show_what_was_asked_for() {
    let (cases, least) = zoo::cases(PAINTER);
    let system = System::shared().await;
    let api = &system.api();
    let looked_at = cases.iter().map(|case| async move {
        let inputs = json!({"text": case["text"]});
        let asked = json!({"model_id": PAINTER, "inputs": inputs, "options": case["options"]});
        let painted = api.output(&asked).await;
        let inputs = json!({"image_base64": painted["images"][0]["image_base64"]});
        let judged = json!({"model_id": SHAPES, "inputs": inputs, "options": {"top_k": 1}});
        let seen = api.output(&judged).await["predictions"][0]["label"].take();
        (seen != case["label"]).then(|| format!("{case}: {seen}"))
    });
    let wrong: Vec<Option<String>> = stream::iter(looked_at).buffered(AT_ONCE).collect().await;
    let wrong: Vec<String> = wrong.into_iter().flatten().collect();
    zoo::assert_share(PAINTER, cases.len(), &wrong, least);
}

/// Peak signal-to-noise ratio, in decibels.
fn nearness(found: &RgbImage, truth: &RgbImage) -> f64 {
    assert_eq!(found.dimensions(), truth.dimensions());
    let squared = |(found, truth): (&u8, &u8)| f64::from(found.abs_diff(*truth)).powi(2);
    let error: f64 = found.iter().zip(truth.iter()).map(squared).sum();
    10.0 * (255.0_f64.powi(2) * truth.len() as f64 / error.max(1.0)).log10()
}

#[tokio::test]
async fn enlarged_pictures_are_nearer_to_the_truth_than_interpolated_ones() {
    let (cases, _) = zoo::cases(UPSCALER);
    let system = System::shared().await;
    let api = system.api();
    let mut gains = Vec::new();
    for case in &cases {
        let small = zoo::picture_of(UPSCALER, &case["file"]);
        let of = |file: &[u8]| image::load_from_memory(file).expect("a picture").to_rgb8();
        let truth = of(&zoo::picture_of(UPSCALER, &case["truth"]));
        let asked = json!({"model_id": UPSCALER, "inputs": {"image_base64": base64(&small)}});
        let enlarged = pixels(&api.output(&asked).await);
        // Catmull and Rom's is the cubic that Pillow calls bicubic.
        let (width, height) = truth.dimensions();
        let bicubic = resize(&of(&small), width, height, FilterType::CatmullRom);
        gains.push(nearness(&enlarged, &truth) - nearness(&bicubic, &truth));
    }
    let gain = gains.iter().sum::<f64>() / gains.len() as f64;
    println!("{UPSCALER}: {gain:.2} dB nearer than bicubic interpolation: {gains:.2?}");
    assert!(gain >= zoo::least_gain(UPSCALER), "{gain} dB on average: {gains:?}");
    assert!(gains.iter().all(|gain| *gain > 0.0), "{gains:?}");
}

#[tokio::test]
async fn gaps_are_filled_with_what_the_text_tells() {
    let request = |case: &Value| json!({"inputs": {"text": case["text"]}, "options": {"top_k": 1}});
    let is_right = |case: &Value, output: &Value| {
        let best = &output["masks"][0]["predictions"][0]["token_str"];
        list(&case["words"]).contains(best)
    };
    assert_right(GAP_FILLER, request, is_right).await;
}

#[tokio::test]
async fn praise_and_blame_are_told_apart() {
    let request = |case: &Value| json!({"inputs": {"text": case["text"]}, "options": {"top_k": 1}});
    let is_right =
        |case: &Value, output: &Value| output["predictions"][0]["label"] == case["label"];
    assert_right(MOOD_READER, request, is_right).await;
}

#[tokio::test]
async fn people_towns_and_companies_are_found() {
    let request = |case: &Value| json!({"inputs": {"text": case["text"]}});
    let is_right = |case: &Value, output: &Value| {
        let text: Vec<char> = case["text"].as_str().expect("a text").chars().collect();
        let found = list(&output["entities"]).iter().map(|entity| {
            let at = |end: &str| entity[end].as_u64().expect("a place") as usize;
            let name: String = text[at("start")..at("end")].iter().collect();
            json!([entity["entity_group"], name])
        });
        found.eq(list(&case["entities"]).iter().cloned())
    };
    assert_right(NAME_FINDER, request, is_right).await;
}

#[tokio::test]
async fn questions_are_answered_from_the_text() {
    let request = |case: &Value| json!({"inputs": {"question": case["question"], "context": case["context"]}});
    let is_right = |case: &Value, output: &Value| output["answer"] == case["answer"];
    assert_right(ANSWER_FINDER, request, is_right).await;
}

#[tokio::test]
async fn questions_are_answered_from_tables() {
    let request =
        |case: &Value| json!({"inputs": {"question": case["question"], "table": case["table"]}});
    let is_right = |case: &Value, output: &Value| {
        output["coordinates"] == case["coordinates"] && output["aggregator"] == case["aggregator"]
    };
    assert_right(TABLE_READER, request, is_right).await;
}

#[tokio::test]
async fn the_label_that_fits_is_chosen() {
    let request =
        |case: &Value| json!({"inputs": {"text": case["text"], "labels": case["labels"]}});
    let is_right =
        |case: &Value, output: &Value| output["predictions"][0]["label"] == case["label"];
    assert_right(LABEL_CHOOSER, request, is_right).await;
}

#[tokio::test]
async fn the_passage_that_answers_comes_first() {
    let request = |case: &Value| {
        let inputs = json!({"query": case["query"], "candidates": case["candidates"]});
        json!({"inputs": inputs, "options": {"top_k": 1}})
    };
    let is_right = |case: &Value, output: &Value| output["results"][0]["index"] == case["best"];
    assert_right(PASSAGE_RANKER, request, is_right).await;
}

#[tokio::test]
async fn stories_are_summarised() {
    let request = |case: &Value| json!({"inputs": {"text": case["text"]}});
    let is_right = |case: &Value, output: &Value| output["text"] == case["summary"];
    assert_right(SUMMARISER, request, is_right).await;
}

//! `zoo/shape-classifier` through the public API gives the reference's scores.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::{
    assert_near,
    system::System,
    zoo::{self, SHAPES, list, numbers},
};

/// The reference's own choice for this processor class.
const BACKEND: &str = "torchvision";

fn request(picture: String, options: Value) -> Value {
    json!({"model_id": SHAPES, "inputs": {"image_base64": picture}, "options": options})
}

/// Scores in the order of the labels in the config.
fn by_label(output: &Value) -> Vec<f64> {
    let config = std::fs::read_to_string(zoo::folder(SHAPES).join("config.json")).expect("there");
    let config: Value = serde_json::from_str(&config).expect("JSON");
    let scores: BTreeMap<&str, f64> = list(&output["predictions"])
        .iter()
        .map(|row| {
            (row["label"].as_str().expect("a label"), row["score"].as_f64().expect("a score"))
        })
        .collect();
    let n_labels = config["id2label"].as_object().expect("labels").len();
    let label = |index: usize| config["id2label"][index.to_string()].as_str().expect("a label");
    (0..n_labels).map(|index| scores[label(index)]).collect()
}

#[tokio::test]
async fn probabilities_and_logits_are_the_references() {
    let system = System::shared().await;
    let api = system.api();
    for case in list(&zoo::parity(SHAPES)["pictures"]) {
        let picture = zoo::picture(case["file"].as_str().expect("a file"));
        let expected = &case[BACKEND];
        let output = api.output(&request(picture.clone(), json!({"top_k": 24}))).await;
        assert_near("score", &by_label(&output), &numbers(&expected["probabilities"]), 1e-4);
        assert_eq!(output["predictions"][0]["label"], expected["label"], "{case}");
        let raw = json!({"top_k": 24, "function_to_apply": "none"});
        let output = api.output(&request(picture, raw)).await;
        assert_near("logit", &by_label(&output), &numbers(&expected["logits"]), 1e-4);
    }
}

#[tokio::test]
async fn a_picture_above_a_message_travels_as_a_blob_and_answers_the_same() {
    let system = System::shared().await;
    let api = system.api();
    let small = zoo::picture_bytes("pictures/held-out-00.png");
    let picture = image::load_from_memory(&small).expect("a picture").to_rgb8();
    // The same pixels as an uncompressed bitmap, with some megabytes after its end.
    let mut large = Vec::new();
    picture
        .write_to(&mut std::io::Cursor::new(&mut large), image::ImageFormat::Bmp)
        .expect("written");
    large.resize(5 << 20, 0);
    let encode = |bytes: &[u8]| {
        use base64::{Engine, engine::general_purpose::STANDARD};
        STANDARD.encode(bytes)
    };
    let uri = format!("data:image/bmp;base64,{}", encode(&large));
    let of_large = api.output(&request(uri, json!({"top_k": 24}))).await;
    let of_small = api.output(&request(encode(&small), json!({"top_k": 24}))).await;
    assert_near("score", &by_label(&of_large), &by_label(&of_small), 1e-6);
}

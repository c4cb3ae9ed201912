//! The zoo's models that make pictures, through the public API: within one level of what the reference makes.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::harness::{
    enhancers::{base64, pixels},
    system::System,
    zoo::{self, PAINTER, UPSCALER, list},
};

/// Each case one by one, then all at once. `request` makes inputs, options and task of a case.
async fn makes_what_the_reference_makes(model_id: &str, request: impl Fn(&Value) -> Value) {
    let system = System::shared().await;
    let api = system.api();
    let expected = zoo::parity(model_id);
    let cases = list(&expected["pictures"]);
    let asked = |case: &Value| {
        let mut request = request(case);
        request["model_id"] = json!(model_id);
        request
    };
    let requests: Vec<Value> = cases.iter().map(asked).collect();
    for (request, case) in requests.iter().zip(cases) {
        assert_same(model_id, case, &api.output(request).await);
    }
    let outputs = join_all(requests.iter().map(|request| api.output(request))).await;
    for (output, case) in outputs.iter().zip(cases) {
        assert_same(model_id, case, output);
    }
}

fn assert_same(model_id: &str, case: &Value, output: &Value) {
    let expected = image::load_from_memory(&zoo::picture_of(model_id, &case["made"]));
    let expected = expected.expect("a picture").to_rgb8();
    let found = pixels(output);
    assert_eq!(found.dimensions(), expected.dimensions(), "{case}");
    let levels = found.iter().zip(expected.iter());
    let most = levels.map(|(found, expected)| found.abs_diff(*expected)).max();
    assert!(most <= Some(1), "{case}: {most:?} levels");
}

#[tokio::test]
async fn paintings_are_those_of_the_reference() {
    let request = |case: &Value| {
        let given = &case["inputs"];
        let mut inputs = json!({"text": given["text"]});
        if given["negative_prompt"].is_string() {
            inputs["negative_prompt"] = given["negative_prompt"].clone();
        }
        for (file, field) in [("image", "image_base64"), ("mask", "mask_base64")] {
            if given[file].is_string() {
                inputs[field] = json!(base64(&zoo::picture_of(PAINTER, &given[file])));
            }
        }
        let task = if given["image"].is_string() { "image-to-image" } else { "text-to-image" };
        json!({"task": task, "inputs": inputs, "options": case["options"]})
    };
    makes_what_the_reference_makes(PAINTER, request).await;
}

#[tokio::test]
async fn enlargements_are_those_of_the_reference() {
    let request = |case: &Value| {
        let picture = base64(&zoo::picture_of(UPSCALER, &case["file"]));
        json!({"task": "image-super-resolution", "inputs": {"image_base64": picture}})
    };
    makes_what_the_reference_makes(UPSCALER, request).await;
}

//! `image-super-resolution` by Stable Diffusion's upscaler, through the public API: what the reference makes, every step of
//! it, and what is refused.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    harness::{
        enhancers,
        events::check_whole,
        painters::{self, Case},
        system::{Setup, System},
    },
    painting::{assert_same, data_uri},
};

const NAME: &str = "pipeline-upscaler";

async fn upscaler() -> (System, TempDir) {
    let hub = tempfile::tempdir().expect("a folder");
    painters::write(hub.path(), NAME);
    (Setup::of(&[hub.path()]).start().await, hub)
}

/// Without its task, which the pipeline's class tells.
fn request(case: &Case) -> Value {
    let mut options = case.request.clone();
    let fields = options.as_object_mut().expect("an object");
    let size = fields.remove("image").expect("a size");
    let image = case.image.as_ref().expect("a picture");
    let mut inputs = json!({"image_base64": data_uri(image, &size)});
    for field in ["text", "negative_prompt"] {
        if let Some(value) = fields.remove(field) {
            inputs[field] = value;
        }
    }
    json!({"model_id": format!("painters/{NAME}"), "inputs": inputs, "options": options})
}

#[tokio::test]
async fn small_pictures_become_what_the_reference_makes_of_them() {
    let (system, _hub) = upscaler().await;
    for case in painters::cases(NAME) {
        let output = system.api().output(&request(&case)).await;
        assert_same(&output, &case.expected, &case.request.to_string());
    }
}

#[tokio::test]
async fn every_step_of_an_enlargement_is_told() {
    let (system, _hub) = upscaler().await;
    let mut request = request(&painters::cases(NAME)[0]);
    request["options"] = json!({"num_inference_steps": 4, "preview_every": 2});
    let events = system.api().stream(&request).await.all().await;
    let done = check_whole(&events);
    assert_eq!(done["result"]["metadata"]["task"], "image-super-resolution", "{done}");
    assert!(done["result"]["metadata"]["seed"].is_u64(), "{done}");
    let image = &done["result"]["task_output"]["images"][0];
    assert_eq!((&image["width"], &image["height"]), (&json!(32), &json!(48)));
    let progress: Vec<&Value> =
        events.iter().filter(|event| event.name == "progress").map(|event| &event.data).collect();
    let previews: Vec<bool> =
        progress.iter().map(|event| event["preview_base64"].is_string()).collect();
    assert_eq!(previews, [false, true, false, false]);
}

#[tokio::test]
async fn what_cannot_be_enlarged_is_refused_by_its_field() {
    let (system, _hub) = upscaler().await;
    let api = system.api();
    let usual = request(&painters::cases(NAME)[0]);
    for (options, code, field) in [
        (json!({"scale": 2}), "invalid_request", "options.scale"),
        (json!({"tile": 64}), "invalid_request", "options.tile"),
        (json!({"noise_level": 351}), "invalid_request", "options.noise_level"),
        (json!({"num_inference_steps": 0}), "invalid_request", "options.num_inference_steps"),
        (json!({"scheduler": "karma"}), "invalid_request", "options.scheduler"),
    ] {
        let mut asked = usual.clone();
        asked["options"] = options;
        let failure = api.infer(&asked).await.fails(422, code);
        assert_eq!(failure["details"]["field"], field, "{failure}");
    }
    for task in ["text-to-image", "image-to-image"] {
        let mut asked = usual.clone();
        asked["task"] = json!(task);
        if task == "text-to-image" {
            asked["inputs"] = json!({"text": "a circle"});
        }
        asked["options"] = json!({});
        let failure = api.infer(&asked).await.fails(501, "task_not_supported");
        let message = failure["message"].as_str().expect("a message");
        assert!(message.contains("image-super-resolution"), "{message}");
    }
}

#[tokio::test]
async fn models_that_do_not_paint_refuse_what_only_painters_look_at() {
    let hub = tempfile::tempdir().expect("a folder");
    enhancers::write(hub.path(), "swin2sr");
    let system = Setup::of(&[hub.path()]).start().await;
    let mut asked = request(&painters::cases(NAME)[0]);
    asked["model_id"] = json!("it/swin2sr");
    asked["task"] = json!("image-super-resolution");
    for (part, field) in [("inputs", "text"), ("options", "noise_level"), ("options", "seed")] {
        let mut asked = asked.clone();
        asked["inputs"] = json!({"image_base64": asked["inputs"]["image_base64"]});
        asked["options"] = json!({});
        asked[part][field] = if field == "text" { json!("a circle") } else { json!(1) };
        let failure = system.api().infer(&asked).await.fails(422, "invalid_request");
        assert_eq!(failure["details"]["field"], format!("{part}.{field}"), "{failure}");
    }
}

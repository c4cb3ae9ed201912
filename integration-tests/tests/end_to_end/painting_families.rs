//! Pipelines of transformers through the public API: what they need, their previews, and what each family refuses.

use std::collections::BTreeSet;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{
    events::check_whole,
    models::change_json,
    painters,
    system::{Setup, System},
};

async fn painters(names: &[&str]) -> (System, TempDir) {
    let hub = tempfile::tempdir().expect("a folder");
    for name in names {
        painters::write(hub.path(), name);
    }
    (Setup::of(&[hub.path()]).start().await, hub)
}

fn request(name: &str, inputs: Value, options: Value) -> Value {
    json!({
        "model_id": format!("painters/{name}"), "task": "text-to-image", "inputs": inputs,
        "options": options,
    })
}

#[tokio::test]
async fn a_family_says_which_task_it_is_for_and_whether_it_would_fit() {
    let (system, _hub) = painters(&["pipeline-flux", "pipeline-sd35"]).await;
    for name in ["pipeline-flux", "pipeline-sd35"] {
        let question = json!({"model_id": format!("painters/{name}")});
        let plan = system.api().post("/api/placement/explain", &question).await.ok();
        assert_eq!(plan["decision"], "load", "{plan}");
        // Nobody says what the model is for but itself.
        let asked = json!({
            "model_id": format!("painters/{name}"), "inputs": {"text": "a circle"},
            "options": {"num_inference_steps": 1, "width": 16, "height": 16},
        });
        let output = system.api().output(&asked).await;
        assert_eq!(output["images"][0]["width"], 16, "{output}");
    }
}

#[tokio::test]
async fn previews_show_what_sixteen_channels_become() {
    let (system, _hub) = painters(&["pipeline-flux"]).await;
    let options = json!({
        "num_inference_steps": 4, "preview_every": 1, "width": 32, "height": 24,
        "max_sequence_length": 32,
    });
    let asked = request("pipeline-flux", json!({"text": "a circle"}), options);
    let events = system.api().stream(&asked).await.all().await;
    check_whole(&events);
    let previews = events.iter().filter(|event| event.data["preview_base64"].is_string()).count();
    assert_eq!(previews, 3);
}

#[tokio::test]
async fn a_family_paints_in_half_precision() {
    let (system, _hub) = painters(&["pipeline-flux", "pipeline-sd3", "pipeline-sd35"]).await;
    for (name, dtype) in [
        ("pipeline-flux", "bfloat16"),
        ("pipeline-flux", "float16"),
        ("pipeline-sd3", "bfloat16"),
        ("pipeline-sd35", "float16"),
    ] {
        let options = json!({
            "num_inference_steps": 2, "seed": 1, "width": 16, "height": 16, "max_sequence_length": 32,
        });
        let mut asked = request(name, json!({"text": "a circle"}), options);
        asked["run"] = json!({"dtype": dtype});
        let answer = system.api().infer(&asked).await.ok();
        assert_eq!(answer["result"]["metadata"]["dtype"], dtype);
        let image = &answer["result"]["task_output"]["images"][0]["image_base64"];
        let (_, payload) = image.as_str().and_then(|uri| uri.split_once(',')).expect("a picture");
        let bytes = BASE64_STANDARD.decode(payload).expect("base64");
        let picture = image::load_from_memory(&bytes).expect("a picture").into_rgb8();
        // Values that were lost on the way would be one colour.
        let levels: BTreeSet<u8> = picture.into_raw().into_iter().collect();
        assert!(levels.len() > 16, "{name} in {dtype}: {levels:?}");
    }
}

#[tokio::test]
async fn what_a_family_has_no_use_for_is_refused_by_its_field() {
    let (system, _hub) = painters(&["pipeline-flux", "pipeline-schnell", "pipeline-sd3"]).await;
    let text = || json!({"text": "a circle"});
    let not = json!({"text": "a circle", "negative_prompt": "a square"});
    let long = json!({"text": "circle ".repeat(600)});
    for (name, inputs, options, code, field) in [
        ("pipeline-flux", not, json!({}), "invalid_request", "inputs.negative_prompt"),
        (
            "pipeline-flux",
            text(),
            json!({"true_cfg_scale": 3}),
            "invalid_request",
            "options.true_cfg_scale",
        ),
        ("pipeline-flux", text(), json!({"clip_skip": 1}), "invalid_request", "options.clip_skip"),
        ("pipeline-flux", text(), json!({"width": 30}), "invalid_request", "options.width"),
        (
            "pipeline-flux",
            text(),
            json!({"max_sequence_length": 1000}),
            "invalid_request",
            "options.max_sequence_length",
        ),
        ("pipeline-flux", long, json!({}), "input_too_long", "inputs.text"),
        (
            "pipeline-schnell",
            text(),
            json!({"guidance_scale": 3.5}),
            "invalid_request",
            "options.guidance_scale",
        ),
        ("pipeline-sd3", text(), json!({"height": 52}), "invalid_request", "options.height"),
        ("pipeline-sd3", text(), json!({"eta": 0.5}), "invalid_request", "options.eta"),
        (
            "pipeline-sd3",
            text(),
            json!({"scheduler": "euler"}),
            "invalid_request",
            "options.scheduler",
        ),
    ] {
        let asked = request(name, inputs, options);
        let failure = system.api().infer(&asked).await.fails(422, code);
        assert_eq!(failure["details"]["field"], field, "{failure}");
    }
}

#[tokio::test]
async fn a_pipeline_that_lacks_or_changes_a_part_is_refused_by_its_name() {
    let hub = tempfile::tempdir().expect("a folder");
    for name in ["pipeline-flux", "pipeline-sd3"] {
        painters::write(hub.path(), name);
    }
    let at = |path: &str| hub.path().join("painters").join(path);
    change_json(
        &at("pipeline-flux/model_index.json"),
        &json!({"text_encoder_2": [null, null], "tokenizer_2": [null, null]}),
    );
    change_json(&at("pipeline-sd3/transformer/config.json"), &json!({"qk_norm": "layer_norm"}));
    let system = Setup::of(&[hub.path()]).start().await;
    for (name, status, code, part) in [
        ("pipeline-flux", 500, "corrupt_checkpoint", "no text_encoder_2"),
        ("pipeline-sd3", 501, "architecture_not_supported", "transformer: config.json: qk_norm"),
    ] {
        let asked = request(name, json!({"text": "a circle"}), json!({"width": 16, "height": 16}));
        let failure = system.api().infer(&asked).await.fails(status, code);
        let message = failure["message"].as_str().expect("a message");
        assert!(message.contains(part), "{failure}");
    }
}

//! What an operator does not allow a painting to cost is refused by its field, with the flag that raises it.

use serde_json::{Value, json};

use crate::harness::{api::Api, painters, system::Setup};

const MODEL: &str = "painters/pipeline-sd1";

async fn refused(api: &Api, options: Value, code: &str, field: &str, flag: &str) {
    let request = json!({
        "model_id": MODEL, "task": "text-to-image", "inputs": {"text": "a circle"}, "options": options,
    });
    let status = if code == "payload_too_large" { 413 } else { 422 };
    for path in ["/api/inference", "/api/inference/stream"] {
        let failure = api.post(path, &request).await.fails(status, code);
        assert_eq!(failure["details"]["field"], field, "{options}: {failure}");
        assert_eq!(failure["details"]["flag"], flag, "{failure}");
        let figure = |name: &str| failure["details"][name].as_u64().expect("a figure");
        assert!(figure("size") > figure("limit"), "{failure}");
        let message = failure["message"].as_str().expect("a message");
        assert!(message.contains(field) && message.contains(flag), "{message}");
    }
}

#[tokio::test]
async fn a_picture_whose_decoding_would_take_too_much_memory_is_decoded_in_tiles_and_says_so() {
    let hub = tempfile::tempdir().expect("a folder");
    painters::write(hub.path(), "pipeline-sd1");
    let system =
        Setup::of(&[hub.path()]).environment("ANYMODEL_DECODING_MEMORY", "1MiB").start().await;
    // 160 bytes for each pixel: more than 1 MiB only where there are more than 6553 of them.
    for (side, in_tiles) in [(80, false), (84, true)] {
        let request = json!({
            "model_id": MODEL, "task": "text-to-image", "inputs": {"text": "a circle"},
            "options": {"num_inference_steps": 1, "width": side, "height": side},
        });
        let output = system.api().output(&request).await;
        assert_eq!(output["images"][0]["width"], side);
        let notice = output["notices"][0].as_str().unwrap_or_default();
        assert_eq!(notice.contains("--decoding-memory"), in_tiles, "{output}");
    }
}

#[tokio::test]
async fn a_painting_beyond_the_operators_limits_is_refused_before_anything_is_loaded() {
    let hub = tempfile::tempdir().expect("a folder");
    painters::write(hub.path(), "pipeline-sd1");
    let mut setup = Setup::of(&[hub.path()]);
    for (limit, value) in [
        ("ANYMODEL_OUTPUT_PIXELS_LIMIT", "2500"),
        ("ANYMODEL_PAINTING_PIXELS_LIMIT", "2000"),
        ("ANYMODEL_PAINTING_IMAGES_LIMIT", "3"),
        ("ANYMODEL_PAINTING_STEPS_LIMIT", "30"),
        ("ANYMODEL_PAINTING_PIXEL_STEPS_LIMIT", "16000"),
    ] {
        setup = setup.environment(limit, value);
    }
    let system = setup.start().await;
    let api = system.api();
    for (options, code, field, flag) in [
        (json!({"width": 64}), "payload_too_large", "options.width", "--painting-pixels-limit"),
        (json!({"height": 64}), "payload_too_large", "options.height", "--painting-pixels-limit"),
        (
            json!({"num_images": 4}),
            "invalid_request",
            "options.num_images",
            "--painting-images-limit",
        ),
        (
            json!({"num_images": 3}),
            "payload_too_large",
            "options.num_images",
            "--output-pixels-limit",
        ),
        (
            json!({"num_inference_steps": 31}),
            "invalid_request",
            "options.num_inference_steps",
            "--painting-steps-limit",
        ),
        (
            json!({"num_inference_steps": 16}),
            "invalid_request",
            "options.num_inference_steps",
            "--painting-pixel-steps-limit",
        ),
    ] {
        refused(&api, options, code, field, flag).await;
    }
    assert!(api.model(MODEL).await.is_none());
    let limits = api.get("/api/workers").await.ok()["workers"][0]["limits"].take();
    let expected = json!({
        "output_pixels_limit": 2500, "painting_pixels_limit": 2000, "painting_images_limit": 3,
        "painting_steps_limit": 30, "painting_pixel_steps_limit": 16000,
    });
    assert_eq!(limits, expected);
    // 15 × 32 × 32 are fewer than 16,000.
    let request = json!({
        "model_id": MODEL, "task": "text-to-image", "inputs": {"text": "a circle"},
        "options": {"num_inference_steps": 15},
    });
    api.output(&request).await;
}

//! `text-to-image` through the public API: what the reference paints, one by one and all at once, every step of it, and
//! what is refused.

use std::{fs, io::Cursor};

use base64::{Engine, prelude::BASE64_STANDARD};
use futures::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{
    events::check_whole,
    models::change_json,
    painters::{self, Case},
    system::{Setup, System},
    zoo::list,
};

const PIPELINES: [&str; 15] = [
    "pipeline-checked",
    "pipeline-control",
    "pipeline-control-pooled",
    "pipeline-flux",
    "pipeline-inpaint",
    "pipeline-pix2pix",
    "pipeline-refiner",
    "pipeline-schnell",
    "pipeline-sd1",
    "pipeline-sd2",
    "pipeline-sd3",
    "pipeline-sd35",
    "pipeline-told",
    "pipeline-xl",
    "pipeline-xl-inpaint",
];

pub async fn painters(names: &[&str]) -> (System, TempDir) {
    let hub = tempfile::tempdir().expect("a folder");
    for name in names {
        painters::write(hub.path(), name);
    }
    (Setup::of(&[hub.path()]).start().await, hub)
}

/// A case as a request of the API.
pub fn request(name: &str, case: &Value) -> Value {
    let mut options = case.clone();
    let mut inputs = json!({});
    for field in ["text", "negative_prompt"] {
        if let Some(value) = options.as_object_mut().expect("an object").remove(field) {
            inputs[field] = value;
        }
    }
    json!({
        "model_id": format!("painters/{name}"), "task": "text-to-image", "inputs": inputs,
        "options": options,
    })
}

/// A case with the pictures that it brings.
pub fn request_of(name: &str, case: &Case) -> Value {
    let mut options = case.request.clone();
    let fields = options.as_object_mut().expect("an object");
    let [size, _, control_size] =
        ["image", "mask", "control"].map(|name| fields.remove(name).unwrap_or_default());
    let mut request = request(name, &options);
    if let Some(image) = &case.image {
        request["task"] = json!("image-to-image");
        request["inputs"]["image_base64"] = data_uri(image, &size);
    }
    if let Some(mask) = &case.mask {
        request["inputs"]["mask_base64"] = data_uri(mask, &size);
    }
    if let Some(control) = &case.control {
        request["inputs"]["control_image_base64"] = data_uri(control, &control_size);
    }
    request
}

pub fn data_uri(rgb: &[u8], size: &Value) -> Value {
    let side = |at: usize| size[at].as_u64().expect("a side") as u32;
    let mut file = Cursor::new(Vec::new());
    let colours = image::ExtendedColorType::Rgb8;
    let format = image::ImageFormat::Png;
    image::write_buffer_with_format(&mut file, rgb, side(0), side(1), colours, format)
        .expect("a PNG");
    json!(format!("data:image/png;base64,{}", BASE64_STANDARD.encode(file.into_inner())))
}

pub fn file(data_uri: &Value) -> (String, Vec<u8>) {
    let uri = data_uri.as_str().expect("a data URI");
    let (head, payload) = uri.split_once(',').expect("a comma");
    (head.to_owned(), BASE64_STANDARD.decode(payload).expect("base64"))
}

/// The bytes of all pictures, one after the other.
pub fn pixels(output: &Value) -> Vec<u8> {
    let pixels = |image: &Value| {
        let (head, bytes) = file(&image["image_base64"]);
        assert_eq!(head, "data:image/png;base64");
        let picture = image::load_from_memory(&bytes).expect("a picture").into_rgb8();
        assert_eq!(
            json!([picture.width(), picture.height()]),
            json!([image["width"], image["height"]])
        );
        picture.into_raw()
    };
    list(&output["images"]).iter().flat_map(pixels).collect()
}

pub fn assert_same(output: &Value, expected: &[u8], what: &str) {
    let found = pixels(output);
    assert_eq!(found.len(), expected.len(), "{what}");
    let differences = found.iter().zip(expected).map(|(found, expected)| found.abs_diff(*expected));
    assert!(differences.max() <= Some(1), "{what}");
}

#[tokio::test]
async fn painters_paint_what_the_reference_paints_alone_and_together() {
    let (system, _hub) = painters(&PIPELINES).await;
    let api = system.api();
    let all: Vec<(Value, Case)> = PIPELINES
        .iter()
        .flat_map(|name| {
            painters::cases(name).into_iter().map(|case| (request_of(name, &case), case))
        })
        .collect();
    for (request, case) in &all {
        assert_same(&api.output(request).await, &case.expected, &case.request.to_string());
    }
    let outputs = join_all(all.iter().map(|(request, _)| api.output(request))).await;
    for (output, (_, case)) in outputs.iter().zip(&all) {
        assert_same(output, &case.expected, &format!("together: {}", case.request));
        let is_cut = case.request["truncate"] == true;
        assert_eq!(output["notices"].is_array(), is_cut, "{output}");
    }
}

#[tokio::test]
async fn every_step_is_told_and_previews_as_often_as_they_are_wanted() {
    let (system, _hub) = painters(&["pipeline-sd2"]).await;
    let case = json!({
        "text": "a circle", "num_inference_steps": 6, "preview_every": 2, "format": "jpeg", "quality": 60,
    });
    let events = system.api().stream(&request("pipeline-sd2", &case)).await.all().await;
    let done = check_whole(&events);
    assert!(done["result"]["metadata"]["seed"].is_u64(), "{done}");
    let image = &done["result"]["task_output"]["images"][0];
    let (head, bytes) = file(&image["image_base64"]);
    assert_eq!(head, "data:image/jpeg;base64");
    image::load_from_memory(&bytes).expect("a picture");
    let progress: Vec<&Value> =
        events.iter().filter(|event| event.name == "progress").map(|event| &event.data).collect();
    assert_eq!(progress.len(), 6);
    for (at, event) in progress.iter().enumerate() {
        assert_eq!(
            (event["step"].as_u64(), event["total_steps"].as_u64()),
            (Some(at as u64 + 1), Some(6))
        );
        let has_preview = event["preview_base64"].is_string();
        assert_eq!(has_preview, [1, 3].contains(&at), "{event}");
        if has_preview {
            let (head, bytes) = file(&event["preview_base64"]);
            assert_eq!(head, "data:image/jpeg;base64");
            image::load_from_memory(&bytes).expect("a picture");
        }
    }
    assert_eq!(progress[5]["percent"], 100.0);
}

#[tokio::test]
async fn what_the_safety_checker_refuses_is_black_and_said() {
    let (system, _hub) = painters(&["pipeline-checked", "pipeline-sd2"]).await;
    let case = json!({"text": "a circle", "num_inference_steps": 2, "seed": 7});
    let checked = system.api().output(&request("pipeline-checked", &case)).await;
    assert_eq!(checked["images"][0]["is_refused"], true);
    assert!(pixels(&checked).iter().all(|level| *level == 0));
    let unchecked = system.api().output(&request("pipeline-sd2", &case)).await;
    assert!(unchecked["images"][0]["is_refused"].is_null());
    assert!(pixels(&unchecked).iter().any(|level| *level > 0));
}

#[tokio::test]
async fn whoever_closes_the_stream_stops_the_painting_within_one_step() {
    let (system, _hub) = painters(&["pipeline-sd2"]).await;
    let api = system.api();
    let mut status = api.status_stream().await;
    let case = json!({"text": "a circle", "num_inference_steps": 500, "width": 512, "height": 512});
    let mut stream = api.stream(&request("pipeline-sd2", &case)).await;
    stream.until("progress").await;
    drop(stream);
    status.find("worker", |worker| worker["cancelled"] == 1).await;
    let worker = api.get("/api/workers").await.ok()["workers"][0].take();
    assert!(worker["steps_after_disconnect_max"].as_u64() <= Some(1), "{worker}");
}

#[tokio::test]
async fn what_cannot_be_painted_is_refused_by_its_field() {
    let (system, _hub) = painters(&["pipeline-sd1"]).await;
    let api = system.api();
    for (case, code, field) in [
        (json!({"text": "a", "width": 30}), "invalid_request", "options.width"),
        (json!({"text": "a", "height": 0}), "invalid_request", "options.height"),
        (
            json!({"text": "a", "num_inference_steps": 0}),
            "invalid_request",
            "options.num_inference_steps",
        ),
        (
            json!({"text": "a", "num_inference_steps": 10_000}),
            "invalid_request",
            "options.num_inference_steps",
        ),
        (json!({"text": "a", "guidance_scale": -1}), "invalid_request", "options.guidance_scale"),
        (json!({"text": "a", "format": "gif"}), "invalid_request", "options.format"),
        (json!({"text": "a", "scheduler": "karma"}), "invalid_request", "options.scheduler"),
        (json!({"text": "a ".repeat(200)}), "input_too_long", "inputs.text"),
    ] {
        let failure = api.infer(&request("pipeline-sd1", &case)).await.fails(422, code);
        assert_eq!(failure["details"]["field"], field, "{failure}");
    }
    let sampler = json!({"text": "a", "sampler": "euler"});
    api.infer(&request("pipeline-sd1", &sampler)).await.fails(422, "unknown_option");
    let missing =
        json!({"model_id": "painters/pipeline-sd1", "task": "text-to-image", "inputs": {}});
    api.infer(&missing).await.fails(422, "missing_inputs");
}

#[tokio::test]
async fn a_pipeline_that_cannot_be_is_refused_by_the_name_of_its_part() {
    let hub = tempfile::tempdir().expect("a folder");
    let (odd, bare, gated) = ("painters/odd", "painters/bare", "painters/gated");
    for model_id in [odd, bare, gated] {
        painters::write(hub.path(), "pipeline-sd1");
        fs::rename(hub.path().join("painters/pipeline-sd1"), hub.path().join(model_id))
            .expect("moved");
    }
    let at = |path: &str| hub.path().join(path);
    change_json(&at("painters/odd/model_index.json"), &json!({"vae": ["diffusers", "VQModel"]}));
    change_json(&at("painters/bare/model_index.json"), &json!({"unet": [null, null]}));
    change_json(&at("painters/gated/unet/config.json"), &json!({"attention_type": "gated"}));
    let system = Setup::of(&[hub.path()]).start().await;
    for (model_id, status, code, part) in [
        (odd, 501, "architecture_not_supported", "vae is a VQModel"),
        (bare, 500, "corrupt_checkpoint", "no unet"),
        (gated, 501, "architecture_not_supported", "unet: config.json: attention_type"),
    ] {
        let asked = json!({"model_id": model_id, "task": "text-to-image", "inputs": {"text": "a"}});
        let failure = system.api().infer(&asked).await.fails(status, code);
        let message = failure["message"].as_str().expect("a message");
        assert!(message.contains(part), "{failure}");
    }
}

#[tokio::test]
async fn another_scheduler_makes_another_picture_of_the_same_noise() {
    let (system, _hub) = painters(&["pipeline-sd1"]).await;
    let paint = async |scheduler: Value| {
        let case =
            json!({"text": "a", "seed": 5, "num_inference_steps": 4, "scheduler": scheduler});
        pixels(&system.api().output(&request("pipeline-sd1", &case)).await)
    };
    // How many threads a step gets goes by what else runs, and rounding by the threads.
    let differ = |a: &[u8], b: &[u8]| a.iter().zip(b).any(|(a, b)| a.abs_diff(*b) > 1);
    let own = paint(Value::Null).await;
    assert!(!differ(&own, &paint(Value::Null).await));
    let euler = paint(json!("euler")).await;
    assert!(!differ(&euler, &paint(json!("EulerDiscreteScheduler")).await));
    assert!(differ(&euler, &own));
    assert!(differ(&euler, &paint(json!("dpm++_2m_karras")).await));
}

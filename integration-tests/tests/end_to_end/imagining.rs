//! `unconditional-image-generation` through the public API: what the reference makes, one by one and all at once, every step
//! of it, repositories of the old kind, and what is refused.

use std::{fs, path::Path};

use futures::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    harness::{
        events::check_whole,
        painters::{self, Case},
        system::{Setup, System},
    },
    painting::{assert_same, file, pixels},
};

const PIPELINES: [&str; 2] = ["pipeline-ddim", "pipeline-ddpm"];

async fn dreamers() -> (System, TempDir) {
    let hub = tempfile::tempdir().expect("a folder");
    for name in PIPELINES {
        painters::write(hub.path(), name);
    }
    (Setup::of(&[hub.path()]).start().await, hub)
}

/// Without its task, which the pipeline's class tells.
fn request(name: &str, options: &Value) -> Value {
    json!({"model_id": format!("painters/{name}"), "inputs": {}, "options": options})
}

#[tokio::test]
async fn pictures_of_nothing_are_the_references_alone_and_together() {
    let (system, _hub) = dreamers().await;
    let api = system.api();
    let cases = |name: &&str| {
        let name = name.to_string();
        painters::cases(&name).into_iter().map(move |case| (request(&name, &case.request), case))
    };
    let all: Vec<(Value, Case)> = PIPELINES.iter().flat_map(cases).collect();
    for (request, case) in &all {
        assert_same(&api.output(request).await, &case.expected, &case.request.to_string());
    }
    let outputs = join_all(all.iter().map(|(request, _)| api.output(request))).await;
    for (output, (_, case)) in outputs.iter().zip(&all) {
        assert_same(output, &case.expected, &format!("together: {}", case.request));
    }
}

#[tokio::test]
async fn every_step_is_told_and_previews_are_pictures() {
    let (system, _hub) = dreamers().await;
    let options =
        json!({"num_inference_steps": 6, "preview_every": 2, "format": "jpeg", "quality": 60});
    let events = system.api().stream(&request("pipeline-ddim", &options)).await.all().await;
    let done = check_whole(&events);
    assert!(done["result"]["metadata"]["seed"].is_u64(), "{done}");
    assert_eq!(done["result"]["metadata"]["task"], "unconditional-image-generation");
    let (head, _) = file(&done["result"]["task_output"]["images"][0]["image_base64"]);
    assert_eq!(head, "data:image/jpeg;base64");
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
            let (_, bytes) = file(&event["preview_base64"]);
            let preview = image::load_from_memory(&bytes).expect("a picture");
            assert_eq!((preview.width(), preview.height()), (24, 16));
        }
    }
}

#[tokio::test]
async fn a_network_that_lies_beside_the_index_is_found() {
    let hub = tempfile::tempdir().expect("a folder");
    let model_id = painters::write(hub.path(), "pipeline-ddpm");
    let folder = hub.path().join(model_id);
    flatten(
        &folder,
        &[
            "unet/config.json",
            "unet/diffusion_pytorch_model.safetensors",
            "scheduler/scheduler_config.json",
        ],
    );
    let system = Setup::of(&[hub.path()]).start().await;
    let case = painters::cases("pipeline-ddpm").swap_remove(0);
    let output = system.api().output(&request("pipeline-ddpm", &case.request)).await;
    assert_same(&output, &case.expected, "beside the index");
}

/// Moves files into the root, and removes their folders.
fn flatten(repository: &Path, files: &[&str]) {
    for file in files {
        let name = Path::new(file).file_name().expect("a name");
        fs::rename(repository.join(file), repository.join(name)).expect("moved");
    }
    for file in files {
        let folder = repository.join(file).parent().expect("a folder").to_owned();
        if folder.exists() {
            fs::remove_dir(&folder).expect("an empty folder");
        }
    }
}

#[tokio::test]
async fn a_seed_and_nothing_else_makes_the_picture() {
    let (system, _hub) = dreamers().await;
    let paint = async |options: Value| {
        let output = system.api().output(&request("pipeline-ddim", &options)).await;
        pixels(&output)
    };
    // How many threads a step gets goes by what else runs, and rounding by the threads.
    let differ = |a: &[u8], b: &[u8]| a.iter().zip(b).any(|(a, b)| a.abs_diff(*b) > 1);
    let one = paint(json!({"seed": 1, "num_inference_steps": 4})).await;
    assert!(!differ(&one, &paint(json!({"seed": 1, "num_inference_steps": 4})).await));
    assert!(differ(&one, &paint(json!({"seed": 2, "num_inference_steps": 4})).await));
}

#[tokio::test]
async fn what_cannot_be_imagined_is_refused_by_its_field() {
    let (system, _hub) = dreamers().await;
    let api = system.api();
    for (options, code, field) in [
        (json!({"num_inference_steps": 0}), "invalid_request", "options.num_inference_steps"),
        (json!({"num_inference_steps": 10_000}), "invalid_request", "options.num_inference_steps"),
        (json!({"num_images": 100}), "invalid_request", "options.num_images"),
        (json!({"eta": 2}), "invalid_request", "options.eta"),
        (json!({"format": "gif"}), "invalid_request", "options.format"),
        (json!({"scheduler": "karma"}), "invalid_request", "options.scheduler"),
        (json!({"guidance_scale": 3}), "unknown_option", "options.guidance_scale"),
    ] {
        let failure = api.infer(&request("pipeline-ddpm", &options)).await.fails(422, code);
        assert_eq!(failure["details"]["field"], field, "{failure}");
    }
    let mut told = request("pipeline-ddpm", &json!({}));
    told["inputs"] = json!({"text": "a circle"});
    let failure = api.infer(&told).await.fails(422, "invalid_request");
    assert_eq!(failure["details"]["field"], "inputs.text", "{failure}");
    let mut other = told;
    other["task"] = json!("text-to-image");
    api.infer(&other).await.fails(501, "task_not_supported");
}

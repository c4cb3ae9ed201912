//! `image-super-resolution` and `image-restoration` through the public API: pieces that are counted, pictures of every
//! kind, what is refused, and a client that leaves.

use std::io::Cursor;

use image::{ImageFormat, ImageReader};
use serde_json::{Value, json};

use crate::harness::{
    api::Api,
    enhancers::{self, base64, file, noise, of_uri, pixels},
    events::check_whole,
    system::{Setup, System},
    zoo::{self, SHAPES},
};

const LARGER: &str = "it/swin2sr";
const BETTER: &str = "it/swin2sr-colours";
const GREY: &str = "it/swin2sr-restoring";
const BARE: &str = "it/rrdbnet";
/// It lies on its side in the file.
const TURNED: &str = "oriented_6.jpg";

struct Models {
    system: System,
    _hub: tempfile::TempDir,
}

async fn models(environment: &[(&'static str, &str)]) -> Models {
    let hub = tempfile::tempdir().expect("a folder");
    for name in ["swin2sr", "swin2sr-colours", "swin2sr-restoring"] {
        enhancers::write(hub.path(), name);
    }
    enhancers::write_bare(hub.path(), "rrdbnet", "net_x4.safetensors");
    enhancers::write_bare(hub.path(), "rrdbnet-x2", "2x-Shapes.safetensors");
    let mut setup = Setup::of(&[hub.path(), &zoo::hub()]);
    for (name, value) in environment {
        setup = setup.environment(name, value);
    }
    Models { system: setup.start().await, _hub: hub }
}

fn request(model_id: &str, picture: &[u8], options: Value) -> Value {
    json!({"model_id": model_id, "inputs": {"image_base64": base64(picture)}, "options": options})
}

#[tokio::test]
async fn every_piece_is_told_when_it_is_done() {
    let models = models(&[]).await;
    let api = models.system.api();
    let body = request(LARGER, &noise(100, 70), json!({"tile": 32}));
    let events = api.stream(&body).await.all().await;
    let done = check_whole(&events);
    let start = events.iter().find(|event| event.name == "start").expect("a start");
    let total = start.data["total_steps"].as_u64().expect("a number");
    let steps: Vec<&Value> =
        events.iter().filter(|event| event.name == "progress").map(|event| &event.data).collect();
    assert!(total >= 12, "{total}");
    assert_eq!(steps.len() as u64, total);
    for (at, step) in steps.iter().enumerate() {
        assert_eq!(
            (step["step"].as_u64(), &step["total_steps"]),
            (Some(at as u64 + 1), &json!(total))
        );
        assert!(step["eta_s"].as_f64().is_some_and(|eta| eta >= 0.0), "{step}");
    }
    assert_eq!(steps.last().expect("steps")["percent"], 100.0);
    let result = &done["result"];
    assert_eq!(result["task"], "image-super-resolution");
    assert_eq!(pixels(&result["task_output"]).dimensions(), (200, 140));
    // The whole answer is the same as the stream's.
    let whole = api.output(&body).await;
    assert_eq!(pixels(&whole), pixels(&result["task_output"]));
}

#[tokio::test]
async fn a_network_without_a_config_is_known_by_its_tensors() {
    let models = models(&[]).await;
    let api = models.system.api();
    for (model_id, scale) in [(BARE, 4), ("it/rrdbnet-x2", 2)] {
        let answer =
            api.infer(&request(model_id, &noise(21, 13), json!({"scale": scale}))).await.ok();
        let result = &answer["result"];
        assert_eq!(result["task"], "image-super-resolution");
        assert_eq!(result["metadata"]["architecture"], "rrdbnet");
        assert_eq!(pixels(&result["task_output"]).dimensions(), (21 * scale, 13 * scale));
    }
}

#[tokio::test]
async fn a_model_that_repairs_keeps_the_size() {
    let models = models(&[]).await;
    let api = models.system.api();
    for (model_id, is_grey) in [(BETTER, false), (GREY, true)] {
        let answer = api.infer(&request(model_id, &noise(30, 17), json!({}))).await.ok();
        assert_eq!(answer["result"]["task"], "image-restoration");
        let made = pixels(&answer["result"]["task_output"]);
        assert_eq!(made.dimensions(), (30, 17));
        let all_grey = made.pixels().all(|pixel| pixel[0] == pixel[1] && pixel[1] == pixel[2]);
        assert_eq!(all_grey, is_grey, "{model_id}");
    }
}

#[tokio::test]
async fn pictures_of_every_kind_are_read_as_the_reference_reads_them() {
    let models = models(&[]).await;
    let api = models.system.api();
    for name in [
        "one_pixel.png",
        "thin.png",
        "rgba.png",
        "rgb_16.png",
        "grey_alpha_16.png",
        "palette_transparent.png",
        "cmyk.jpg",
        "animated.gif",
        "lossy.webp",
        "oriented_1.jpg",
        TURNED,
    ] {
        let of = ImageReader::new(Cursor::new(file(name))).with_guessed_format();
        let (width, height) = of.expect("a picture").into_dimensions().expect("a header");
        let (width, height) = if name == TURNED { (height, width) } else { (width, height) };
        let made = pixels(&api.output(&request(LARGER, &file(name), json!({}))).await);
        assert_eq!(made.dimensions(), (2 * width, 2 * height), "{name}");
    }
}

#[tokio::test]
async fn the_format_is_what_was_asked_for() {
    let models = models(&[]).await;
    let api = models.system.api();
    let picture = noise(24, 16);
    let png = pixels(&api.output(&request(LARGER, &picture, json!({}))).await);
    let mut sizes = Vec::new();
    for (options, mime_type, format) in [
        (json!({"format": "png"}), "image/png", ImageFormat::Png),
        (json!({"format": "webp"}), "image/webp", ImageFormat::WebP),
        (json!({"format": "jpeg", "quality": 10}), "image/jpeg", ImageFormat::Jpeg),
        (json!({"format": "jpeg", "quality": 100}), "image/jpeg", ImageFormat::Jpeg),
    ] {
        let output = api.output(&request(LARGER, &picture, options)).await;
        let (told, bytes) = of_uri(&output["images"][0]["image_base64"]);
        assert_eq!((told.as_str(), image::guess_format(&bytes).ok()), (mime_type, Some(format)));
        if format != ImageFormat::Jpeg {
            assert_eq!(pixels(&output), png, "{mime_type}");
        }
        sizes.push(bytes.len());
    }
    assert!(sizes[2] < sizes[3], "{sizes:?}");
}

#[tokio::test]
async fn a_large_picture_comes_back_whole() {
    let models = models(&[]).await;
    let api = models.system.api();
    let output = api.output(&request(BARE, &noise(220, 200), json!({"tile": 256}))).await;
    let (_, bytes) = of_uri(&output["images"][0]["image_base64"]);
    assert!(bytes.len() > 1 << 20, "{} bytes", bytes.len());
    assert_eq!(pixels(&output).dimensions(), (880, 800));
}

#[tokio::test]
async fn requests_side_by_side_get_what_each_gets_alone() {
    let models = models(&[]).await;
    let api = &models.system.api();
    let bodies: Vec<Value> = [(40, 50), (90, 35), (33, 33)]
        .map(|(width, height)| request(LARGER, &noise(width, height), json!({"tile": 32})))
        .to_vec();
    let together = futures::future::join_all(bodies.iter().map(|body| api.output(body))).await;
    for (body, together) in bodies.iter().zip(&together) {
        assert_eq!(pixels(&api.output(body).await), pixels(together));
    }
}

async fn refused(api: &Api, body: &Value, status: u16, code: &str, field: &str) {
    for path in ["/api/inference", "/api/inference/stream"] {
        let error = api.post(path, body).await.fails(status, code);
        if !field.is_empty() {
            assert_eq!(error["details"]["field"], field, "{body}: {error}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_by_its_field() {
    let models = models(&[]).await;
    let api = models.system.api();
    let small = noise(8, 8);
    for (options, code, field) in [
        (json!({"scale": 3}), "invalid_request", "options.scale"),
        (json!({"scale": 0}), "invalid_request", "options.scale"),
        (json!({"scale": -2}), "invalid_request", "options.scale"),
        (json!({"tile": 31}), "invalid_request", "options.tile"),
        (json!({"tile": 513}), "invalid_request", "options.tile"),
        (json!({"format": "tiff"}), "invalid_request", "options.format"),
        (json!({"quality": 80}), "invalid_request", "options.quality"),
        (json!({"format": "jpeg", "quality": 0}), "invalid_request", "options.quality"),
        (json!({"format": "jpeg", "quality": 101}), "invalid_request", "options.quality"),
        (json!({"strength": 1}), "unknown_option", "options.strength"),
    ] {
        refused(&api, &request(LARGER, &small, options), 422, code, field).await;
    }
    let broken = request(LARGER, &small[..small.len() / 2], json!({}));
    refused(&api, &broken, 400, "invalid_media", "inputs.image_base64").await;
    let task = |model_id: &str, task: &str| {
        let mut body = request(model_id, &small, json!({}));
        body["task"] = json!(task);
        body
    };
    for body in [
        task(LARGER, "image-restoration"),
        task(BETTER, "image-super-resolution"),
        task(SHAPES, "image-super-resolution"),
        task(LARGER, "image-classification"),
    ] {
        refused(&api, &body, 501, "task_not_supported", "task").await;
    }
    let wide = request(LARGER, &noise(8192, 1), json!({"format": "webp"}));
    refused(&api, &wide, 422, "invalid_request", "options.format").await;
}

#[tokio::test]
async fn pictures_beyond_the_operators_limit_are_refused_before_anything_is_loaded() {
    let models = models(&[("ANYMODEL_OUTPUT_PIXELS_LIMIT", "10000")]).await;
    let api = models.system.api();
    let error = api
        .infer(&request(LARGER, &noise(51, 50), json!({})))
        .await
        .fails(413, "payload_too_large");
    assert_eq!(error["details"]["field"], "inputs.image_base64");
    assert_eq!(
        (&error["details"]["size"], &error["details"]["limit"]),
        (&json!(10200), &json!(10000))
    );
    assert!(api.model(LARGER).await.is_none());
    api.output(&request(LARGER, &noise(50, 50), json!({}))).await;
}

#[tokio::test]
async fn closing_the_stream_stops_within_one_piece() {
    let models = models(&[]).await;
    let api = models.system.api();
    let mut status = api.status_stream().await;
    let mut stream = api.stream(&request(LARGER, &noise(900, 900), json!({"tile": 32}))).await;
    let total = stream.until("start").await.data["total_steps"].as_u64().expect("a number");
    assert!(total > 1000, "{total}");
    let third = stream.find("progress", |data| data["step"].as_u64() >= Some(3)).await;
    assert!(third.data["step"].as_u64().expect("a number") < total);
    drop(stream);
    status.find("worker", |worker| worker["cancelled"] == 1 && worker["running"] == 0).await;
    let worker = api.get("/api/workers").await.ok()["workers"][0].take();
    let most = worker["steps_after_disconnect_max"].as_u64().expect("a count");
    assert!(most <= 1, "{worker}");
}

//! Everything that can be wrong with a painting is refused by its field and in words; pictures that are only unusual are
//! read as the reference reads them.

use std::{fs, io::Cursor, path::PathBuf};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::harness::{
    api::Api,
    models::change_json,
    painters,
    system::{Setup, System},
};

const MODEL: &str = "painters/pipeline-sd1";

async fn painter() -> (System, tempfile::TempDir) {
    let hub = tempfile::tempdir().expect("a folder");
    painters::write(hub.path(), "pipeline-sd1");
    (Setup::of(&[hub.path()]).start().await, hub)
}

/// A PNG of one colour.
fn png(width: u32, height: u32) -> Vec<u8> {
    encoded(&image::RgbImage::from_pixel(width, height, image::Rgb([200, 80, 40])))
}

fn encoded(picture: &image::RgbImage) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    picture.write_to(&mut file, image::ImageFormat::Png).expect("a PNG");
    file.into_inner()
}

fn from_text(options: &Value) -> Value {
    json!({"model_id": MODEL, "task": "text-to-image", "inputs": {"text": "a circle"}, "options": options})
}

fn from_picture(image: &[u8], mask: Option<&[u8]>, options: &Value) -> Value {
    let mut request = json!({
        "model_id": MODEL, "task": "image-to-image", "options": options,
        "inputs": {"text": "a circle", "image_base64": BASE64_STANDARD.encode(image)},
    });
    if let Some(mask) = mask {
        request["inputs"]["mask_base64"] = json!(BASE64_STANDARD.encode(mask));
    }
    request
}

/// The same from both doors, with every one of these words in the message.
async fn refused(api: &Api, request: &Value, code: &str, field: &str, words: &[&str]) {
    let status = if code == "invalid_media" { 400 } else { 422 };
    for path in ["/api/inference", "/api/inference/stream"] {
        let failure = api.post(path, request).await.fails(status, code);
        assert_eq!(failure["details"]["field"], field, "{failure}");
        let message = failure["message"].as_str().expect("a message");
        for words in words {
            assert!(message.contains(words), "{words:?} is missing: {message}");
        }
    }
}

#[tokio::test]
async fn options_that_cannot_be_are_refused_by_field_and_in_words() {
    let (system, _hub) = painter().await;
    let api = system.api();
    let invalid = "invalid_request";
    for (options, field, words) in [
        (json!({"width": 30}), "options.width", &["is 30", "multiple of 4"][..]),
        (json!({"height": 33}), "options.height", &["is 33", "multiple of 4"]),
        (json!({"height": 0}), "options.height", &["is 0", "multiple of 4"]),
        (
            json!({"num_inference_steps": 0}),
            "options.num_inference_steps",
            &["is 0", "expected 1 or more"],
        ),
        (
            json!({"num_inference_steps": 10_000}),
            "options.num_inference_steps",
            &["10000 steps", "1000"],
        ),
        (json!({"num_images": 0}), "options.num_images", &["is 0", "expected 1 or more"]),
        (
            json!({"scheduler": "karma"}),
            "options.scheduler",
            &["\"karma\"", "PNDMScheduler", "EulerDiscreteScheduler", "dpm++_2m_karras"],
        ),
        // Known, but of models that were trained otherwise.
        (
            json!({"scheduler": "FlowMatchEulerDiscreteScheduler"}),
            "options.scheduler",
            &["cannot take the place"],
        ),
        (json!({"guidance_scale": 101}), "options.guidance_scale", &["is 101", "0 to 100"]),
        (json!({"guidance_rescale": 1.5}), "options.guidance_rescale", &["is 1.5", "0 to 1"]),
        (json!({"eta": -1}), "options.eta", &["is -1", "0 to 1"]),
        (json!({"clip_skip": 3}), "options.clip_skip", &["is 3", "3 layers"]),
        (json!({"format": "gif"}), "options.format", &["\"gif\"", "png, jpeg or webp"]),
        (json!({"quality": 90}), "options.quality", &["only for the format jpeg"]),
        (json!({"format": "jpeg", "quality": 101}), "options.quality", &["is 101", "1 to 100"]),
    ] {
        refused(&api, &from_text(&options), invalid, field, words).await;
    }
    let mut long = from_text(&json!({}));
    long["inputs"]["text"] = json!("a circle ".repeat(100));
    let words = &["the model reads 77", "options.truncate"];
    refused(&api, &long, "input_too_long", "inputs.text", words).await;
    let steps = json!({"num_inference_steps": 2});
    for (options, words) in [
        (json!({"strength": 0}), "is 0, expected above 0, to 1"),
        (json!({"strength": -0.5}), "is -0.5, expected above 0, to 1"),
        (json!({"strength": 1.01}), "is 1.01, expected above 0, to 1"),
        (json!({"strength": 0.1, "num_inference_steps": 5}), "leaves none of 5 steps"),
    ] {
        let request = from_picture(&png(16, 16), None, &options);
        refused(&api, &request, invalid, "options.strength", &[words]).await;
    }
    let other = from_picture(&png(16, 16), Some(&png(16, 12)), &steps);
    let words = &["16 × 12 pixels", "the picture has 16 × 16"];
    refused(&api, &other, invalid, "inputs.mask_base64", words).await;
}

#[tokio::test]
async fn what_is_no_picture_is_refused_by_its_field() {
    let (system, _hub) = painter().await;
    let api = system.api();
    let steps = json!({"num_inference_steps": 2});
    let (media, image) = ("invalid_media", "inputs.image_base64");
    let whole = png(16, 16);
    for (bytes, words) in [
        (b"no picture at all".to_vec(), "expected a picture"),
        (b"%PDF-1.7 and more".to_vec(), "PDF"),
        (whole[..whole.len() / 2].to_vec(), "cannot be decoded"),
        (png(3, 16), "each side needs at least 4"),
    ] {
        refused(&api, &from_picture(&bytes, None, &steps), media, image, &[words]).await;
        let request = from_picture(&whole, Some(&bytes), &steps);
        let words = if words.starts_with("each") { continue } else { &[words] };
        refused(&api, &request, media, "inputs.mask_base64", words).await;
    }
    let mut none = from_picture(&whole, None, &steps);
    none["inputs"]["image_base64"] = json!("not base64!");
    refused(&api, &none, media, image, &[]).await;
    none["inputs"]["image_base64"].take();
    let failure = api.infer(&none).await.fails(422, "missing_inputs");
    assert_eq!(failure["details"]["missing"], json!(["image_base64"]));
}

#[tokio::test]
async fn unusual_pictures_are_read_as_the_reference_reads_them() {
    let (system, _hub) = painter().await;
    let api = system.api();
    let file = |name: &str| {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        fs::read(folder.join("../gpu-worker/tests/fixtures/images").join(name)).expect("a file")
    };
    let options = json!({"num_inference_steps": 4, "strength": 0.5, "seed": 3});
    let painted = async |bytes: &[u8]| {
        let output = api.output(&from_picture(bytes, None, &options)).await;
        let uri = output["images"][0]["image_base64"].as_str().expect("a data URI").to_owned();
        let (_, payload) = uri.split_once(',').expect("a comma");
        let bytes = BASE64_STANDARD.decode(payload).expect("base64");
        image::load_from_memory(&bytes).expect("a picture").into_rgb8()
    };
    let read = |name: &str| image::load_from_memory(&file(name)).expect("a picture");
    // Alpha is dropped and not blended, 16 bits keep the high ones, of an animation there is the first picture.
    let high = read("rgb_16.png").into_rgb16();
    let high = image::RgbImage::from_fn(high.width(), high.height(), |x, y| {
        image::Rgb(high.get_pixel(x, y).0.map(|level| (level >> 8) as u8))
    });
    for (name, plain) in [
        ("rgba.png", read("rgba.png").into_rgb8()),
        ("rgb_16.png", high),
        ("animated.gif", read("animated.gif").into_rgb8()),
    ] {
        let (found, expected) = (painted(&file(name)).await, painted(&encoded(&plain)).await);
        assert_eq!(found.dimensions(), expected.dimensions(), "{name}");
        let differences = found.iter().zip(expected.iter()).map(|(a, b)| a.abs_diff(*b));
        assert!(differences.max() <= Some(1), "{name}");
    }
    // Which pixels these have is compared with Pillow's elsewhere; EXIF stands the picture up.
    assert_eq!(painted(&file("cmyk.jpg")).await.dimensions(), (16, 8));
    assert_eq!(painted(&file("oriented_1.jpg")).await.dimensions(), (16, 8));
    assert_eq!(painted(&file("oriented_6.jpg")).await.dimensions(), (8, 16));
}

#[tokio::test]
async fn a_pipeline_that_is_not_there_or_lacks_a_component_is_refused_by_name() {
    let hub = tempfile::tempdir().expect("a folder");
    let names = ["novel", "no-unet", "no-vae-weights", "no-vae", "no-scheduler", "no-tokenizer"];
    for name in names {
        painters::write(hub.path(), "pipeline-sd1");
        let (from, to) =
            (hub.path().join("painters/pipeline-sd1"), hub.path().join("painters").join(name));
        fs::rename(from, to).expect("moved");
    }
    let at = |path: &str| hub.path().join("painters").join(path);
    change_json(&at("novel/model_index.json"), &json!({"_class_name": "NovelPainterPipeline"}));
    fs::remove_dir_all(at("no-unet/unet")).expect("removed");
    fs::remove_file(at("no-vae-weights/vae/diffusion_pytorch_model.safetensors")).expect("removed");
    change_json(&at("no-vae/model_index.json"), &json!({"vae": [null, null]}));
    fs::remove_dir_all(at("no-scheduler/scheduler")).expect("removed");
    fs::remove_dir_all(at("no-tokenizer/tokenizer")).expect("removed");
    let system = Setup::of(&[hub.path()]).start().await;
    for (name, status, code, words) in [
        ("novel", 501, "architecture_not_supported", "NovelPainterPipeline"),
        (
            "no-unet",
            500,
            "corrupt_checkpoint",
            "no unet/config.json, which its model_index.json asks for",
        ),
        ("no-vae-weights", 501, "format_not_supported", "vae/"),
        ("no-vae", 500, "corrupt_checkpoint", "the pipeline has no vae"),
        ("no-scheduler", 500, "corrupt_checkpoint", "no scheduler/scheduler_config.json"),
        ("no-tokenizer", 501, "format_not_supported", "tokenizer: no tokenizer.json"),
    ] {
        let mut request = from_text(&json!({}));
        request["model_id"] = json!(format!("painters/{name}"));
        let failure = system.api().infer(&request).await.fails(status, code);
        let message = failure["message"].as_str().expect("a message");
        assert!(message.contains(words), "{name}: {failure}");
        if name == "novel" {
            let supported = failure["details"]["supported"].to_string();
            assert!(supported.contains("StableDiffusionPipeline"), "{failure}");
        }
    }
}

//! Pictures and image processors against what Pillow and transformers make of them.
//!
//! `fixtures/make_images/make.py` makes the pictures and the expectations.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use gpu_worker::media::{
    Backend, ImageProcessor, Limits, MediaError, Picture, ProcessorError, Resample, decode,
    resize_like_pillow,
};
use proptest::prelude::*;
use serde_json::Value;
use sha2::{Digest, Sha256};

const LIMITS: Limits = Limits { max_pixels: 64_000_000, max_bytes: 1 << 20 };

fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/images").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn expected() -> Value {
    serde_json::from_slice(&fixture("expected.json")).unwrap()
}

fn picture(name: &str) -> Picture {
    decode(&fixture(name), &LIMITS).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn assert_decodes_exactly(is_chosen: impl Fn(&str) -> bool) {
    let expected = expected();
    let mut wrong = Vec::new();
    let mut n_checked = 0;
    for (name, expected) in expected["decoded"].as_object().unwrap() {
        if !is_chosen(name) {
            continue;
        }
        n_checked += 1;
        let picture = picture(name);
        let size = (u64::from(picture.width), u64::from(picture.height));
        let expected_size =
            (expected["width"].as_u64().unwrap(), expected["height"].as_u64().unwrap());
        if size != expected_size || sha256(&picture.rgb) != expected["sha256"] {
            wrong.push(format!("{name} {size:?} instead of {expected_size:?}"));
        }
    }
    assert!(n_checked > 0);
    assert!(wrong.is_empty(), "not Pillow's pixels: {wrong:#?}");
}

#[test]
fn png_is_exactly_what_pillow_reads() {
    assert_decodes_exactly(|name| name.ends_with(".png"));
}

#[test]
fn jpeg_is_exactly_what_pillow_reads() {
    assert_decodes_exactly(|name| name.ends_with(".jpg"));
}

#[test]
fn gif_shows_its_first_frame_in_the_colours_of_pillow() {
    assert_decodes_exactly(|name| name.ends_with(".gif"));
}

#[test]
fn bmp_tiff_and_lossless_webp_are_exactly_what_pillow_reads() {
    assert_decodes_exactly(|name| {
        name.ends_with(".bmp") || name.ends_with(".tiff") || name == "lossless.webp"
    });
}

#[test]
fn lossy_webp_is_within_three_levels_of_libwebp() {
    let found = picture("lossy.webp").rgb;
    let expected = fixture("lossy.webp.rgb");
    assert_eq!(found.len(), expected.len());
    let largest = found.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    assert!(largest <= 3, "differs by {largest} levels");
}

#[test]
fn every_exif_orientation_ends_upright() {
    let upright = picture("oriented_1.jpg");
    let at = |picture: &Picture, x: u32, y: u32| {
        let at = ((y * picture.width + x) * 3) as usize;
        picture.rgb[at..at + 3].to_vec()
    };
    let (right, bottom) = (upright.width - 1, upright.height - 1);
    for orientation in 1..=8 {
        let turned = picture(&format!("oriented_{orientation}.jpg"));
        // Where the file's first pixel goes, by the definition of the tag.
        let (x, y) = match orientation {
            1 => (0, 0),
            2 => (right, 0),
            3 => (right, bottom),
            4 => (0, bottom),
            5 => (0, 0),
            6 => (bottom, 0),
            7 => (bottom, right),
            _ => (0, right),
        };
        assert_eq!(at(&turned, x, y), at(&upright, 0, 0), "orientation {orientation}");
    }
}

#[test]
fn pillow_resizing_is_exact_for_every_filter() {
    let rgb = picture("rgb.png");
    let filters = [
        Resample::Nearest,
        Resample::Lanczos,
        Resample::Bilinear,
        Resample::Bicubic,
        Resample::Box,
        Resample::Hamming,
    ];
    for case in expected()["resized"].as_array().unwrap() {
        let number = |key: &str| case[key].as_u64().unwrap() as u32;
        let (width, height) = (number("width"), number("height"));
        let resample = filters[number("resample") as usize];
        let resized = resize_like_pillow(&rgb, width, height, resample);
        let message = format!("{resample:?} {width} × {height}");
        assert_eq!(sha256(&resized.rgb), case["sha256"].as_str().unwrap(), "{message}");
    }
}

/// Runs one processor case and returns what is wrong with it.
fn check_processor(case: &Value) -> Result<(), String> {
    let mut config = case["config"].clone();
    config["image_processor_type"] = case["processor"].clone();
    let backend = match case["backend"].as_str().unwrap() {
        "pil" => Backend::Pillow,
        _ => Backend::Torchvision,
    };
    let processor = ImageProcessor::from_config(&config.to_string(), None)
        .and_then(|processor| processor.with_backend(backend))
        .map_err(|error| error.to_string())?;
    let picture = picture(case["picture"].as_str().unwrap());
    let pixels = processor.process(&picture).map_err(|error| error.to_string())?;
    let shape = serde_json::json!([pixels.channels, pixels.height, pixels.width]);
    if shape != case["shape"] {
        return Err(format!("shape {shape} instead of {}", case["shape"]));
    }
    let bytes: Vec<u8> = pixels.data.iter().flat_map(|value| value.to_le_bytes()).collect();
    if sha256(&bytes) == case["sha256"] {
        return Ok(());
    }
    let difference = |sample: &Value| {
        let at = sample[0].as_u64().unwrap() as usize;
        (f64::from(pixels.data[at]) - sample[1].as_f64().unwrap()).abs()
    };
    let samples = case["samples"].as_array().unwrap();
    let largest = samples.iter().map(difference).fold(0.0, f64::max);
    Err(format!("not exact; of {} samples the worst is off by {largest:e}", samples.len()))
}

#[test]
fn processors_are_exact_in_both_backends() {
    let expected = expected();
    let cases = expected["processors"].as_array().unwrap();
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let reason = check_processor(case).err()?;
            let (name, backend) = (&case["processor"], &case["backend"]);
            Some(format!("{name} {backend} {} {}: {reason}", case["config"], case["picture"]))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {} cases: {wrong:#?}", wrong.len(), cases.len());
}

fn refusal(bytes: &[u8]) -> MediaError {
    decode(bytes, &LIMITS).expect_err("the bytes are no good picture")
}

#[test]
fn what_is_no_picture_is_named() {
    let cases: [(&[u8], &str); 4] = [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>not found</html>", "an HTML page"),
        (b"%PDF-1.7 and more", "a PDF document"),
        (b"just words", "plain text"),
    ];
    for (bytes, found) in cases {
        let error = refusal(bytes);
        assert_eq!(error.code(), "invalid_media");
        let message = error.to_string();
        assert!(message.contains("expected a picture (PNG, JPEG"), "{message}");
        assert!(message.contains(found), "{message}");
    }
}

#[test]
fn truncated_pictures_are_refused_at_every_length() {
    for name in ["rgb.png", "palette.png", "420.jpg", "progressive.jpg", "lossless.webp", "rgb.bmp"]
    {
        let bytes = fixture(name);
        for end in (0..bytes.len() * 9 / 10).step_by(bytes.len() / 40) {
            let error = decode(&bytes[..end], &LIMITS).expect_err(name);
            assert_eq!(error.code(), "invalid_media", "{name} cut at {end}: {error}");
        }
    }
}

#[test]
fn a_corrupt_picture_says_which_format_it_seemed_to_be() {
    let mut bytes = fixture("rgb.png");
    bytes[200..260].fill(0x5a);
    let message = refusal(&bytes).to_string();
    assert!(message.contains("PNG"), "{message}");
    let mut page = b"\x89PNG\r\n\x1a\n".to_vec();
    page.extend_from_slice(b"<html><body>404 not found, but named .png</body></html>");
    assert_eq!(refusal(&page).code(), "invalid_media");
}

/// 30,000 × 30,000 in every header that can say so.
#[test]
fn a_huge_declared_size_is_refused_before_decoding() {
    let mut png = fixture("one_pixel.png");
    png[16..24].copy_from_slice(&[0, 0, 0x75, 0x30, 0, 0, 0x75, 0x30]);
    let mut jpeg = fixture("420.jpg");
    let frame = jpeg.windows(2).position(|window| window == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0x75, 0x30, 0x75, 0x30]);
    let mut gif = fixture("offset.gif");
    gif[6..10].copy_from_slice(&[0x30, 0x75, 0x30, 0x75]);
    let mut bmp = fixture("rgb.bmp");
    bmp[18..26].copy_from_slice(&[0x30, 0x75, 0, 0, 0x30, 0x75, 0, 0]);
    for bytes in [png, jpeg, gif, bmp] {
        let error = refusal(&bytes);
        assert_eq!(error.code(), "payload_too_large", "{error}");
        let message = error.to_string();
        assert!(message.contains("900000000") && message.contains("64000000"), "{message}");
    }
}

#[test]
fn more_bytes_than_the_limit_are_refused_with_limit_and_size() {
    let bytes = fixture("rgb.png");
    let error = decode(&bytes, &Limits { max_bytes: 100, ..LIMITS }).unwrap_err();
    assert_eq!(error.code(), "payload_too_large");
    let message = error.to_string();
    assert!(message.contains("100") && message.contains(&bytes.len().to_string()), "{message}");
}

#[test]
fn the_backend_is_the_one_that_the_reference_picks() {
    let backend = |name: &str| {
        let config = format!(r#"{{"image_processor_type": "{name}"}}"#);
        ImageProcessor::from_config(&config, None).unwrap().backend()
    };
    assert_eq!(backend("ViTImageProcessor"), Backend::Torchvision);
    assert_eq!(backend("CLIPImageProcessorFast"), Backend::Torchvision);
    assert_eq!(backend("ChameleonImageProcessor"), Backend::Pillow);
    assert_eq!(backend("FlavaImageProcessor"), Backend::Pillow);
}

#[test]
fn a_processor_is_found_by_every_name_the_files_give_it() {
    let found = |preprocessor: &str, model: Option<&str>| {
        let processor = ImageProcessor::from_config(preprocessor, model).unwrap();
        let pixels = processor.process(&picture("rgb.png")).unwrap();
        (pixels.channels, pixels.height, pixels.width)
    };
    assert_eq!(found(r#"{"feature_extractor_type": "ViTFeatureExtractor"}"#, None), (3, 224, 224));
    let nested = r#"{"image_processor": {"image_processor_type": "BlipImageProcessor"}}"#;
    assert_eq!(found(nested, None), (3, 384, 384));
    assert_eq!(found(r#"{"size": 32}"#, Some(r#"{"model_type": "swin"}"#)), (3, 32, 32));
}

#[test]
fn what_cannot_be_built_is_refused_by_name() {
    let refusal = |config: &str| ImageProcessor::from_config(config, None).unwrap_err();
    let error = refusal(r#"{"image_processor_type": "Emu3ImageProcessor"}"#);
    assert_eq!(error.code(), "format_not_supported");
    assert!(error.to_string().contains("Emu3ImageProcessor"), "{error}");
    assert!(matches!(refusal("{}"), ProcessorError::NoType));
    let fields = [
        (r#""size": {"height": 0, "width": 3}"#, "size"),
        (r#""size": {"height": 3}"#, "size"),
        (r#""resample": 9"#, "resample"),
        (r#""resample": 4"#, "resample"),
        (r#""image_mean": [0.5]"#, "image_mean"),
        (r#""rescale_factor": "x""#, "rescale_factor"),
        (r#""do_resize": 3"#, "do_resize"),
        (r#""do_center_crop": true"#, "crop_size"),
    ];
    for (field, name) in fields {
        let error =
            refusal(&format!(r#"{{"image_processor_type": "ViTImageProcessor", {field}}}"#));
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_resize_that_would_explode_is_refused() {
    let config = r#"{"image_processor_type": "CLIPImageProcessor", "size": 4000}"#;
    let error = ImageProcessor::from_config(config, None)
        .unwrap()
        .process(&picture("thin.png"))
        .unwrap_err();
    assert_eq!(error.code(), "payload_too_large");
}

const SEEDS: [&str; 12] = [
    "palette_transparent.png",
    "interlaced.png",
    "rgba_16.png",
    "420.jpg",
    "progressive.jpg",
    "ycck.jpg",
    "oriented_6.jpg",
    "animated.gif",
    "offset_transparent.gif",
    "lossless.webp",
    "palette.bmp",
    "oriented.tiff",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_pictures_never_panic(
        seed in 0..SEEDS.len(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let mut bytes = fixture(SEEDS[seed]);
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let limits = Limits { max_pixels: 1 << 20, max_bytes: 1 << 20 };
        if let Ok(picture) = decode(&bytes, &limits) {
            let n_pixels = picture.width as usize * picture.height as usize;
            prop_assert!(n_pixels > 0);
            prop_assert_eq!(picture.rgb.len(), n_pixels * 3);
        }
    }

    #[test]
    fn noise_behind_any_magic_never_panics(
        seed in 0..SEEDS.len(),
        noise in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut bytes = fixture(SEEDS[seed]);
        bytes.truncate(12);
        bytes.extend(noise);
        let limits = Limits { max_pixels: 1 << 20, max_bytes: 1 << 20 };
        let _ = decode(&bytes, &limits);
    }

    #[test]
    fn pillow_resizing_keeps_every_sample_in_range_at_any_size(
        (width, height) in (1u32..40, 1u32..40),
        (new_width, new_height) in (1u32..80, 1u32..80),
        level in any::<u8>(),
    ) {
        let rgb = vec![level; (width * height * 3) as usize];
        let picture = Picture { width, height, rgb };
        let resized = resize_like_pillow(&picture, new_width, new_height, Resample::Lanczos);
        prop_assert_eq!(resized.rgb.len(), (new_width * new_height * 3) as usize);
        prop_assert!(resized.rgb.iter().all(|&sample| sample.abs_diff(level) <= 1));
    }
}

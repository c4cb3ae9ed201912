//! Whole diffusion pipelines, from a request to its pictures, by seed.

use std::{fs, path::PathBuf};

use gpu_worker::{
    failure::Code,
    media::{self, Limits, Picture, Resample, resize_like_pillow},
    models::{self, ModelKind},
    tasks::Work,
};
use proto::media::Content;
use serde_json::{Value, json};

use crate::pipeline::{Asked, Brought, Case, Repository, paint, step};

const PIPELINES: &[&str] = &[
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
    "pipeline-upscaler",
    "pipeline-xl",
    "pipeline-xl-inpaint",
];
/// Bytes of a picture may differ by this much.
pub const TOLERANCE: u8 = 1;

pub fn difference(found: &[Picture], expected: &[Picture]) -> u8 {
    assert_eq!(found.len(), expected.len());
    let pairs = found.iter().zip(expected);
    let bytes = pairs.flat_map(|(found, expected)| {
        assert_eq!((found.width, found.height), (expected.width, expected.height));
        found.rgb.iter().zip(&expected.rgb)
    });
    bytes.map(|(found, expected)| found.abs_diff(*expected)).max().unwrap()
}

#[test]
fn pictures_equal_the_reference() {
    let _guard = tch::no_grad_guard();
    for name in PIPELINES {
        let repository = Repository::open(name);
        for Case { request, brought, expected } in repository.cases() {
            let (found, asked) = paint(&repository, &request, &brought);
            let difference = difference(&found, &expected);
            println!("{name}: {difference}");
            assert!(difference <= TOLERANCE, "{name}: {difference} for {request}");
            let verdict = (*name == "pipeline-checked").then_some(true);
            assert!(asked.verdicts.iter().all(|found| *found == verdict), "{name}");
            let steps: Vec<u32> = asked.progress.iter().map(|progress| progress.step).collect();
            let total = asked.progress[0].total_steps;
            assert_eq!(steps, (1..=total).collect::<Vec<u32>>(), "{name}");
            assert!(asked.progress.iter().all(|progress| progress.preview.is_none()));
        }
    }
}

#[test]
fn large_pictures_are_decoded_in_tiles_one_by_one_as_by_the_reference() {
    let _guard = tch::no_grad_guard();
    let repository = Repository::open("pipeline-tiled");
    // Latents of 10 × 18 are cut at every sixth, those of 10 × 12 too.
    for (Case { request, brought, expected }, n_tiles) in repository.cases().iter().zip([6, 4]) {
        let paint = |decoding_bytes| {
            let mut pipelines = repository.pipelines_with(decoding_bytes);
            let prepared = repository.prepare_with(request, brought).unwrap();
            let mut asked = Asked::of(&mut pipelines, prepared, "");
            let mut n_steps = 0;
            while step(&mut pipelines) {
                n_steps += 1;
            }
            let (pictures, notices) = asked.answer().unwrap();
            (difference(&pictures, expected), notices, n_steps - asked.progress.len())
        };
        let (same, notices, other_steps) = paint(0);
        assert!(same <= TOLERANCE, "{same} for {request}");
        assert!(notices[0].contains("--decoding-memory"), "{notices:?}");
        // The text, and every tile of every picture.
        assert_eq!(other_steps, 1 + n_tiles * expected.len());
        let (other, notices, other_steps) = paint(u64::MAX);
        assert!(other > TOLERANCE && notices.is_empty(), "{notices:?}");
        assert_eq!(other_steps, 1 + expected.len());
    }
}

#[test]
fn requests_together_paint_what_each_paints_alone() {
    let _guard = tch::no_grad_guard();
    let repository = Repository::open("pipeline-sd2");
    let mut pipelines = repository.pipelines();
    // The same twice, noise of every step included, and one of another size.
    let cases = repository.cases();
    let requests = [&cases[0], &cases[0], &cases[1]];
    let mut asked: Vec<Asked> = requests
        .iter()
        .zip(["a", "b", "a"])
        .map(|(case, tenant)| {
            Asked::of(&mut pipelines, repository.prepare(&case.request).unwrap(), tenant)
        })
        .collect();
    while step(&mut pipelines) {}
    for (Case { request, expected, .. }, asked) in requests.iter().zip(&mut asked) {
        let (found, notices) = asked.answer().unwrap();
        assert!(difference(&found, expected) <= TOLERANCE, "{request}");
        let is_cut = request["truncate"] == true;
        assert_eq!(notices.len(), usize::from(is_cut), "{notices:?}");
    }
    assert_eq!(pipelines.jobs(), 0);
}

#[test]
fn a_preview_comes_as_often_as_it_is_wanted_and_shows_the_picture() {
    let _guard = tch::no_grad_guard();
    let repository = Repository::open("pipeline-sd1");
    let request =
        json!({"text": "a circle", "num_inference_steps": 6, "seed": 1, "preview_every": 2});
    let (pictures, asked) = paint(&repository, &request, &Brought::default());
    let previews: Vec<(u32, &proto::Media)> = asked
        .progress
        .iter()
        .filter_map(|progress| Some((progress.step, progress.preview.as_ref()?)))
        .collect();
    // One more step than was asked for, as this scheduler has it; the last one is the picture itself.
    let steps: Vec<u32> = previews.iter().map(|(step, _)| *step).collect();
    assert_eq!(steps, [2, 4, 6]);
    for (_, media) in previews {
        assert_eq!(media.mime_type, "image/jpeg");
        let Some(Content::Inline(bytes)) = &media.content else { panic!("no bytes") };
        let preview = media::decode(bytes, &Limits::default()).unwrap();
        assert_eq!(
            (preview.width, preview.height),
            (pictures[0].width / 4, pictures[0].height / 4)
        );
    }
}

#[test]
fn whoever_leaves_costs_no_further_step() {
    let _guard = tch::no_grad_guard();
    let repository = Repository::open("pipeline-sd1");
    let mut pipelines = repository.pipelines();
    let request = json!({"text": "a circle", "num_inference_steps": 50, "seed": 1});
    let asked = Asked::of(&mut pipelines, repository.prepare(&request).unwrap(), "");
    assert!(step(&mut pipelines) && step(&mut pipelines));
    drop(asked);
    assert!(!step(&mut pipelines));
    assert_eq!(pipelines.jobs(), 0);
}

#[test]
fn what_cannot_be_painted_is_refused_by_its_field() {
    let repository = Repository::open("pipeline-sd1");
    let long = vec!["circle"; 100].join(" ");
    for (request, code, field) in [
        (json!({}), Code::InvalidRequest, "inputs.text"),
        (json!({"text": long}), Code::InputTooLong, "inputs.text"),
        (
            json!({"text": "", "negative_prompt": long}),
            Code::InputTooLong,
            "inputs.negative_prompt",
        ),
        (
            json!({"text": "", "num_inference_steps": 0}),
            Code::InvalidRequest,
            "options.num_inference_steps",
        ),
        (json!({"text": "", "width": 30}), Code::InvalidRequest, "options.width"),
        (json!({"text": "", "clip_skip": 3}), Code::InvalidRequest, "options.clip_skip"),
    ] {
        let Err(failure) = repository.prepare(&request) else { panic!("{request}") };
        assert_eq!((failure.code, failure.field.as_str()), (code, field), "{request}");
    }
}

#[test]
fn what_cannot_be_begun_with_is_refused_by_its_field() {
    let plain = |width: u32, height: u32| {
        Some(Picture { width, height, rgb: vec![200; (width * height * 3) as usize] })
    };
    let changes = Repository::open("pipeline-sd1");
    let fills = Repository::open("pipeline-inpaint");
    let refines = Repository::open("pipeline-refiner");
    let scored = json!({"text": "a circle", "aesthetic_score": 11.0});
    let edits = Repository::open("pipeline-pix2pix");
    let closely = json!({"text": "a circle", "image_guidance_scale": 2.0});
    let madly = json!({"text": "a circle", "image_guidance_scale": 1000.0});
    let text = json!({"text": "a circle"});
    let strong = |strength: f64| json!({"text": "a circle", "strength": strength});
    let weak = json!({"text": "a circle", "strength": 0.1, "num_inference_steps": 5});
    for (repository, request, picture, mask, code, field) in [
        (&changes, &strong(0.0), plain(16, 16), None, Code::InvalidRequest, "options.strength"),
        (&changes, &strong(1.5), plain(16, 16), None, Code::InvalidRequest, "options.strength"),
        (&changes, &weak, plain(16, 16), None, Code::InvalidRequest, "options.strength"),
        (&changes, &text, plain(3, 16), None, Code::InvalidMedia, "inputs.image_base64"),
        (&changes, &text, plain(16, 16), plain(16, 12), Code::InvalidRequest, "inputs.mask_base64"),
        (&fills, &text, plain(16, 16), None, Code::InvalidRequest, "inputs.mask_base64"),
        (
            &changes,
            &closely,
            plain(16, 16),
            None,
            Code::InvalidRequest,
            "options.image_guidance_scale",
        ),
        (&edits, &strong(0.5), plain(16, 16), None, Code::InvalidRequest, "options.strength"),
        (&edits, &text, plain(16, 16), plain(16, 16), Code::InvalidRequest, "inputs.mask_base64"),
        (&edits, &madly, plain(16, 16), None, Code::InvalidRequest, "options.image_guidance_scale"),
        (&edits, &text, None, None, Code::TaskNotSupported, "task"),
        (&changes, &scored, plain(16, 16), None, Code::InvalidRequest, "options.aesthetic_score"),
        (&refines, &scored, plain(16, 16), None, Code::InvalidRequest, "options.aesthetic_score"),
        (&refines, &text, None, None, Code::TaskNotSupported, "task"),
        (&fills, &text, None, None, Code::TaskNotSupported, "task"),
    ] {
        let brought = Brought { picture, mask, control: None };
        let Err(failure) = repository.prepare_with(request, &brought) else { panic!("{field}") };
        assert_eq!((failure.code, failure.field.as_str()), (code, field), "{failure}");
    }
}

#[test]
fn a_picture_of_any_kind_is_begun_with_as_it_is_read() {
    let repository = Repository::open("pipeline-sd1");
    // The last column: as brought to multiples of four, upright.
    for (file, width, height) in [
        ("rgba.png", 16, 8),
        ("grey_alpha.png", 16, 8),
        ("rgb_16.png", 4, 4),
        ("grey_16.png", 4, 4),
        ("cmyk.jpg", 16, 8),
        ("ycck.jpg", 16, 8),
        ("oriented_3.jpg", 16, 8),
        ("oriented_6.jpg", 8, 16),
        ("oriented.png", 8, 16),
        ("animated.gif", 16, 8),
        ("palette_transparent.png", 16, 8),
    ] {
        let bytes = image_file(file);
        let read = media::decode(&bytes, &Limits::default()).unwrap();
        let Work::Paint(paint) = repository.prepare_file(bytes).unwrap().work else {
            panic!("{file}")
        };
        let expected = resize_like_pillow(&read, width, height, Resample::Lanczos);
        assert_eq!(paint.given.unwrap().picture, expected, "{file}");
        assert_eq!(paint.size, [height as usize, width as usize], "{file}");
    }
    for bytes in [b"no picture".to_vec(), image_file("cmyk.jpg")[..200].to_vec(), Vec::new()] {
        let Err(failure) = repository.prepare_file(bytes) else { panic!("it was taken") };
        assert_eq!(
            (failure.code, failure.field.as_str()),
            (Code::InvalidMedia, "inputs.image_base64")
        );
    }
}

fn image_file(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/images");
    fs::read(folder.join(name)).unwrap()
}

#[test]
fn what_cannot_be_enlarged_is_refused_by_its_field() {
    let picture = || Some(Picture { width: 8, height: 12, rgb: vec![200; 8 * 12 * 3] });
    let enlarges = Repository::open("pipeline-upscaler");
    for (request, picture, field) in [
        (json!({"scale": 2}), picture(), "options.scale"),
        (json!({"tile": 64}), picture(), "options.tile"),
        (json!({"noise_level": 351}), picture(), "options.noise_level"),
        (json!({"num_inference_steps": 0}), picture(), "options.num_inference_steps"),
        (json!({"guidance_scale": -1.0}), picture(), "options.guidance_scale"),
        (json!({}), None, "inputs.image_base64"),
    ] {
        let brought = Brought { picture, ..Brought::default() };
        let Err(failure) = enlarges.prepare_with(&request, &brought) else { panic!("{field}") };
        assert_eq!((failure.code, failure.field.as_str()), (Code::InvalidRequest, field));
    }
    let usual = Brought { picture: picture(), ..Brought::default() };
    assert!(enlarges.prepare_with(&json!({"scale": 4}), &usual).is_ok());
}

#[test]
fn components_that_are_missing_or_unknown_are_named() {
    let _guard = tch::no_grad_guard();
    let repository = Repository::open("pipeline-sd1");
    let checkpoint = repository.checkpoint();
    let refusal = |change: &dyn Fn(&mut Value)| {
        let mut config = repository.config();
        change(&mut config);
        let architecture = models::find(repository.class()).unwrap();
        let root = checkpoint.root();
        match architecture.load(&config.to_string(), ModelKind::ImageGenerator, &root) {
            Ok(_) => panic!("{config} was not refused"),
            Err(error) => error.to_string(),
        }
    };
    let none = json!([null, null]);
    for (component, of, expected) in [
        ("unet", &none, "the pipeline has no unet"),
        ("text_encoder", &none, "the pipeline has no text_encoder"),
        ("vae", &json!(["diffusers", "VQModel"]), "the pipeline's vae is a VQModel"),
        (
            "image_encoder",
            &json!(["transformers", "CLIPVisionModelWithProjection"]),
            "the pipeline's image_encoder is a CLIPVisionModelWithProjection",
        ),
    ] {
        let refusal = refusal(&|config| config["index"][component] = of.clone());
        assert!(refusal.contains(expected), "{refusal}");
    }
    let refusal =
        refusal(&|config| config["components"]["unet"]["attention_type"] = json!("gated"));
    assert!(refusal.contains("unet: config.json: attention_type = gated"), "{refusal}");
}

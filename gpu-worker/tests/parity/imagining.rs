//! Whole pipelines that look at nothing, from a request to its pictures, by seed.

use gpu_worker::{failure::Code, media, models};
use proto::media::Content;
use serde_json::{Value, json};

use crate::{
    painting::{TOLERANCE, difference},
    pipeline::{Asked, Brought, Case, Repository, paint, step},
};

const PIPELINES: &[&str] = &["pipeline-ddim", "pipeline-ddpm"];

#[test]
fn pictures_of_nothing_equal_the_reference() {
    let _guard = tch::no_grad_guard();
    for name in PIPELINES {
        let repository = Repository::open(name);
        for Case { request, brought, expected } in repository.cases() {
            let (found, asked) = paint(&repository, &request, &brought);
            let difference = difference(&found, &expected);
            println!("{name}: {difference}");
            assert!(difference <= TOLERANCE, "{name}: {difference} for {request}");
            let steps: Vec<u32> = asked.progress.iter().map(|progress| progress.step).collect();
            let total = request["num_inference_steps"].as_u64().unwrap() as u32;
            assert_eq!(steps, (1..=total).collect::<Vec<u32>>(), "{name}");
        }
    }
}

#[test]
fn requests_take_turns_and_each_gets_what_it_gets_alone() {
    let _guard = tch::no_grad_guard();
    let repository = Repository::open("pipeline-ddpm");
    let mut pipelines = repository.pipelines();
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
        assert!(notices.is_empty());
    }
    assert_eq!(pipelines.jobs(), 0);
}

#[test]
fn a_preview_is_the_picture_as_far_as_it_is() {
    let _guard = tch::no_grad_guard();
    let repository = Repository::open("pipeline-ddim");
    let request = json!({"num_inference_steps": 6, "seed": 11, "preview_every": 2});
    let (pictures, asked) = paint(&repository, &request, &Brought::default());
    let previews: Vec<(u32, &proto::Media)> = asked
        .progress
        .iter()
        .filter_map(|progress| Some((progress.step, progress.preview.as_ref()?)))
        .collect();
    assert_eq!(previews.iter().map(|(step, _)| *step).collect::<Vec<u32>>(), [2, 4]);
    for (_, preview) in previews {
        let Some(Content::Inline(bytes)) = &preview.content else { panic!("no bytes") };
        let preview = media::decode(bytes, &media::Limits::default()).unwrap();
        assert_eq!((preview.width, preview.height), (pictures[0].width, pictures[0].height));
    }
}

#[test]
fn whoever_leaves_costs_no_further_step() {
    let _guard = tch::no_grad_guard();
    let repository = Repository::open("pipeline-ddpm");
    let mut pipelines = repository.pipelines();
    let request = json!({"num_inference_steps": 50, "seed": 1});
    let asked = Asked::of(&mut pipelines, repository.prepare(&request).unwrap(), "");
    assert!(step(&mut pipelines) && step(&mut pipelines));
    drop(asked);
    assert!(!step(&mut pipelines));
    assert_eq!(pipelines.jobs(), 0);
}

#[test]
fn what_cannot_be_imagined_is_refused_by_its_field() {
    let repository = Repository::open("pipeline-ddpm");
    for (request, field) in [
        (json!({"num_inference_steps": 0}), "options.num_inference_steps"),
        (json!({"num_inference_steps": 1001}), "options.num_inference_steps"),
        (json!({"num_images": 0}), "options.num_images"),
        (json!({"scheduler": "flow_match_euler"}), "options.scheduler"),
    ] {
        let Err(failure) = repository.prepare(&request) else { panic!("{request}") };
        assert_eq!(
            (failure.code, failure.field.as_str()),
            (Code::InvalidRequest, field),
            "{request}"
        );
    }
}

#[test]
fn networks_that_are_no_pictures_are_refused_by_what_their_config_says() {
    let _guard = tch::no_grad_guard();
    let repository = Repository::open("pipeline-ddpm");
    let checkpoint = repository.checkpoint();
    let refusal = |change: &dyn Fn(&mut Value)| {
        let mut config = repository.config();
        change(&mut config);
        let architecture = models::find(repository.class()).unwrap();
        match architecture.load(&config.to_string(), architecture.kinds[0], &checkpoint.root()) {
            Ok(_) => panic!("{config} was not refused"),
            Err(error) => error.to_string(),
        }
    };
    let none = json!([null, null]);
    let missing = refusal(&|config| config["index"]["unet"] = none.clone());
    assert!(missing.contains("the pipeline has no unet"), "{missing}");
    let movq = json!(["diffusers", "VQModel"]);
    let other = refusal(&|config| config["index"]["vqvae"] = movq.clone());
    assert!(other.contains("the pipeline's vqvae is a VQModel"), "{other}");
    let endless = refusal(&|config| config["components"]["unet"]["sample_size"] = Value::Null);
    assert!(endless.contains("sample_size"), "{endless}");
}

//! Pipelines of transformers: what their families refuse that others do not, and what their components must have in common.

use gpu_worker::{
    failure::Code,
    media::Picture,
    models::{self, ModelKind},
};
use serde_json::{Value, json};

use crate::pipeline::{Asked, Brought, Repository, step};

#[test]
fn what_a_family_has_no_use_for_is_refused_by_its_field() {
    let text = |more: Value| {
        let mut request = json!({"text": "a circle", "width": 16, "height": 16});
        let fields = more.as_object().unwrap().clone();
        request.as_object_mut().unwrap().extend(fields);
        request
    };
    let long = vec!["circle"; 400].join(" ");
    for (name, request, code, field) in [
        ("pipeline-flux", json!({"width": 18}), Code::InvalidRequest, "options.width"),
        ("pipeline-flux", json!({"clip_skip": 1}), Code::InvalidRequest, "options.clip_skip"),
        ("pipeline-flux", json!({"eta": 0.5}), Code::InvalidRequest, "options.eta"),
        (
            "pipeline-flux",
            json!({"negative_prompt": "red"}),
            Code::InvalidRequest,
            "inputs.negative_prompt",
        ),
        (
            "pipeline-flux",
            json!({"true_cfg_scale": 2.0}),
            Code::InvalidRequest,
            "options.true_cfg_scale",
        ),
        (
            "pipeline-flux",
            json!({"true_cfg_scale": -1.0}),
            Code::InvalidRequest,
            "options.true_cfg_scale",
        ),
        (
            "pipeline-flux",
            json!({"max_sequence_length": 513}),
            Code::InvalidRequest,
            "options.max_sequence_length",
        ),
        ("pipeline-flux", json!({"text": long}), Code::InputTooLong, "inputs.text"),
        (
            "pipeline-schnell",
            json!({"guidance_scale": 3.5}),
            Code::InvalidRequest,
            "options.guidance_scale",
        ),
        ("pipeline-sd3", json!({"height": 18}), Code::InvalidRequest, "options.height"),
        // It has places for no more tokens on a side.
        ("pipeline-sd3", json!({"height": 52}), Code::InvalidRequest, "options.height"),
        ("pipeline-sd3", json!({"clip_skip": 2}), Code::InvalidRequest, "options.clip_skip"),
        ("pipeline-sd3", json!({"text": long}), Code::InputTooLong, "inputs.text"),
        (
            "pipeline-sd3",
            json!({"true_cfg_scale": 1.0}),
            Code::InvalidRequest,
            "options.true_cfg_scale",
        ),
        // Without T5 a text must be one that CLIP reads as a whole.
        (
            "pipeline-sd35",
            json!({"text": vec!["circle"; 60].join(" ")}),
            Code::InputTooLong,
            "inputs.text",
        ),
        (
            "pipeline-sd1",
            json!({"max_sequence_length": 77}),
            Code::InvalidRequest,
            "options.max_sequence_length",
        ),
    ] {
        let request = text(request);
        let Err(failure) = Repository::open(name).prepare(&request) else { panic!("{request}") };
        assert_eq!((failure.code, failure.field.as_str()), (code, field), "{name} {request}");
    }
}

#[test]
fn a_picture_larger_than_a_model_has_places_for_is_refused() {
    let repository = Repository::open("pipeline-sd3");
    let picture = Picture { width: 52, height: 16, rgb: vec![0; 52 * 16 * 3] };
    let brought = Brought { picture: Some(picture), ..Brought::default() };
    let refused = repository.prepare_with(&json!({"text": "a circle"}), &brought);
    let Err(failure) = refused else { panic!("it was not refused") };
    assert_eq!(failure.field, "inputs.image_base64");
}

#[test]
fn what_clip_does_not_read_to_its_end_is_told() {
    let _guard = tch::no_grad_guard();
    let repository = Repository::open("pipeline-flux");
    let text = ["a small red circle on blue"; 12].join(" ");
    let request = json!({"text": text, "num_inference_steps": 1, "width": 8, "height": 8});
    let mut pipelines = repository.pipelines();
    let mut asked = Asked::of(&mut pipelines, repository.prepare(&request).unwrap(), "");
    while step(&mut pipelines) {}
    let (_, notices) = asked.answer().unwrap();
    assert_eq!(
        notices,
        ["of inputs.text, text_encoder reads 77 of 218 tokens; T5 reads on".to_owned()]
    );
}

/// Why a pipeline whose document was changed is not loaded.
fn refusal(repository: &Repository, change: impl Fn(&mut Value)) -> String {
    let mut config = repository.config();
    change(&mut config);
    let checkpoint = repository.checkpoint();
    let architecture = models::find(repository.class()).unwrap();
    let root = checkpoint.root();
    match architecture.load(&config.to_string(), ModelKind::ImageGenerator, &root) {
        Ok(_) => panic!("{config} was not refused"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn components_that_do_not_fit_together_are_named() {
    let _guard = tch::no_grad_guard();
    let none = json!([null, null]);
    let of = |class: &str| json!(["transformers", class]);
    for (name, component, class, expected) in [
        ("pipeline-flux", "text_encoder_2", none.clone(), "the pipeline has no text_encoder_2"),
        ("pipeline-flux", "transformer", none.clone(), "the pipeline has no transformer"),
        (
            "pipeline-flux",
            "text_encoder_2",
            of("UMT5EncoderModel"),
            "the pipeline's text_encoder_2 is a UMT5EncoderModel",
        ),
        (
            "pipeline-flux",
            "image_encoder",
            of("CLIPVisionModelWithProjection"),
            "the pipeline's image_encoder is a CLIPVisionModelWithProjection",
        ),
        ("pipeline-sd3", "text_encoder_2", none, "the pipeline has no text_encoder_2"),
        (
            "pipeline-sd3",
            "image_encoder",
            of("SiglipVisionModel"),
            "the pipeline's image_encoder is a SiglipVisionModel",
        ),
    ] {
        let repository = Repository::open(name);
        let refusal = refusal(&repository, |config| config["index"][component] = class.clone());
        assert!(refusal.contains(expected), "{refusal}");
    }
    for (name, component, other, expected) in [
        ("pipeline-flux", "transformer", "flux-dev", "joint_attention_dim = 12, where another"),
        ("pipeline-flux", "vae", "vae-flux", "latent_channels = 6, where another"),
        ("pipeline-sd3", "transformer", "sd3-medium", "joint_attention_dim = 12, where another"),
        ("pipeline-sd3", "vae", "vae-flux", "in_channels = 16, where another"),
        ("pipeline-sd35", "transformer", "sd3-5", "joint_attention_dim = 12"),
    ] {
        let repository = Repository::open(name).with(component, other);
        let refusal = refusal(&repository, |_| ());
        assert!(refusal.contains(expected), "{refusal}");
    }
}

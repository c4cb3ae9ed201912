//! ControlNets: what they tell a U-Net to add, and which of them fit a pipeline.

use gpu_worker::{
    failure::Code,
    layers::Step,
    media::Picture,
    models::{
        self, LoadError, ModelKind,
        diffusion::{Conditioning, ControlNet},
    },
};
use serde_json::{Value, json};
use tch::{Kind, Tensor};

use crate::{
    fixture::{Fixture, assert_close},
    pipeline::{Brought, Repository},
};

pub const CONTROL_NETS: &[&str] = &["control-net", "control-net-bgr", "control-net-pooled"];

fn fixture(name: &str) -> Fixture {
    Fixture::open(&format!("diffusion/{name}"))
}

/// What a network tells of rows `start..` of the fixture's inputs, with and without guessing, and what the reference does.
pub fn answers(fixture: &Fixture, start: i64) -> Vec<(Tensor, Tensor)> {
    let checkpoint = fixture.checkpoint(&[], Kind::Float);
    let network = ControlNet::load(fixture.config(), &checkpoint.root()).unwrap();
    assert_eq!(checkpoint.finish().unwrap().0, Vec::<String>::new());
    let rows = |of: &Tensor| of.narrow(0, start, of.size()[0] - start);
    let step = Step::whole();
    let embedded = network.embed(&rows(fixture.expected("picture")), &step);
    let told = |name: &str, guesses: bool| {
        let [sample, times, text] =
            ["sample", "times", "text"].map(|name| rows(fixture.expected(name)));
        let conditioning = Conditioning { scale: 0.7, guesses };
        let control = network.forward(&sample, &times, &text, &embedded, conditioning, &step);
        let all = control.down.into_iter().chain([control.mid]).enumerate();
        all.map(|(at, told)| (told, rows(fixture.expected(&format!("{name}_{at}")))))
            .collect::<Vec<_>>()
    };
    let mut answers = told("added", false);
    answers.extend(told("guessed", true));
    assert!(fixture.find(&format!("added_{}", answers.len() / 2)).is_none());
    answers
}

#[test]
fn what_is_told_equals_the_reference_for_a_batch_and_for_a_row_alone() {
    let _guard = tch::no_grad_guard();
    for name in CONTROL_NETS {
        let fixture = fixture(name);
        for start in [0, 1] {
            for (found, expected) in answers(&fixture, start) {
                assert_close(&found, &expected, name);
            }
        }
    }
}

#[test]
fn what_a_control_net_does_not_have_is_refused_by_its_field() {
    let _guard = tch::no_grad_guard();
    let fixture = fixture("control-net");
    for (field, value) in [
        ("class_embed_type", json!("timestep")),
        ("num_class_embeds", json!(3)),
        ("addition_embed_type", json!("text_time")),
        ("encoder_hid_dim", json!(8)),
        ("mid_block_type", Value::Null),
        ("mid_block_type", json!("UNetMidBlock2DSimpleCrossAttn")),
        ("down_block_types", json!(["DownBlock2D"])),
        ("controlnet_conditioning_channel_order", json!("grb")),
        ("conditioning_channels", json!(0)),
        ("conditioning_embedding_out_channels", json!([])),
        ("conditioning_embedding_out_channels", json!([4, -1])),
    ] {
        let mut config: Value = serde_json::from_str(fixture.config()).unwrap();
        config[field] = value.clone();
        let checkpoint = fixture.checkpoint(&[], Kind::Float);
        let refused = ControlNet::load(&config.to_string(), &checkpoint.root()).map(drop);
        let Err(LoadError::UnsupportedValue { field: named, .. }) = refused else {
            panic!("{field} = {value}: {:?}", refused.err());
        };
        assert_eq!(named, field, "{value}");
    }
}

#[test]
fn a_control_net_that_does_not_fit_its_pipeline_is_refused_by_name() {
    let _guard = tch::no_grad_guard();
    let repository = Repository::open("pipeline-control");
    let checkpoint = repository.checkpoint();
    let refusal = |change: &dyn Fn(&mut Value)| {
        let mut config = repository.config();
        change(&mut config);
        let architecture = models::find(repository.class()).unwrap();
        let loaded =
            architecture.load(&config.to_string(), ModelKind::ImageGenerator, &checkpoint.root());
        loaded.map(drop).unwrap_err().to_string()
    };
    let missing = refusal(&|config| config["index"]["controlnet"] = json!([null, null]));
    assert!(missing.contains("the pipeline has no controlnet"), "{missing}");
    let several = refusal(&|config| {
        config["index"]["controlnet"] = json!(["diffusers", "MultiControlNetModel"]);
    });
    assert!(several.contains("controlnet is a MultiControlNetModel"), "{several}");
    let grey = refusal(&|config| {
        config["components"]["controlnet"]["conditioning_channels"] = json!(1);
    });
    assert!(grey.contains("controlnet_cond_embedding.conv_in.weight"), "{grey}");
}

#[test]
fn what_cannot_be_painted_after_is_refused_by_its_field() {
    let plain = |width: u32, height: u32| {
        Some(Picture { width, height, rgb: vec![200; (width * height * 3) as usize] })
    };
    let controlled = Repository::open("pipeline-control");
    let free = Repository::open("pipeline-sd1");
    let with = |name: &str, value: f64| json!({"text": "a circle", name: value});
    let text = json!({"text": "a circle"});
    let scale = "controlnet_conditioning_scale";
    let control = "inputs.control_image_base64";
    let late = json!({"text": "", "control_guidance_start": 0.5, "control_guidance_end": 0.5});
    for (repository, request, picture, after, code, field) in [
        (&controlled, &text, None, None, Code::InvalidRequest, control),
        (&controlled, &text, plain(16, 16), None, Code::InvalidRequest, control),
        (&controlled, &text, None, plain(3, 16), Code::InvalidMedia, control),
        (&controlled, &text, plain(16, 16), plain(16, 12), Code::InvalidRequest, control),
        (&free, &text, None, plain(16, 16), Code::InvalidRequest, control),
        (
            &free,
            &with(scale, 1.0),
            None,
            None,
            Code::InvalidRequest,
            "options.controlnet_conditioning_scale",
        ),
        (
            &controlled,
            &with(scale, -1.0),
            None,
            plain(16, 16),
            Code::InvalidRequest,
            "options.controlnet_conditioning_scale",
        ),
        (
            &controlled,
            &with("control_guidance_start", -0.1),
            None,
            plain(16, 16),
            Code::InvalidRequest,
            "options.control_guidance_start",
        ),
        (
            &controlled,
            &with("control_guidance_end", 1.1),
            None,
            plain(16, 16),
            Code::InvalidRequest,
            "options.control_guidance_end",
        ),
        (
            &controlled,
            &late,
            None,
            plain(16, 16),
            Code::InvalidRequest,
            "options.control_guidance_start",
        ),
    ] {
        let brought = Brought { picture, mask: None, control: after };
        let Err(failure) = repository.prepare_with(request, &brought) else {
            panic!("{field}: {request}")
        };
        assert_eq!((failure.code, failure.field.as_str()), (code, field), "{failure}");
    }
}

//! The transformers of diffusion pipelines: a batch, and one of it alone.

use gpu_worker::{
    layers::Step,
    models::{
        LoadError,
        diffusion::{FluxTransformer, Sd3Transformer},
    },
};
use serde_json::{Value, json};
use tch::{Kind, Tensor};

use crate::fixture::{Fixture, assert_close, difference};

pub const FLUX: &[&str] = &["flux-dev", "flux-schnell"];
pub const SD3: &[&str] = &["sd3-5", "sd3-medium"];

fn fixture(name: &str) -> Fixture {
    Fixture::open(&format!("diffusion/{name}"))
}

pub enum Transformer {
    Flux(FluxTransformer),
    Sd3(Sd3Transformer),
}

impl Transformer {
    pub fn load(name: &str, config: &str, fixture: &Fixture) -> Result<Self, LoadError> {
        let checkpoint = fixture.checkpoint(&[], Kind::Float);
        let model = if FLUX.contains(&name) {
            Self::Flux(FluxTransformer::load(config, &checkpoint.root())?)
        } else {
            Self::Sd3(Sd3Transformer::load(config, &checkpoint.root())?)
        };
        assert_eq!(checkpoint.finish()?.0, Vec::<String>::new());
        Ok(model)
    }

    /// What it makes of rows `start..` of the fixture's inputs.
    pub fn denoised(&self, fixture: &Fixture, start: i64) -> Tensor {
        let rows = |name: &str| {
            let tensor = fixture.find(name)?;
            Some(tensor.narrow(0, start, tensor.size()[0] - start))
        };
        let [latents, times, text, pooled] =
            ["sample", "times", "text", "pooled"].map(|name| rows(name).unwrap());
        let step = Step::whole();
        match self {
            Self::Flux(model) => {
                let guidance = rows("guidance");
                assert_eq!(model.is_guided(), guidance.is_some());
                model.forward(&latents, &times, &text, &pooled, guidance.as_ref(), &step)
            }
            Self::Sd3(model) => model.forward(&latents, &times, &text, &pooled, &step),
        }
    }
}

/// The largest difference of every transformer; none is above the tolerance.
pub fn every_transformer(mut found: impl FnMut(&str, f64)) {
    let _guard = tch::no_grad_guard();
    for name in FLUX.iter().chain(SD3) {
        let fixture = fixture(name);
        let model = Transformer::load(name, fixture.config(), &fixture).unwrap();
        let (answer, expected) = (model.denoised(&fixture, 0), fixture.expected("answer"));
        assert_close(&answer, expected, name);
        found(name, difference(&answer, expected));
    }
}

#[test]
fn every_transformer_equals_the_reference() {
    every_transformer(|name, difference| println!("{name}: {difference:.1e}"));
}

#[test]
fn a_row_of_a_batch_is_denoised_as_it_is_alone() {
    let _guard = tch::no_grad_guard();
    for name in FLUX.iter().chain(SD3) {
        let fixture = fixture(name);
        let model = Transformer::load(name, fixture.config(), &fixture).unwrap();
        let expected = fixture.expected("answer").narrow(0, 1, 1);
        assert_close(&model.denoised(&fixture, 1), &expected, name);
    }
}

/// Times are rounded as by the reference, which is much where they are large.
#[test]
fn half_types_stay_near_the_references() {
    let _guard = tch::no_grad_guard();
    for name in FLUX.iter().chain(SD3) {
        let fixture = fixture(name);
        let checkpoint = fixture.checkpoint(&[], Kind::BFloat16);
        let rows = |name: &str| fixture.expected(name).to_kind(Kind::BFloat16);
        let (latents, text, pooled) = (rows("sample"), rows("text"), rows("pooled"));
        let (times, step) = (fixture.expected("times"), Step::whole());
        let answer = if FLUX.contains(name) {
            let model = FluxTransformer::load(fixture.config(), &checkpoint.root()).unwrap();
            let guidance = fixture.find("guidance");
            model.forward(&latents, times, &text, &pooled, guidance, &step)
        } else {
            let model = Sd3Transformer::load(fixture.config(), &checkpoint.root()).unwrap();
            model.forward(&latents, times, &text, &pooled, &step)
        };
        assert_eq!(answer.kind(), Kind::BFloat16);
        let expected = fixture.expected("half");
        let scale = expected.abs().max().double_value(&[]);
        let difference = difference(&answer.to_kind(Kind::Float), expected) / scale;
        println!("{name}: {difference:.1e}");
        assert!(difference < 0.05, "{name}: {difference}");
    }
}

#[test]
fn what_a_transformer_does_not_have_is_refused_by_its_field() {
    let _guard = tch::no_grad_guard();
    for (name, field, value) in [
        ("flux-dev", "patch_size", json!(2)),
        ("flux-dev", "in_channels", json!(18)),
        ("flux-dev", "out_channels", json!(8)),
        ("flux-dev", "num_layers", json!(-1)),
        ("flux-dev", "num_single_layers", json!(1_000_000)),
        ("flux-dev", "attention_head_dim", json!(0)),
        ("flux-dev", "axes_dims_rope", json!([2, 4])),
        ("flux-dev", "axes_dims_rope", json!([1, 5, 6])),
        ("flux-dev", "axes_dims_rope", json!([4, 4, 6])),
        ("sd3-medium", "qk_norm", json!("layer_norm")),
        ("sd3-medium", "pos_embed_max_size", Value::Null),
        ("sd3-medium", "pos_embed_max_size", json!(1 << 20)),
        ("sd3-medium", "caption_projection_dim", json!(12)),
        ("sd3-medium", "patch_size", json!(0)),
        ("sd3-medium", "patch_size", json!(1 << 30)),
        ("sd3-medium", "num_layers", json!(5000)),
        ("sd3-medium", "num_layers", json!(0)),
    ] {
        let fixture = fixture(name);
        let mut config: Value = serde_json::from_str(fixture.config()).unwrap();
        config[field] = value.clone();
        let refused = Transformer::load(name, &config.to_string(), &fixture).map(drop);
        let Err(LoadError::UnsupportedValue { field: named, .. }) = refused else {
            panic!("{name} with {field} = {value}: {:?}", refused.err());
        };
        assert_eq!(named, field, "{value}");
    }
}

//! Schedulers: timesteps, levels of noise, and the sample after every step.
//!
//! The fixture is made by `tests/fixtures/make/make_schedulers.py`.

use std::{collections::HashMap, fs, path::PathBuf};

use gpu_worker::schedulers::{Request, Scheduler, SchedulerConfig, Steps};
use serde::Deserialize;
use serde_json::Value;
use tch::{Kind, Tensor};

use crate::hashed_weights;

/// Of the largest value that a step gives.
const TOLERANCE: f64 = 1e-5;
/// Of the largest value that a step was given: where most of it is taken away, its rounding stays, and kinds of processors
/// round sums differently.
const ROUNDING: f64 = 4.0 * f32::EPSILON as f64;
/// On a CPU the reference rounds coefficients to bfloat16 too, on a GPU it does not; nor do we.
const HALF_TOLERANCE: f64 = 3e-2;
const SHAPE: [i64; 4] = [2, 3, 2, 2];

#[derive(Deserialize)]
struct Case {
    config: Value,
    request: Asked,
}

#[derive(Debug, Deserialize)]
struct Asked {
    steps: Option<usize>,
    timesteps: Option<Vec<usize>>,
    sigmas: Option<Vec<f64>>,
    eta: Option<f64>,
    mu: Option<f64>,
    begin: Option<usize>,
    dtype: Option<String>,
}

impl Asked {
    fn kind(&self) -> Kind {
        match self.dtype.as_deref() {
            None => Kind::Float,
            Some("bfloat16") => Kind::BFloat16,
            Some(other) => panic!("unknown dtype {other}"),
        }
    }

    fn request(&self) -> Request {
        let steps = match (self.steps, &self.timesteps, &self.sigmas) {
            (Some(n), None, None) => Steps::Count(n),
            (None, Some(own), None) => Steps::Timesteps(own.clone()),
            (None, None, Some(own)) => Steps::Sigmas(own.clone()),
            _ => panic!("a case asks for one kind of steps"),
        };
        Request { steps, eta: self.eta.unwrap_or(0.0), mu: self.mu }
    }
}

fn hashed(name: &str) -> Tensor {
    let values = hashed_weights::unit(name, SHAPE.iter().product(), hashed_weights::SEED);
    Tensor::from_slice(&values).view(SHAPE)
}

/// The n-th draw is the same here and in the script.
fn noise_source() -> impl FnMut(&[i64], Kind) -> Tensor {
    let mut n_draws = 0;
    move |shape, kind| {
        assert_eq!(shape, SHAPE);
        n_draws += 1;
        hashed(&format!("noise {n_draws}")).to_kind(kind)
    }
}

/// The first sample, and the one after every step.
fn samples(scheduler: &mut dyn Scheduler, begin: usize, kind: Kind) -> Vec<Tensor> {
    let mut noise = noise_source();
    let hashed = |name: &str| hashed(name).to_kind(kind);
    let mut sample = match begin {
        0 => hashed("start") * scheduler.init_noise_sigma(),
        begin => scheduler.add_noise(&hashed("original"), &hashed("start"), begin),
    };
    let mut samples = vec![sample.shallow_clone()];
    for index in begin..scheduler.timesteps().len() {
        let scaled = scheduler.scale_input(&sample, index);
        let output = hashed(&format!("output {index}")) * 0.5 + scaled * 0.25;
        sample = scheduler.step(&output, index, &sample, &mut noise);
        assert_eq!(sample.kind(), kind);
        samples.push(sample.shallow_clone());
    }
    samples
}

fn check(case: &Case, expected: impl Fn(&str) -> Option<Tensor>) -> Result<(), String> {
    let config = SchedulerConfig::read(&case.config).map_err(|error| error.to_string())?;
    let mut scheduler = config.start(&case.request.request()).map_err(|error| error.to_string())?;
    let tolerance = if case.request.kind() == Kind::Float { TOLERANCE } else { HALF_TOLERANCE };
    let largest = |of: &Tensor| of.abs().max().double_value(&[]);
    let near_after = |what: &str, found: &Tensor, expected: &Tensor, given: f64| {
        if found.size() != expected.size() {
            return Err(format!("{what}: {:?} for {:?}", found.size(), expected.size()));
        }
        let scale = largest(expected).max(1e-3);
        let difference = largest(&(found - expected)) / scale;
        // A value that is no number is not near.
        if difference <= tolerance + ROUNDING * given / scale {
            Ok(())
        } else {
            Err(format!("{what}: {difference:e}"))
        }
    };
    let near =
        |what: &str, found: &Tensor, expected: &Tensor| near_after(what, found, expected, 0.0);
    let wanted = |name: &str| expected(name).ok_or_else(|| format!("no {name}"));
    near("timesteps", &Tensor::from_slice(scheduler.timesteps()), &wanted("timesteps")?)?;
    if let Some(sigmas) = expected("sigmas") {
        near("sigmas", &Tensor::from_slice(scheduler.sigmas()), &sigmas)?;
    }
    let first = Tensor::from(scheduler.init_noise_sigma());
    near("init_noise_sigma", &first, &wanted("init_noise_sigma")?)?;
    let samples = samples(scheduler.as_mut(), case.request.begin.unwrap_or(0), case.request.kind());
    let expected = wanted("samples")?;
    if samples.len() as i64 != expected.size()[0] {
        return Err(format!("{} samples for {}", samples.len(), expected.size()[0]));
    }
    let mut given = 0.0;
    for (index, sample) in samples.iter().enumerate() {
        let expected = expected.get(index as i64);
        near_after(&format!("sample {index}"), &sample.to_kind(Kind::Float), &expected, given)?;
        given = largest(&expected);
    }
    Ok(())
}

fn check_all(class: &str) {
    let _guard = tch::no_grad_guard();
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/schedulers");
    let cases: Vec<Case> =
        serde_json::from_str(&fs::read_to_string(folder.join("cases.json")).unwrap()).unwrap();
    let tensors: HashMap<String, Tensor> =
        Tensor::read_safetensors(folder.join("expected.safetensors"))
            .unwrap()
            .into_iter()
            .collect();
    let (mut n_checked, mut wrong) = (0, Vec::new());
    for (idx, case) in cases.iter().enumerate() {
        if case.config["_class_name"] != class {
            continue;
        }
        n_checked += 1;
        let expected =
            |name: &str| tensors.get(&format!("{idx}.{name}")).map(Tensor::shallow_clone);
        if let Err(error) = check(case, expected) {
            wrong.push(format!("case {idx} {} {:?}: {error}", case.config, case.request));
        }
    }
    assert!(n_checked > 0, "no case of {class}");
    assert!(wrong.is_empty(), "{} of {n_checked}: {wrong:#?}", wrong.len());
}

#[test]
fn ddim_equals_the_reference() {
    check_all("DDIMScheduler");
}

#[test]
fn ddpm_equals_the_reference() {
    check_all("DDPMScheduler");
}

#[test]
fn pndm_equals_the_reference() {
    check_all("PNDMScheduler");
}

#[test]
fn lms_equals_the_reference() {
    check_all("LMSDiscreteScheduler");
}

#[test]
fn euler_equals_the_reference() {
    check_all("EulerDiscreteScheduler");
}

#[test]
fn euler_ancestral_equals_the_reference() {
    check_all("EulerAncestralDiscreteScheduler");
}

#[test]
fn heun_equals_the_reference() {
    check_all("HeunDiscreteScheduler");
}

#[test]
fn dpm_multistep_equals_the_reference() {
    check_all("DPMSolverMultistepScheduler");
}

#[test]
fn unipc_equals_the_reference() {
    check_all("UniPCMultistepScheduler");
}

#[test]
fn lcm_equals_the_reference() {
    check_all("LCMScheduler");
}

#[test]
fn flow_match_euler_equals_the_reference() {
    check_all("FlowMatchEulerDiscreteScheduler");
}

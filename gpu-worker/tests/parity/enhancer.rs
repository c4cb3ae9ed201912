//! Models that enlarge and repair pictures: a batch, a picture of it alone, and one whose sides are no multiple of
//! anything.

use gpu_worker::{
    layers::Step,
    models::{ImageEnhancer, Model, ModelKind},
};
use tch::{Kind, Tensor};

use crate::{
    fixture::{Fixture, assert_within},
    hashed_weights,
};

/// Deep convolutions round more than the rest.
pub const TOLERANCE: f64 = 5e-5;

pub const ENHANCERS: &[&str] = &[
    "swin2sr",
    "swin2sr-x4",
    "swin2sr-x3",
    "swin2sr-aux",
    "swin2sr-direct",
    "swin2sr-nearest",
    "swin2sr-restoring",
    "swin2sr-colours",
    "swin2sr-unshifted",
    "rrdbnet",
    "rrdbnet-x2",
    "rrdbnet-x1",
    "rrdbnet-x8",
    "rrdbnet-grey",
];

pub fn model(fixture: &Fixture) -> Box<dyn ImageEnhancer> {
    match fixture.load(ModelKind::ImageEnhancer, Kind::Float) {
        Model::ImageEnhancer(model) => model,
        _ => panic!("the model is not what was asked for"),
    }
}

/// Pictures that become what the fixture holds under that name.
pub fn pixels(model: &dyn ImageEnhancer, name: &str, expected: &Tensor) -> Tensor {
    let (batch, _, height, width) = expected.size4().unwrap();
    let shape = [batch, model.n_channels(), height / model.scale(), width / model.scale()];
    let pixels = hashed_weights::unit(name, shape.iter().product(), hashed_weights::SEED);
    (Tensor::from_slice(&pixels).view(shape) + 1.0) / 2.0
}

#[test]
fn pictures_equal_the_reference() {
    let _guard = tch::no_grad_guard();
    for name in ENHANCERS {
        let fixture = Fixture::open(name);
        let model = model(&fixture);
        for size in ["even", "odd"] {
            let expected = fixture.expected(size);
            let pixels = pixels(&*model, size, expected);
            let what = format!("{name} {size}");
            assert_within(TOLERANCE, &model.enhance(&pixels, &Step::whole()), expected, &what);
            let last = expected.size()[0] - 1;
            let alone = model.enhance(&pixels.narrow(0, last, 1), &Step::whole());
            assert_within(TOLERANCE, &alone, &expected.narrow(0, last, 1), &what);
        }
    }
}

#[test]
fn a_network_without_a_config_is_known_by_its_shapes() {
    for name in ENHANCERS.iter().filter(|name| name.starts_with("rrdbnet")) {
        let config = Fixture::json(name, "config.json");
        let shapes = Fixture::json(name, "tensors.json");
        let shape = |tensor: &str| serde_json::from_value(shapes[tensor].clone()).ok();
        let told = gpu_worker::models::RrdbConfig::of_shapes(&shape).unwrap();
        assert_eq!(serde_json::to_value(told).unwrap(), config, "{name}");
    }
    let shapes = Fixture::json("swin2sr", "tensors.json");
    let shape = |tensor: &str| serde_json::from_value(shapes[tensor].clone()).ok();
    assert!(gpu_worker::models::RrdbConfig::of_shapes(&shape).is_none());
}

/// ESRGAN's two older spellings of the same network's names, with 23 blocks as all its checkpoints have.
#[test]
fn older_spellings_are_the_same_network() {
    use std::collections::BTreeMap;

    use gpu_worker::{models::rrdbnet_renames, weights::renamed};

    let shapes = Fixture::json("rrdbnet", "tensors.json");
    let spelled = |name: &str, spelling: usize| {
        let (module, end) = name.rsplit_once('.').unwrap();
        let parts: Vec<&str> = module.split('.').collect();
        match (parts.as_slice(), spelling) {
            (["body", block, dense, conv], 0) => {
                format!("RRDB_trunk.{block}.{}.{conv}.{end}", dense.replace("rdb", "RDB"))
            }
            (["body", block, dense, conv], _) => {
                format!("model.1.sub.{block}.{}.{conv}.0.{end}", dense.replace("rdb", "RDB"))
            }
            ([module], _) => {
                let of = [
                    ("conv_first", "conv_first", "model.0"),
                    ("conv_body", "trunk_conv", "model.1.sub.23"),
                    ("conv_up1", "upconv1", "model.3"),
                    ("conv_up2", "upconv2", "model.6"),
                    ("conv_hr", "HRconv", "model.8"),
                    ("conv_last", "conv_last", "model.10"),
                ];
                let (_, second, first) = of.iter().find(|(name, ..)| name == module).unwrap();
                format!("{}.{end}", [second, first][spelling])
            }
            _ => panic!("{name}"),
        }
    };
    for spelling in [0, 1] {
        let names: BTreeMap<String, String> = shapes
            .as_object()
            .unwrap()
            .keys()
            .map(|name| (spelled(name, spelling), name.clone()))
            .collect();
        let (spelled, expected): (Vec<String>, Vec<String>) = names.into_iter().unzip();
        let found = renamed(rrdbnet_renames(), spelled);
        for (name, expected) in found.iter().zip(&expected) {
            assert_eq!(name, expected, "spelling {spelling}");
        }
    }
}

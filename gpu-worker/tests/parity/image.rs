//! Image classifiers: a batch, a picture of it alone, labels.

use gpu_worker::{layers::Step, models::ImageClassifier};
use tch::{Kind, Tensor};

use crate::{
    fixture::{Fixture, assert_close},
    hashed_weights,
};

pub const CLASSIFIERS: &[&str] = &["vit", "vit-oblong"];

/// Two pictures.
pub fn pixels(model: &dyn ImageClassifier) -> Tensor {
    let (height, width) = model.image_size();
    let shape = [2, model.n_channels(), height, width];
    let pixels = hashed_weights::unit("pixels", shape.iter().product(), hashed_weights::SEED);
    Tensor::from_slice(&pixels).view(shape)
}

#[test]
fn logits_equal_the_reference() {
    let _guard = tch::no_grad_guard();
    for name in CLASSIFIERS {
        let fixture = Fixture::open(name);
        let model = fixture.image_classifier(Kind::Float);
        let pixels = pixels(&*model);
        let expected = fixture.expected("logits");
        assert_close(&model.logits(&pixels, &Step::whole()), expected, name);
        let alone = model.logits(&pixels.narrow(0, 1, 1), &Step::whole());
        assert_close(&alone, &expected.narrow(0, 1, 1), name);
    }
}

#[test]
fn labels_are_those_of_the_config() {
    let labels = |name| Fixture::open(name).image_classifier(Kind::Float).labels().to_vec();
    assert_eq!(labels("vit")[10], "thing 10");
    assert_eq!(labels("vit-oblong"), ["LABEL_0", "LABEL_1", "LABEL_2"]);
}

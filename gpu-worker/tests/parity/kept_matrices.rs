//! Matrices that stay in their half type on a CPU: the answers are those of the same values in float32.

use gpu_worker::{layers::Step, models::ModelKind};
use tch::{Kind, Tensor};

use crate::{
    causal::{self, DECODERS},
    diffusion::{self, TEXT_ENCODERS, UNETS},
    encoder,
    enhancer::{self, ENHANCERS},
    fixture::{Fixture, Matrices, TOLERANCE, assert_within},
    image::{self, CLASSIFIERS},
    seq2seq::{self, MODELS},
    tables::{self, TABLE_ANSWERERS},
    transformers::{FLUX, SD3, Transformer},
};

const HALVES: [Kind; 2] = [Kind::BFloat16, Kind::Half];

/// Compares what `answer` makes of a fixture whose matrices are kept and of one whose are float32 of the same values.
fn compare(tolerance: f64, name: &str, answer: impl Fn(Fixture) -> Tensor) {
    let _guard = tch::no_grad_guard();
    for half in HALVES {
        let [kept, rounded] = [Matrices::Kept(half), Matrices::Rounded(half)]
            .map(|matrices| answer(Fixture::open(name).with(matrices)));
        assert_eq!(kept.kind(), Kind::Float, "{name}");
        assert_within(tolerance, &kept, &rounded, &format!("{name}, {half:?}"));
    }
}

fn same(name: &str, answer: impl Fn(Fixture) -> Tensor) {
    compare(TOLERANCE, name, answer);
}

#[test]
fn causal_models_answer_as_in_float32() {
    // It has nothing but matrices: without a file, they alone would say what it computes in.
    for &name in DECODERS.iter().filter(|name| **name != "opt-plain") {
        same(name, |fixture| {
            let case = causal::Case::of(name, fixture);
            case.logits(&[(&case.slot(), 0, case.fixture.expected("long"))])
        });
    }
}

#[test]
fn translators_answer_as_in_float32() {
    for &name in MODELS {
        same(name, |fixture| {
            let case = seq2seq::Case::of(name, fixture);
            let source = case.remembered(&case.encode("long"));
            case.logits(&[(&case.slot(), 0, case.fixture.expected("target"), &source)])
        });
    }
}

#[test]
fn encoders_and_their_heads_answer_as_in_float32() {
    encoder::every_fixture(|name, kind, fixture| {
        // Those of a very long text take long, and have the layers of the others.
        if fixture.expected("long").size()[0] > 100 {
            return;
        }
        same(name, |fixture| {
            let step = Step::padded(fixture.expected("mask"));
            let model = fixture.load(kind, Kind::Float);
            let type_ids = Some(fixture.expected("type_ids"));
            encoder::answer(&model, fixture.expected("padded"), type_ids, &step)
        });
    });
}

#[test]
fn models_of_tables_and_pictures_answer_as_in_float32() {
    for name in TABLE_ANSWERERS {
        same(name, |fixture| tables::long_logits(&fixture).0);
    }
    for &name in CLASSIFIERS {
        same(name, |fixture| {
            let model = fixture.image_classifier(Kind::Float);
            model.logits(&image::pixels(&*model), &Step::whole())
        });
    }
    for &name in ENHANCERS {
        compare(enhancer::TOLERANCE, name, |fixture| {
            let (model, expected) = (enhancer::model(&fixture), fixture.expected("odd"));
            model.enhance(&enhancer::pixels(&*model, "odd", expected), &Step::whole())
        });
    }
}

#[test]
fn networks_of_painters_answer_as_in_float32() {
    for name in UNETS {
        compare(diffusion::TOLERANCE, &format!("diffusion/{name}"), |fixture| {
            diffusion::denoised(&diffusion::unet(&fixture), &fixture, 0)
        });
    }
    for name in TEXT_ENCODERS {
        same(&format!("diffusion/{name}"), |fixture| {
            let encoder = diffusion::text_encoder(&fixture, name);
            encoder.encode(fixture.expected("ids"), 0, &Step::whole()).pooled
        });
    }
    for name in FLUX.iter().chain(SD3) {
        compare(diffusion::TOLERANCE, &format!("diffusion/{name}"), |fixture| {
            let model = Transformer::load(name, fixture.config(), &fixture).unwrap();
            model.denoised(&fixture, 0)
        });
    }
}

/// No layer keeps a matrix in float32 beside what the file has, but for a bias that is stored as one.
#[test]
fn only_a_bias_that_is_stored_as_a_matrix_is_there_twice() {
    let _guard = tch::no_grad_guard();
    for (name, kind, copied) in [
        ("gpt2", ModelKind::CausalLm, None),
        ("llama", ModelKind::CausalLm, None),
        ("phi3", ModelKind::CausalLm, None),
        ("t5", ModelKind::Seq2SeqLm, None),
        ("bart", ModelKind::Seq2SeqLm, Some("final_logits_bias")),
        ("bert-masked", ModelKind::MaskedLm, None),
        ("deberta-v2", ModelKind::TextEncoder, None),
        ("modernbert", ModelKind::TextEncoder, None),
        ("tapas", ModelKind::TableAnswerer, None),
        ("vit", ModelKind::ImageClassifier, None),
    ] {
        let fixture = Fixture::open(name).with(Matrices::Kept(Kind::BFloat16));
        let (_, checkpoint, _) = fixture.load_with_checkpoint(kind, Kind::Float);
        let loaded = checkpoint.bytes();
        let bytes = |tensor: &Tensor| (tensor.numel() * tensor.kind().elt_size_in_bytes()) as u64;
        let mut expected = 0;
        for (tensor_name, tensor) in checkpoint.into_tensors() {
            expected += bytes(&tensor);
            if copied.is_some_and(|copied| tensor_name.ends_with(copied)) {
                expected += bytes(&tensor.to_kind(Kind::Float));
            }
        }
        assert_eq!(loaded, expected, "{name}");
    }
}

//! Half types on a CPU: the same answers within what the type can hold.

use gpu_worker::layers::{KvArena, Segment, Step};
use tch::{Device, Kind, Tensor};

use crate::{
    fixture::Fixture,
    hashed_weights::{SEED, unit},
};

/// Kinds and the relative error that a few layers of them add up to.
const KINDS: [(Kind, f64); 2] = [(Kind::BFloat16, 0.05), (Kind::Half, 0.01)];

#[test]
fn causal_models_run_in_half_types() {
    let _guard = tch::no_grad_guard();
    for (kind, tolerance) in KINDS {
        for name in [
            "gemma", "gemma2", "gpt2", "gpt_neox", "llama", "mistral", "olmo2", "opt", "phi3",
            "qwen2", "qwen3", "smollm3",
        ] {
            let fixture = Fixture::open(name);
            let model = fixture.causal_lm_of(kind);
            assert_eq!(model.cache_shape().kind, kind);
            let arena = KvArena::new(model.cache_shape(), Device::Cpu, 1 << 20);
            let slot = arena.reserve(16).unwrap();
            let ids = fixture.expected("long");
            let logits: Vec<Tensor> = [(0, 7), (7, 3), (10, 1)]
                .into_iter()
                .map(|(cached, tokens)| {
                    let step =
                        Step::sequences(vec![Segment { slot: &slot, cached, tokens }], Device::Cpu);
                    model.logits(&model.hidden(&ids.narrow(0, cached, tokens), &step), &step)
                })
                .collect();
            assert_near(&Tensor::cat(&logits, 0), fixture.expected("long_logits"), tolerance, name);
        }
    }
}

#[test]
fn encoders_and_classifiers_run_in_half_types() {
    let _guard = tch::no_grad_guard();
    for (kind, tolerance) in KINDS {
        for name in [
            "albert",
            "bert",
            "deberta-v2",
            "deberta-v2-conv",
            "electra",
            "gte",
            "modernbert",
            "mpnet",
            "nomic_bert",
            "roberta",
        ] {
            let fixture = Fixture::open(name);
            let (mask, long) = (fixture.expected("mask"), fixture.expected("long"));
            let ids = Tensor::stack(&[long, long], 0);
            let hidden = fixture.text_encoder(kind).hidden(&ids, None, &Step::padded(mask));
            assert_eq!(hidden.kind(), kind, "{name}");
            assert_near(&hidden.select(0, 0), fixture.expected("single"), tolerance, name);
        }

        let fixture = Fixture::open("vit");
        let pixels =
            Tensor::from_slice(&unit("pixels", 2 * 3 * 24 * 24, SEED)).view([2, 3, 24, 24]);
        let logits = fixture.image_classifier(kind).logits(&pixels, &Step::whole());
        assert_near(&logits, fixture.expected("logits"), tolerance, "vit");
    }
}

fn assert_near(found: &Tensor, expected: &Tensor, tolerance: f64, what: &str) {
    let difference = (found.to_kind(Kind::Float) - expected).abs().max().double_value(&[]);
    let largest = expected.abs().max().double_value(&[]);
    assert!(difference <= tolerance * largest, "{what}: {difference} of {largest}");
}

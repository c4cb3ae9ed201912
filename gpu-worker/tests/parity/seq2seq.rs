//! Encoder–decoder models: the encoder's states alone and padded, logits over a whole target, targets read in pieces
//! and beside each other, greedy ids.

use gpu_worker::{
    layers::{KvArena, KvSlot, Segment, Source, Step},
    models::{Model, ModelKind, Seq2SeqLm},
};
use tch::{Device, Kind, Tensor};

use crate::fixture::{Fixture, assert_close};

pub const MODELS: &[&str] = &[
    "bart",
    "bart-scaled",
    "bart-base-model",
    "mbart",
    "pegasus",
    "marian",
    "marian-two-vocabularies",
    "m2m_100",
    "blenderbot",
    "blenderbot-small",
    "plbart",
    "mvp",
    "t5",
    "flan-t5",
    "mt5",
    "umt5",
];
/// The first token of every target in the fixtures.
const START: i64 = 3;

pub(crate) struct Case {
    pub name: &'static str,
    pub fixture: Fixture,
    pub model: Box<dyn Seq2SeqLm>,
    pub arena: KvArena,
}

impl Case {
    pub fn open(name: &'static str) -> Self {
        Self::of(name, Fixture::open(name))
    }

    pub fn of(name: &'static str, fixture: Fixture) -> Self {
        let model = fixture.seq2seq_lm(Kind::Float);
        let arena = KvArena::new(model.cache_shape(), Device::Cpu, 1 << 22);
        Self { name, fixture, model, arena }
    }

    pub fn slot(&self) -> KvSlot {
        self.arena.reserve(40).unwrap()
    }

    /// Keys and values of a source, as every later step looks them up.
    pub fn remembered(&self, encoded: &Tensor) -> (KvSlot, i64) {
        let tokens = encoded.size()[0];
        let slot = self.arena.reserve(tokens).unwrap();
        let segment = Segment { slot: &slot, cached: 0, tokens };
        self.model.remember(encoded, &Step::sequences(vec![segment], Device::Cpu));
        (slot, tokens)
    }

    pub fn encode(&self, source: &str) -> Tensor {
        let ids = self.fixture.expected(source).unsqueeze(0);
        self.model.encode(&ids, &Step::whole()).squeeze_dim(0)
    }

    /// Logits of every token of a pass over several targets: slot, tokens in it, new tokens, source.
    pub fn logits(&self, parts: &[(&KvSlot, i64, &Tensor, &(KvSlot, i64))]) -> Tensor {
        let segments = parts.iter().map(|&(slot, cached, ids, _)| Segment {
            slot,
            cached,
            tokens: ids.size()[0],
        });
        let sources =
            parts.iter().map(|(.., (slot, tokens))| Source { slot, tokens: *tokens }).collect();
        let ids: Vec<&Tensor> = parts.iter().map(|&(_, _, ids, _)| ids).collect();
        let step = Step::with_sources(segments.collect(), sources, Device::Cpu);
        self.model.logits(&self.model.hidden(&Tensor::cat(&ids, 0), &step), &step)
    }

    fn assert_close(&self, found: &Tensor, expected: &str, what: &str) {
        let what = format!("{}, {what}", self.name);
        assert_close(found, self.fixture.expected(expected), &what);
    }
}

pub fn every_model(mut test: impl FnMut(&Case)) {
    let _guard = tch::no_grad_guard();
    for name in MODELS {
        test(&Case::open(name));
    }
}

#[test]
fn states_of_the_encoder_equal_the_reference() {
    every_model(|case| {
        for source in ["long", "short"] {
            case.assert_close(&case.encode(source), &format!("{source}_encoded"), source);
        }
        let (long, short) = (case.fixture.expected("long"), case.fixture.expected("short"));
        let padding = long.size()[0] - short.size()[0];
        let ids = Tensor::stack(&[long.shallow_clone(), short.constant_pad_nd([0, padding])], 0);
        let batch = case.model.encode(&ids, &Step::padded(case.fixture.expected("mask")));
        case.assert_close(&batch.select(0, 0), "long_encoded", "long in a batch");
        let short = batch.select(0, 1).narrow(0, 0, short.size()[0]);
        case.assert_close(&short, "short_encoded_in_batch", "short in a batch");
    });
}

#[test]
fn logits_over_a_target_equal_the_reference() {
    every_model(|case| {
        let target = case.fixture.expected("target");
        for (source, expected) in [("long", "long_logits"), ("short", "short_logits_in_batch")] {
            let source = case.remembered(&case.encode(source));
            let found = case.logits(&[(&case.slot(), 0, target, &source)]);
            case.assert_close(&found, expected, expected);
        }
    });
}

#[test]
fn targets_in_pieces_beside_each_other_equal_each_alone() {
    every_model(|case| {
        let target = case.fixture.expected("target");
        let sources = ["long", "short"].map(|source| case.remembered(&case.encode(source)));
        let slots = [case.slot(), case.slot(), case.slot()];
        let mut found: [Vec<Tensor>; 3] = Default::default();
        for (from, tokens) in [(0, 5), (5, 1), (6, 4), (10, 2)] {
            let ids = target.narrow(0, from, tokens);
            // Two of them share a source.
            let [long, short] = &sources;
            let logits = case.logits(&[
                (&slots[0], from, &ids, long),
                (&slots[1], from, &ids, long),
                (&slots[2], from, &ids, short),
            ]);
            for (found, part) in found.iter_mut().zip(logits.split(tokens, 0)) {
                found.push(part);
            }
        }
        for (found, expected) in
            found.iter().zip(["long_logits", "long_logits", "short_logits_in_batch"])
        {
            case.assert_close(&Tensor::cat(found, 0), expected, expected);
        }
    });
}

#[test]
fn greedy_ids_of_targets_equal_the_reference() {
    every_model(|case| {
        for name in ["long", "short"] {
            let source = case.remembered(&case.encode(name));
            let slot = case.slot();
            let expected = case.fixture.expected(&format!("{name}_greedy"));
            let mut token = START;
            let found: Vec<i64> = (0..expected.size()[0])
                .map(|cached| {
                    let fed = Tensor::from_slice(&[token]);
                    let logits = case.logits(&[(&slot, cached, &fed, &source)]);
                    token = logits.argmax(-1, false).int64_value(&[0]);
                    token
                })
                .collect();
            assert_eq!(found, Vec::<i64>::try_from(expected).unwrap(), "{}, {name}", case.name);
        }
    });
}

#[test]
fn encoders_alone_equal_the_reference() {
    let _guard = tch::no_grad_guard();
    for name in ["t5", "mt5", "umt5"] {
        let fixture = Fixture::open(name);
        let encoder = fixture.text_encoder(Kind::Float);
        let hidden = encoder.hidden(&fixture.expected("long").unsqueeze(0), None, &Step::whole());
        assert_close(&hidden.squeeze_dim(0), fixture.expected("long_encoded"), name);
    }
}

#[test]
fn whole_texts_equal_the_reference() {
    let _guard = tch::no_grad_guard();
    let fixture = Fixture::open("bart-classifier");
    let (long, short) = (fixture.expected("long"), fixture.expected("short"));
    let padding = long.size()[0] - short.size()[0];
    let ids = Tensor::stack(&[long.shallow_clone(), short.constant_pad_nd([0, padding])], 0);
    let step = Step::padded(fixture.expected("mask"));
    let Model::SequenceClassifier(classifier) =
        fixture.load(ModelKind::SequenceClassifier, Kind::Float)
    else {
        panic!("no classifier");
    };
    assert_eq!(classifier.n_labels(), 3);
    let logits = classifier.logits(&long.unsqueeze(0), None, &Step::whole()).squeeze_dim(0);
    assert_close(&logits, fixture.expected("long_logits"), "logits");
    let logits = classifier.logits(&ids, None, &step);
    assert_close(&logits, fixture.expected("logits_in_batch"), "logits in a batch");
    let encoder = fixture.text_encoder(Kind::Float);
    let hidden = encoder.hidden(&long.unsqueeze(0), None, &Step::whole()).squeeze_dim(0);
    assert_close(&hidden, fixture.expected("long_hidden"), "hidden");
    let hidden = encoder.hidden(&ids, None, &step).select(0, 1).narrow(0, 0, short.size()[0]);
    assert_close(&hidden, fixture.expected("short_hidden_in_batch"), "hidden in a batch");
}

#[test]
fn translators_run_in_half_types() {
    let _guard = tch::no_grad_guard();
    for (kind, tolerance) in [(Kind::BFloat16, 0.05), (Kind::Half, 0.01)] {
        for name in ["bart", "marian", "m2m_100", "t5"] {
            let fixture = Fixture::open(name);
            let model = fixture.seq2seq_lm(kind);
            let arena = KvArena::new(model.cache_shape(), Device::Cpu, 1 << 22);
            let case = Case { name, fixture, model, arena };
            let source = case.remembered(&case.encode("long"));
            let target = case.fixture.expected("target");
            let found = case.logits(&[(&case.slot(), 0, target, &source)]);
            let expected = case.fixture.expected("long_logits");
            let difference = (found - expected).abs().max().double_value(&[]);
            let largest = expected.abs().max().double_value(&[]);
            assert!(difference <= tolerance * largest, "{name}: {difference} of {largest}");
        }
    }
}

//! Causal language models: logits, batches without padding, chunked prefill, greedy ids with and without cache.

use gpu_worker::{
    layers::{KvArena, KvSlot, Segment, Step},
    models::CausalLm,
};
use tch::{Device, Tensor};

use crate::fixture::{Fixture, assert_close};

pub const DECODERS: &[&str] = &[
    "gpt2",
    "gpt2-scaled",
    "llama",
    "llama-biased",
    "llama-llama3",
    "llama-linear",
    "llama-dynamic",
    "llama-yarn",
    "mistral",
    "qwen2",
    "qwen2-window",
    "qwen3",
    "gpt_neox",
    "gpt_neox-serial",
    "opt",
    "opt-after",
    "opt-plain",
    "mixtral",
    "mixtral-fused",
    "qwen2_moe",
    "qwen3_moe",
    "gemma",
    "gemma2",
    "gemma3_text",
    "phi3",
    "phi3-longrope",
    "smollm3",
    "olmo2",
];

/// What [`every_decoder`] hands to a test.
pub struct Case {
    pub name: &'static str,
    pub fixture: Fixture,
    model: Box<dyn CausalLm>,
    arena: KvArena,
}

impl Case {
    pub fn of(name: &'static str, fixture: Fixture) -> Self {
        let model = fixture.causal_lm();
        let arena = KvArena::new(model.cache_shape(), Device::Cpu, 1 << 20);
        Self { name, fixture, model, arena }
    }

    pub fn slot(&self) -> KvSlot {
        self.arena.reserve(64).unwrap()
    }

    /// Logits of every token of a pass over several sequences.
    pub fn logits(&self, parts: &[(&KvSlot, i64, &Tensor)]) -> Tensor {
        let segments: Vec<_> = parts
            .iter()
            .map(|&(slot, cached, ids)| Segment { slot, cached, tokens: ids.size()[0] })
            .collect();
        let ids: Vec<&Tensor> = parts.iter().map(|&(.., ids)| ids).collect();
        let step = Step::sequences(segments, Device::Cpu);
        let hidden = self.model.hidden(&Tensor::cat(&ids, 0), &step);
        self.model.logits(&hidden, &step)
    }

    fn assert_close(&self, found: &Tensor, expected: &Tensor, what: &str) {
        assert_close(found, expected, &format!("{}, {what}", self.name));
    }
}

pub fn every_decoder(mut test: impl FnMut(&Case)) {
    let _guard = tch::no_grad_guard();
    for &name in DECODERS {
        test(&Case::of(name, Fixture::open(name)));
    }
}

#[test]
fn logits_equal_the_reference() {
    every_decoder(|case| {
        let found = case.logits(&[(&case.slot(), 0, case.fixture.expected("long"))]);
        case.assert_close(&found, case.fixture.expected("long_logits"), "logits");
    });
}

#[test]
fn texts_of_one_pass_equal_the_padded_rows_of_the_reference() {
    every_decoder(|case| {
        let (long, short) = (case.fixture.expected("long"), case.fixture.expected("short"));
        let found = case.logits(&[(&case.slot(), 0, long), (&case.slot(), 0, short)]);
        case.assert_close(
            &found.narrow(0, 0, 11),
            case.fixture.expected("long_logits"),
            "the long text",
        );
        case.assert_close(
            &found.narrow(0, 11, 4),
            case.fixture.expected("short_logits_in_batch"),
            "the short text",
        );
    });
}

#[test]
fn a_text_of_a_pass_equals_the_text_alone() {
    every_decoder(|case| {
        let (long, short) = (case.fixture.expected("long"), case.fixture.expected("short"));
        let together = case.logits(&[(&case.slot(), 0, long), (&case.slot(), 0, short)]);
        let alone = case.logits(&[(&case.slot(), 0, short)]);
        case.assert_close(&together.narrow(0, 11, 4), &alone, "alone");
    });
}

#[test]
fn prefill_in_chunks_equals_prefill_at_once() {
    every_decoder(|case| {
        let long = case.fixture.expected("long");
        for chunk in [1, 2, 3, 7] {
            let slot = case.slot();
            let chunks: Vec<Tensor> = (0..11)
                .step_by(chunk)
                .map(|start| {
                    let tokens = (chunk as i64).min(11 - start);
                    case.logits(&[(&slot, start, &long.narrow(0, start, tokens))])
                })
                .collect();
            let found = Tensor::cat(&chunks, 0);
            case.assert_close(
                &found,
                case.fixture.expected("long_logits"),
                &format!("chunks of {chunk}"),
            );
        }
    });
}

#[test]
fn a_prompt_that_is_read_in_pieces_turns_as_it_would_at_once() {
    let _guard = tch::no_grad_guard();
    for name in ["llama-dynamic", "phi3-longrope"] {
        let fixture = Fixture::open(name);
        let model = fixture.causal_lm();
        let arena = KvArena::new(model.cache_shape(), Device::Cpu, 1 << 20);
        let (slot, longer) = (arena.reserve(64).unwrap(), fixture.expected("longer"));
        let pieces: Vec<Tensor> = [(0, 7), (7, 12), (19, 5)]
            .into_iter()
            .map(|(cached, tokens)| {
                let segment = Segment { slot: &slot, cached, tokens };
                let step = Step::sequences(vec![segment], Device::Cpu).of_lengths(vec![24]);
                model.logits(&model.hidden(&longer.narrow(0, cached, tokens), &step), &step)
            })
            .collect();
        assert_close(&Tensor::cat(&pieces, 0), fixture.expected("longer_logits"), name);
    }
}

#[test]
fn a_sequence_that_outgrows_its_short_factors_is_read_anew_as_in_the_reference() {
    let _guard = tch::no_grad_guard();
    let fixture = Fixture::open("phi3-longrope");
    let model = fixture.causal_lm();
    let arena = KvArena::new(model.cache_shape(), Device::Cpu, 1 << 20);
    let slot = arena.reserve(64).unwrap();
    let mut ids = fixture.expected("long").shallow_clone();
    let (mut cached, expected) = (0, fixture.expected("long_generated"));
    let expected_logits = fixture.expected("long_generated_logits");
    let found: Vec<i64> = (0..expected.size()[0])
        .map(|at| {
            let known = ids.size()[0];
            if model.rereads_beyond() == Some(known - 1) {
                cached = 0;
            }
            let segment = Segment { slot: &slot, cached, tokens: known - cached };
            let step = Step::sequences(vec![segment], Device::Cpu);
            let hidden = model.hidden(&ids.narrow(0, cached, known - cached), &step);
            cached = known;
            let logits = model.logits(&hidden, &step);
            let found = logits.select(0, -1);
            assert_close(&found, &expected_logits.select(0, at), &format!("token {at}"));
            let token = last_argmax(&logits);
            ids = Tensor::cat(&[&ids, &Tensor::from_slice(&[token])], 0);
            token
        })
        .collect();
    assert_eq!(found, Vec::<i64>::try_from(expected).unwrap());
}

#[test]
fn a_decode_row_beside_a_prefill_chunk_changes_neither() {
    every_decoder(|case| {
        let (long, short) = (case.fixture.expected("long"), case.fixture.expected("short"));
        let (decoding, prefilling) = (case.slot(), case.slot());
        drop(case.logits(&[(&decoding, 0, &long.narrow(0, 0, 10))]));
        drop(case.logits(&[(&prefilling, 0, &short.narrow(0, 0, 1))]));
        let found = case.logits(&[
            (&decoding, 10, &long.narrow(0, 10, 1)),
            (&prefilling, 1, &short.narrow(0, 1, 3)),
        ]);
        let expected_row = case.fixture.expected("long_logits").narrow(0, 10, 1);
        case.assert_close(&found.narrow(0, 0, 1), &expected_row, "the decode row");
        let expected_chunk = case.fixture.expected("short_logits_in_batch").narrow(0, 1, 3);
        case.assert_close(&found.narrow(0, 1, 3), &expected_chunk, "the prefill chunk");
    });
}

#[test]
fn greedy_ids_with_cache_equal_the_reference() {
    every_decoder(|case| {
        for prompt in ["long", "short"] {
            let slot = case.slot();
            let mut fed = case.fixture.expected(prompt).shallow_clone();
            let mut cached = 0;
            let expected = case.fixture.expected(&format!("{prompt}_greedy_cached"));
            let found: Vec<i64> = (0..expected.size()[0])
                .map(|_| {
                    let token = last_argmax(&case.logits(&[(&slot, cached, &fed)]));
                    cached += fed.size()[0];
                    fed = Tensor::from_slice(&[token]);
                    token
                })
                .collect();
            assert_eq!(found, Vec::<i64>::try_from(expected).unwrap(), "{}, {prompt}", case.name);
        }
    });
}

#[test]
fn greedy_ids_without_cache_equal_the_reference() {
    every_decoder(|case| {
        for prompt in ["long", "short"] {
            let mut ids = case.fixture.expected(prompt).shallow_clone();
            let expected = case.fixture.expected(&format!("{prompt}_greedy"));
            let found: Vec<i64> = (0..expected.size()[0])
                .map(|_| {
                    let token = last_argmax(&case.logits(&[(&case.slot(), 0, &ids)]));
                    ids = Tensor::cat(&[&ids, &Tensor::from_slice(&[token])], 0);
                    token
                })
                .collect();
            assert_eq!(found, Vec::<i64>::try_from(expected).unwrap(), "{}, {prompt}", case.name);
        }
    });
}

#[test]
fn the_cache_is_empty_when_the_last_sequence_is_gone() {
    every_decoder(|case| {
        let slot = case.slot();
        assert!(case.arena.bytes_used() > 0);
        drop(slot);
        assert_eq!(case.arena.bytes_used(), 0);
    });
}

fn last_argmax(logits: &Tensor) -> i64 {
    logits.select(0, -1).argmax(0, false).int64_value(&[])
}

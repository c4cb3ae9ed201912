//! Beam search and constraints against the reference's `generate`: the same ids, scores within the tolerance.

use std::{fs, path::PathBuf};

use gpu_worker::{
    layers::KvSlot,
    sampling::{
        BeamNext, BeamOptions, BeamSearch, Constraints, EarlyStopping, History, Sampler,
        SamplingOptions,
    },
    text::GenerationConfig,
};
use serde_json::Value;
use tch::Tensor;

use crate::{fixture::TOLERANCE, seq2seq::Case};

#[test]
fn beams_and_constraints_equal_the_reference() {
    let _guard = tch::no_grad_guard();
    for name in ["bart", "marian", "t5", "m2m_100"] {
        let case = Case::open(name);
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        let text = fs::read_to_string(path.join("beams.json")).unwrap();
        let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
        for (number, expected) in cases.iter().enumerate() {
            let what = format!("{name}, case {number}: {}", expected["options"]);
            check(&case, expected, &what);
        }
    }
}

fn check(case: &Case, expected: &Value, what: &str) {
    let options = &expected["options"];
    let encoded_source = expected["source"].as_str().unwrap();
    let source = case.remembered(&case.encode(encoded_source));
    let source_ids = ids_of(case.fixture.expected(encoded_source));
    let constraints = constraints(options);
    let start = options["decoder_start_token_id"].as_u64().unwrap() as u32;
    let sequences: Vec<Vec<u32>> = serde_json::from_value(expected["sequences"].clone()).unwrap();
    let Some(beams) = beams(options) else {
        let found = greedy(case, &source, &source_ids, &constraints, start);
        assert_eq!(found, sequences[0], "{what}");
        return;
    };
    let slots: Vec<KvSlot> =
        (0..beams.num_beams).map(|_| case.arena.reserve(20).unwrap()).collect();
    let mut slots: Vec<Option<KvSlot>> = slots.into_iter().map(Some).collect();
    let mut search = BeamSearch::new(beams, start);
    loop {
        let rows = if search.is_empty() { 1 } else { slots.len() };
        let fed: Vec<Tensor> =
            search.last_ids().map(|id| Tensor::from_slice(&[i64::from(id)])).collect();
        let cached = search.len() as i64 - 1;
        let parts: Vec<_> = slots
            .iter()
            .zip(&fed)
            .take(rows)
            .map(|(slot, fed)| (slot.as_ref().unwrap(), cached, fed, &source))
            .collect();
        let mut logits: Vec<f32> = Vec::try_from(case.logits(&parts).view([-1])).unwrap();
        match search.step(&mut logits, &constraints, &source_ids).unwrap() {
            BeamNext::Done => break,
            BeamNext::Continue { parents } => {
                // The plainest way to hand caches on: every beam gets a copy.
                let new: Vec<Option<KvSlot>> = parents
                    .iter()
                    .map(|&parent| {
                        let slot = case.arena.reserve(20).unwrap();
                        slot.copy_from(slots[parent].as_ref().unwrap(), cached + 1);
                        Some(slot)
                    })
                    .collect();
                slots = new;
            }
        }
    }
    let found = search.into_targets();
    let found_ids: Vec<Vec<u32>> = found.iter().map(|target| target.ids.clone()).collect();
    assert_eq!(found_ids, sequences, "{what}");
    for (found, expected) in found.iter().zip(expected["scores"].as_array().unwrap()) {
        let expected = expected.as_f64().unwrap();
        // Scores of a negative length penalty are sums times a length: they are as exact as their size allows.
        let tolerance = TOLERANCE * expected.abs().max(1.0);
        assert!(
            (f64::from(found.score) - expected).abs() <= tolerance,
            "{what}: {found:?}, {expected}"
        );
    }
}

fn greedy(
    case: &Case,
    source: &(KvSlot, i64),
    source_ids: &[u32],
    constraints: &Constraints,
    start: u32,
) -> Vec<u32> {
    let slot = case.arena.reserve(20).unwrap();
    let options =
        SamplingOptions::resolve(&Default::default(), &GenerationConfig::default()).unwrap();
    let mut sampler = Sampler::new(options, 0, 0);
    let mut ids = vec![start];
    while ids.len() < constraints.max_length {
        let fed = Tensor::from_slice(&[i64::from(*ids.last().unwrap())]);
        let logits = case.logits(&[(&slot, ids.len() as i64 - 1, &fed, source)]);
        let mut logits: Vec<f32> = Vec::try_from(logits.view([-1])).unwrap();
        constraints.apply(&mut logits, &ids, source_ids);
        let history = History { prompt: &[], generated: &[] };
        let id = sampler.sample(&mut logits, &history).unwrap().id;
        ids.push(id);
        if constraints.eos_token_ids.contains(&id) {
            break;
        }
    }
    ids.split_off(1)
}

fn ids_of(ids: &Tensor) -> Vec<u32> {
    Vec::<i64>::try_from(ids).unwrap().into_iter().map(|id| id as u32).collect()
}

fn ids(options: &Value, name: &str) -> Vec<u32> {
    match &options[name] {
        Value::Null => Vec::new(),
        Value::Number(id) => vec![id.as_u64().unwrap() as u32],
        list => serde_json::from_value(list.clone()).unwrap(),
    }
}

fn count(options: &Value, name: &str) -> usize {
    options[name].as_u64().unwrap_or(0) as usize
}

fn constraints(options: &Value) -> Constraints {
    let min_new_tokens = options["min_new_tokens"].as_u64().map(|count| count as usize + 1);
    Constraints {
        begin: 1,
        length_decay: None,
        repetition_penalty: options["repetition_penalty"].as_f64().unwrap_or(1.0),
        no_repeat_ngram_size: count(options, "no_repeat_ngram_size"),
        encoder_no_repeat_ngram_size: count(options, "encoder_no_repeat_ngram_size"),
        bad_words_ids: match &options["bad_words_ids"] {
            Value::Null => Vec::new(),
            words => serde_json::from_value(words.clone()).unwrap(),
        },
        min_length: min_new_tokens.unwrap_or_else(|| count(options, "min_length")),
        forced_bos_token_id: ids(options, "forced_bos_token_id").first().copied(),
        forced_eos_token_ids: ids(options, "forced_eos_token_id"),
        max_length: count(options, "max_length"),
        suppress_tokens: ids(options, "suppress_tokens"),
        begin_suppress_tokens: ids(options, "begin_suppress_tokens"),
        renormalize: options["renormalize_logits"].as_bool().unwrap_or(false),
        eos_token_ids: ids(options, "eos_token_id"),
    }
}

fn beams(options: &Value) -> Option<BeamOptions> {
    let num_beams = count(options, "num_beams");
    (num_beams > 1).then(|| BeamOptions {
        num_beams,
        num_return_sequences: count(options, "num_return_sequences").max(1),
        length_penalty: options["length_penalty"].as_f64().unwrap_or(1.0),
        early_stopping: match &options["early_stopping"] {
            Value::Bool(true) => EarlyStopping::AtOnce,
            Value::String(_) => EarlyStopping::Never,
            _ => EarlyStopping::Heuristic,
        },
    })
}

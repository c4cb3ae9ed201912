//! Distributions as the reference's logits processors leave them; draws that can be repeated.

use gpu_worker::{
    sampling::{Continuing, History, Sampler, SamplingError, SamplingOptions},
    text::{DecodingConfig, GenerationConfig},
};
use proto::TextGenerationOptions;
use serde_json::Value;

use crate::{fixture, ids};

fn options(setting: &Value, eos: Vec<u32>, do_sample: bool) -> SamplingOptions {
    let real = |name: &str| setting.get(name).and_then(Value::as_f64);
    let whole = |name: &str| {
        setting.get(name).and_then(Value::as_u64).map(|value| u32::try_from(value).unwrap())
    };
    let asked = TextGenerationOptions {
        do_sample: Some(do_sample),
        temperature: real("temperature"),
        top_k: whole("top_k"),
        top_p: real("top_p"),
        min_p: real("min_p"),
        typical_p: real("typical_p"),
        repetition_penalty: real("repetition_penalty"),
        frequency_penalty: real("frequency_penalty"),
        presence_penalty: real("presence_penalty"),
        min_new_tokens: whole("min_new_tokens"),
        logprobs: Some(5),
        ..TextGenerationOptions::default()
    };
    let model = GenerationConfig {
        eos_token_ids: eos,
        epsilon_cutoff: real("epsilon_cutoff"),
        eta_cutoff: real("eta_cutoff"),
        ..GenerationConfig::default()
    };
    SamplingOptions::resolve(&asked, &model).unwrap()
}

fn floats(value: &Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|value| value.as_f64().unwrap() as f32).collect()
}

#[test]
fn distributions_are_the_references() {
    for (idx, case) in fixture(include_str!("../fixtures/text/sampling.json"))
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
    {
        let (prompt, generated) = (ids(&case["prompt"]), ids(&case["generated"]));
        let history = History { prompt: &prompt, generated: &generated };
        let options = options(&case["options"], ids(&case["eos"]), true);
        let found = Sampler::new(options, 1, 0)
            .distribution(&mut floats(&case["logits"]), &history)
            .unwrap();
        let found: Vec<(u32, f32)> =
            found.into_iter().filter(|(_, probability)| *probability > 0.0).collect();
        let kept: Vec<u32> = found.iter().map(|(id, _)| *id).collect();
        assert_eq!(kept, ids(&case["kept"]), "case {idx}: {} {}", case["options"], case["kind"]);
        for ((id, probability), expected) in found.iter().zip(floats(&case["probabilities"])) {
            assert!(
                (probability - expected).abs() <= 1e-6,
                "case {idx}, token {id}: {probability} {expected}"
            );
        }
    }
}

#[test]
fn constraints_leave_what_the_references_processors_leave() {
    let cases = fixture(include_str!("../fixtures/text/constraints.json"));
    for case in cases.as_array().unwrap() {
        let settings = &case["settings"];
        let (prompt, generated) = (ids(&case["prompt"]), ids(&case["generated"]));
        let decoding = DecodingConfig::of(settings.as_object().unwrap()).unwrap();
        let options = options(settings, ids(&case["eos"]), false);
        let max_new_tokens = case["max_new_tokens"].as_u64().unwrap() as usize;
        let constraints = Continuing::resolve(
            &TextGenerationOptions::default(),
            &options,
            &decoding,
            prompt.len(),
            max_new_tokens,
        )
        .unwrap()
        .constraints;
        let mut scores = floats(&case["scores"]);
        let target = [prompt.as_slice(), &generated].concat();
        // A forced beginning is none where the prompt has one already.
        assert_eq!(
            constraints.is_none(),
            settings.get("forced_bos_token_id").is_some()
                && target.len() == 2
                && generated.is_empty()
        );
        if let Some(constraints) = &constraints {
            constraints.apply(&mut scores, &target, &[]);
        }
        let left = case["left"].as_array().unwrap();
        assert_eq!(scores.len(), left.len());
        for (id, (found, expected)) in scores.iter().zip(left).enumerate() {
            let expected = expected.as_f64().unwrap_or(f64::NEG_INFINITY) as f32;
            assert!(
                *found == expected || (found - expected).abs() <= 1e-6 * expected.abs().max(1.0),
                "{settings}, token {id} after {target:?}: {found} {expected}"
            );
        }
        // The sampler sees the same scores, and the logarithms it reports are of those before.
        let mut row = floats(&case["scores"]);
        let history = History { prompt: &prompt, generated: &generated };
        let sampled =
            Sampler::new(options, 1, 0).constrained(constraints).sample(&mut row, &history);
        assert_eq!(row, scores);
        assert!(sampled.unwrap().logprob.unwrap().is_finite());
    }
}

#[test]
fn what_continuing_a_prompt_cannot_do_is_refused_by_name() {
    let refused = |defaults: Value| {
        let decoding = DecodingConfig::of(defaults.as_object().unwrap()).unwrap();
        let options = options(&Value::Null, vec![], false);
        let asked = TextGenerationOptions { n: Some(2), ..TextGenerationOptions::default() };
        Continuing::resolve(&asked, &options, &decoding, 3, 8).unwrap_err().field
    };
    assert_eq!(refused(serde_json::json!({"num_beams": 17})), "generation_config.num_beams");
    // The tests' options ask for logarithms.
    assert_eq!(refused(serde_json::json!({"num_beams": 4})), "options.logprobs");
    let source = serde_json::json!({"encoder_no_repeat_ngram_size": 2});
    assert_eq!(refused(source), "generation_config.encoder_no_repeat_ngram_size");
}

#[test]
fn a_request_may_forbid_repeated_runs() {
    let options = options(&Value::Null, vec![], false);
    let asked =
        TextGenerationOptions { no_repeat_ngram_size: Some(2), ..TextGenerationOptions::default() };
    let constraints = Continuing::resolve(&asked, &options, &DecodingConfig::default(), 3, 8)
        .unwrap()
        .constraints;
    let mut row = [3.0f32, 2.0, 1.0];
    let history = History { prompt: &[1, 0, 1], generated: &[] };
    let mut sampler = Sampler::new(options, 1, 0).constrained(constraints);
    assert_eq!(sampler.sample(&mut row, &history).unwrap().id, 1);
}

#[test]
fn greedy_tokens_and_logarithms_are_the_references() {
    for case in fixture(include_str!("../fixtures/text/sampling.json")).as_array().unwrap() {
        let (prompt, generated) = (ids(&case["prompt"]), ids(&case["generated"]));
        let history = History { prompt: &prompt, generated: &generated };
        let options = options(&case["options"], ids(&case["eos"]), false);
        let sampled =
            Sampler::new(options, 1, 0).sample(&mut floats(&case["logits"]), &history).unwrap();
        assert_eq!(u64::from(sampled.id), case["greedy"].as_u64().unwrap());
        let expected = case["logprob_of_greedy"].as_f64().unwrap();
        assert!((f64::from(sampled.logprob.unwrap()) - expected).abs() <= 1e-5);
        for ((_, logprob), expected) in sampled.top.iter().zip(floats(&case["top_logprobs"])) {
            assert!((logprob - expected).abs() <= 1e-5);
        }
    }
}

fn draw(seed: u64, choice: u32) -> Vec<u32> {
    let setting = serde_json::json!({"top_k": 0, "temperature": 1.0});
    let mut sampler = Sampler::new(options(&setting, vec![], true), seed, choice);
    let logits: Vec<f32> = (0..50).map(|id| (id % 7) as f32 * 0.3).collect();
    let history = History { prompt: &[], generated: &[] };
    (0..20).map(|_| sampler.sample(&mut logits.clone(), &history).unwrap().id).collect()
}

#[test]
fn a_seed_repeats_its_draws_and_choices_differ() {
    assert_eq!(draw(42, 0), draw(42, 0));
    assert_ne!(draw(42, 0), draw(43, 0));
    assert_ne!(draw(42, 0), draw(42, 1));
}

#[test]
fn draws_follow_the_distribution() {
    let mut sampler = Sampler::new(options(&serde_json::json!({"top_k": 0}), vec![], true), 5, 0);
    let logits = [0.0f32, 1.0, 2.0, f32::NEG_INFINITY];
    let mut counts = [0u32; 4];
    for _ in 0..20_000 {
        let history = History { prompt: &[], generated: &[] };
        counts[sampler.sample(&mut logits.clone(), &history).unwrap().id as usize] += 1;
    }
    for (count, expected) in counts.iter().zip([0.090_03, 0.244_73, 0.665_24, 0.0]) {
        assert!((f64::from(*count) / 20_000.0 - expected).abs() < 0.012, "{counts:?}");
    }
}

#[test]
fn frequency_and_presence_count_generated_tokens_only() {
    let setting =
        serde_json::json!({"top_k": 0, "frequency_penalty": 0.5, "presence_penalty": 0.25});
    let mut sampler = Sampler::new(options(&setting, vec![], true), 1, 0);
    let mut logits = [1.0f32, 1.0, 1.0];
    for generated in [&[1][..], &[1, 1], &[1, 1, 2]] {
        logits = [1.0; 3];
        sampler.distribution(&mut logits, &History { prompt: &[0, 0], generated }).unwrap();
    }
    assert_eq!(logits, [1.0, 1.0 - 1.25, 1.0 - 0.75]);
}

#[test]
fn logits_that_are_no_numbers_are_an_error() {
    let history = History { prompt: &[], generated: &[] };
    for (logits, expected) in [
        (vec![], SamplingError::Empty),
        (vec![1.0, f32::NAN], SamplingError::NotFinite { id: 1 }),
        (vec![f32::INFINITY, 0.0], SamplingError::NotFinite { id: 0 }),
        (vec![f32::NEG_INFINITY; 2], SamplingError::NothingPossible),
    ] {
        for do_sample in [false, true] {
            let mut sampler =
                Sampler::new(options(&serde_json::json!({}), vec![], do_sample), 1, 0);
            let error = sampler.sample(&mut logits.clone(), &history).unwrap_err();
            assert_eq!((error.clone(), error.code()), (expected.clone(), "inference_failed"));
        }
    }
}

#[test]
fn absurd_settings_never_give_what_is_no_number() {
    let history = History { prompt: &[0, 1, 2], generated: &[1, 2] };
    for setting in [
        serde_json::json!({"temperature": 1e-40}),
        serde_json::json!({"temperature": 1e-30, "top_p": 1e-12, "min_p": 1.0}),
        serde_json::json!({"temperature": 1e30, "top_k": 4_000_000_000u32}),
        serde_json::json!({"repetition_penalty": 1e-37}),
        serde_json::json!({"repetition_penalty": 1e37, "top_k": 0, "top_p": 0.5}),
    ] {
        let mut sampler = Sampler::new(options(&setting, vec![], true), 1, 0);
        let mut logits = [1e30f32, 3.0, -1e30, 0.0];
        let found = sampler.distribution(&mut logits.clone(), &history).unwrap();
        let sum: f32 = found.iter().map(|(_, probability)| probability).sum();
        assert!((sum - 1.0).abs() < 1e-5, "{setting}: {found:?}");
        sampler.sample(&mut logits, &history).unwrap();
    }
}

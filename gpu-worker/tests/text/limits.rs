//! Large inputs stay cheap. The bounds are far above what was measured, so that a busy machine passes.

use std::time::{Duration, Instant};

use gpu_worker::{
    sampling::{History, Sampler, SamplingOptions},
    text::{GenerationConfig, StopMatcher, Tokenizer},
};
use proto::TextGenerationOptions;

use crate::fixture;

#[test]
fn a_mebibyte_of_text_is_tokenised_in_seconds() {
    let cases = fixture(include_str!("../fixtures/text/tokenizers.json"));
    for name in ["byte_level", "word_piece", "metaspace"] {
        let json = cases[name]["tokenizer_json"].to_string();
        let tokenizer = Tokenizer::from_files(json.as_bytes(), None, None).unwrap();
        for unit in ["a", " ", "the ", "日", "\u{1f600}", "\n"] {
            let text = unit.repeat((1 << 20) / unit.len());
            let start = Instant::now();
            let encoding = tokenizer.encode(&text, true).unwrap();
            let took = start.elapsed();
            println!("{name} {unit:?}: {} tokens in {took:?}", encoding.len());
            assert!(took < Duration::from_secs(20), "{name} {unit:?}: {took:?}");
        }
    }
}

#[test]
fn choosing_a_token_of_a_large_vocabulary_takes_about_a_millisecond() {
    let logits: Vec<f32> = (0..150_000u64)
        .map(|id| ((id * 2_654_435_761 % 1_000_003) as f32) / 50_000.0 - 10.0)
        .collect();
    let history = History { prompt: &[1, 2, 3], generated: &[4, 5] };
    for (name, asked) in [
        ("greedy", TextGenerationOptions::default()),
        (
            "greedy, logprobs",
            TextGenerationOptions { logprobs: Some(20), ..TextGenerationOptions::default() },
        ),
        (
            "top-k 50, top-p 0.9",
            TextGenerationOptions {
                temperature: Some(0.7),
                top_p: Some(0.9),
                ..TextGenerationOptions::default()
            },
        ),
        (
            "top-p 0.9 of all",
            TextGenerationOptions {
                top_k: Some(0),
                top_p: Some(0.9),
                ..TextGenerationOptions::default()
            },
        ),
        (
            "all",
            TextGenerationOptions {
                top_k: Some(0),
                temperature: Some(1.0),
                ..TextGenerationOptions::default()
            },
        ),
    ] {
        let options = SamplingOptions::resolve(&asked, &GenerationConfig::default()).unwrap();
        let mut sampler = Sampler::new(options, 1, 0);
        let mut times: Vec<Duration> = (0..21)
            .map(|_| {
                let mut row = logits.clone();
                let start = Instant::now();
                sampler.sample(&mut row, &history).unwrap();
                start.elapsed()
            })
            .collect();
        times.sort();
        println!("{name}: {:?}", times[10]);
        assert!(times[10] < Duration::from_millis(100), "{name}: {:?}", times[10]);
    }
}

#[test]
fn a_long_stop_string_costs_no_more_than_its_length() {
    let stop = "a".repeat(100_000) + "b";
    let mut matcher = StopMatcher::new(&[stop]);
    let start = Instant::now();
    for _ in 0..100_000 {
        matcher.push("aaaaaaaaaa");
    }
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

//! The pipeline of text generation over small models: what it feeds them, and when.

use std::{
    sync::{Arc, atomic::AtomicUsize},
    time::Instant,
};

use gpu_worker::{
    models::ModelKind,
    sampling::{Continuing, SamplingOptions},
    tasks::{
        Counters, Event, Generate, Job, JobCount, Made, Pipelines, Work,
        outbox::{Inbox, outbox},
    },
    text::{DecodingConfig, GenerationConfig, Tokenizer},
};
use proto::{GeneratedText, TextGenerationOptions};
use tch::{Kind, Tensor};

use crate::fixture::{Fixture, TOLERANCE};

/// The fixtures' vocabulary, a word each.
pub fn tokenizer() -> Tokenizer {
    let vocab: serde_json::Map<String, serde_json::Value> =
        (0..48).map(|id| (format!("w{id}"), id.into())).collect();
    let json = serde_json::json!({
        "version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"},
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "w0"},
    });
    Tokenizer::from_files(json.to_string().as_bytes(), None, None).unwrap()
}

/// What a processor makes of a request.
pub fn work(
    prompt_ids: Vec<u32>,
    asked: &TextGenerationOptions,
    model: &GenerationConfig,
    decoding: &DecodingConfig,
) -> Generate {
    let options = SamplingOptions::resolve(asked, model).unwrap();
    let max_new_tokens = options.max_new_tokens as usize;
    let Continuing { constraints, beams } =
        Continuing::resolve(asked, &options, decoding, prompt_ids.len(), max_new_tokens).unwrap();
    Generate {
        prompt_ids,
        options,
        constraints,
        beams,
        seed: 1,
        max_new_tokens,
        tokenizer: tokenizer(),
    }
}

/// Hands the work over, and answers where its events come out.
pub fn admit(
    pipelines: &mut Pipelines,
    work: Generate,
    tenant: &str,
    counters: &Arc<Counters>,
) -> Inbox<Event> {
    let (outbox, inbox) = outbox(1 << 20);
    let now = Instant::now();
    pipelines.admit(Job {
        work: Some(Work::Generate(Box::new(work))),
        tenant: tenant.into(),
        outbox,
        priority: 0,
        arrived: now,
        submitted: now,
        deadline: None,
        adapter: None,
        count: JobCount::new(&Arc::new(AtomicUsize::new(0))),
        span: tracing::Span::none(),
        counters: Arc::clone(counters),
        late_steps: 0,
        has_ended: false,
    });
    inbox
}

pub fn step(pipelines: &mut Pipelines) {
    for pipeline in pipelines.iter_mut() {
        if pipeline.prepare_step(Instant::now()).is_some() {
            pipeline.step();
        }
    }
}

/// The texts that the work ends with, once the pipelines have nothing more to do.
pub fn texts(pipelines: &mut Pipelines, mut inbox: Inbox<Event>) -> Vec<GeneratedText> {
    while !pipelines.is_idle() {
        step(pipelines);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        while let Some(event) = inbox.next().await {
            match event {
                Event::Made(Made::Texts(texts), _) => return texts,
                Event::Failed(failure) => panic!("{failure}"),
                _ => {}
            }
        }
        panic!("the pipeline made nothing");
    })
}

pub fn generate(
    fixture: &Fixture,
    prompt: &Tensor,
    asked: &TextGenerationOptions,
    model: &GenerationConfig,
    decoding: &DecodingConfig,
) -> Vec<GeneratedText> {
    let prompt: Vec<i64> = Vec::try_from(prompt).unwrap();
    let prompt_ids: Vec<u32> = prompt.iter().map(|&id| id as u32).collect();
    let mut pipelines = fixture.pipelines(ModelKind::CausalLm);
    let work = work(prompt_ids, asked, model, decoding);
    let inbox = admit(&mut pipelines, work, "", &Arc::default());
    let texts = texts(&mut pipelines, inbox);
    pipelines.let_go();
    assert_eq!(pipelines.cache_bytes(), 0);
    texts
}

#[test]
fn a_sequence_that_outgrows_its_short_factors_is_read_anew() {
    let _guard = tch::no_grad_guard();
    let fixture = Fixture::open("phi3-longrope");
    let asked = TextGenerationOptions {
        max_new_tokens: Some(20),
        logprobs: Some(20),
        n: Some(2),
        ..TextGenerationOptions::default()
    };
    let texts = generate(
        &fixture,
        fixture.expected("long"),
        &asked,
        &GenerationConfig::default(),
        &DecodingConfig::default(),
    );
    assert_eq!(texts.len(), 2);
    let expected = fixture.expected("long_generated_logits").log_softmax(-1, Kind::Double);
    let ids: Vec<i64> = Vec::try_from(fixture.expected("long_generated")).unwrap();
    for text in texts {
        assert_eq!(text.logprobs.len(), 20);
        for (at, (token, id)) in (0..).zip(text.logprobs.iter().zip(&ids)) {
            assert_eq!(i64::from(token.token_id), *id);
            for top in &token.top {
                let expected = expected.double_value(&[at, i64::from(top.token_id)]);
                assert!((top.logprob - expected).abs() <= TOLERANCE, "token {at}");
            }
        }
    }
}

#[test]
fn beams_equal_the_reference() {
    let _guard = tch::no_grad_guard();
    for name in ["gemma2", "gpt2", "mistral", "qwen3_moe"] {
        let fixture = Fixture::open(name);
        for case in Fixture::json(name, "beams.json").as_array().unwrap() {
            let options = &case["options"];
            let whole = |name: &str| options[name].as_u64().map(|value| value as u32);
            let asked = TextGenerationOptions {
                num_beams: whole("num_beams"),
                n: whole("num_return_sequences"),
                max_new_tokens: whole("max_new_tokens"),
                min_new_tokens: whole("min_new_tokens"),
                no_repeat_ngram_size: whole("no_repeat_ngram_size"),
                repetition_penalty: options["repetition_penalty"].as_f64(),
                ..TextGenerationOptions::default()
            };
            let text = options.to_string();
            let model = GenerationConfig::from_files(Some(&text), None).unwrap();
            let decoding = DecodingConfig::of(options.as_object().unwrap()).unwrap();
            let prompt = fixture.expected(case["prompt"].as_str().unwrap());
            let found = generate(&fixture, prompt, &asked, &model, &decoding);
            let expected: Vec<Vec<u32>> = serde_json::from_value(case["texts"].clone()).unwrap();
            assert_eq!(found.len(), expected.len(), "{name}, {options}");
            for (found, expected) in found.iter().zip(&expected) {
                let ids: Vec<u32> = found
                    .text
                    .split_whitespace()
                    .map(|word| word.trim_start_matches('w').parse().unwrap())
                    .collect();
                let is_end = expected.last().is_some_and(|id| model.eos_token_ids.contains(id));
                let shown = &expected[..expected.len() - usize::from(is_end)];
                assert_eq!(ids, shown, "{name}, {} {options}", case["prompt"]);
                assert_eq!(found.generated_tokens as usize, expected.len());
                assert_eq!(found.finish_reason, if is_end { "stop" } else { "length" });
            }
        }
    }
}

#[test]
fn several_answers_of_one_request_differ_and_can_be_repeated() {
    let _guard = tch::no_grad_guard();
    let fixture = Fixture::open("llama");
    let asked = TextGenerationOptions {
        max_new_tokens: Some(12),
        do_sample: Some(true),
        n: Some(3),
        ..TextGenerationOptions::default()
    };
    let texts = || {
        let texts = generate(
            &fixture,
            fixture.expected("short"),
            &asked,
            &GenerationConfig::default(),
            &DecodingConfig::default(),
        );
        texts.into_iter().map(|text| text.text).collect::<Vec<_>>()
    };
    let first = texts();
    assert_eq!(first, texts());
    assert!(first[0] != first[1] && first[1] != first[2] && first[0] != first[2], "{first:?}");
}

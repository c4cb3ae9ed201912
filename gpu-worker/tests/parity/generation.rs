//! The pipeline of text generation over small models: what it feeds them, and when.

use std::{
    sync::{Arc, atomic::AtomicUsize},
    time::Instant,
};

use gpu_worker::{
    models::ModelKind,
    sampling::{SamplingOptions, continuing},
    tasks::{Counters, Event, Generate, Job, JobCount, Made, Work, outbox::outbox},
    text::{DecodingConfig, GenerationConfig, Tokenizer},
};
use proto::{GeneratedText, TextGenerationOptions};
use tch::{Kind, Tensor};

use crate::fixture::{Fixture, TOLERANCE};

/// The fixtures' vocabulary, a word each.
fn tokenizer() -> Tokenizer {
    let vocab: serde_json::Map<String, serde_json::Value> =
        (0..48).map(|id| (format!("w{id}"), id.into())).collect();
    let json = serde_json::json!({
        "version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"},
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "w0"},
    });
    Tokenizer::from_files(json.to_string().as_bytes(), None, None).unwrap()
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
    let options = SamplingOptions::resolve(asked, model).unwrap();
    let max_new_tokens = options.max_new_tokens as usize;
    let constraints = continuing(
        &options,
        asked.no_repeat_ngram_size,
        decoding,
        prompt_ids.len(),
        max_new_tokens,
    );
    let work = Generate {
        prompt_ids,
        options,
        constraints: constraints.unwrap(),
        seed: 1,
        max_new_tokens,
        tokenizer: tokenizer(),
    };
    let (outbox, mut inbox) = outbox(1 << 20);
    let now = Instant::now();
    let mut pipelines = fixture.pipelines(ModelKind::CausalLm);
    pipelines.admit(Job {
        work: Some(Work::Generate(work)),
        tenant: "".into(),
        outbox,
        priority: 0,
        arrived: now,
        submitted: now,
        deadline: None,
        count: JobCount::new(&Arc::new(AtomicUsize::new(0))),
        span: tracing::Span::none(),
        counters: Arc::new(Counters::default()),
        late_steps: 0,
        has_ended: false,
    });
    while !pipelines.is_idle() {
        for pipeline in pipelines.iter_mut() {
            if pipeline.prepare_step(Instant::now()).is_some() {
                pipeline.step();
            }
        }
    }
    assert_eq!(pipelines.cache_bytes(), 0);
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

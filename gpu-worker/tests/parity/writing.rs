//! The pipeline of encoder–decoder models: requests together answer as each alone, and what leaves gives its room back.

use std::{
    sync::{Arc, atomic::AtomicUsize},
    time::Instant,
};

use gpu_worker::{
    failure::{Code, Failure},
    models::ModelKind,
    sampling::Decoding,
    tasks::{
        Counters, Event, Job, JobCount, Made, Pipelines, Work, Write,
        outbox::{Inbox, outbox},
    },
    text::{DecodingConfig, GenerationConfig},
};
use proto::Seq2SeqOptions;
use tch::Tensor;

use crate::{fixture::Fixture, generation::tokenizer};

fn ids(ids: &Tensor) -> Vec<u32> {
    Vec::<i64>::try_from(ids).unwrap().into_iter().map(|id| id as u32).collect()
}

fn work(sources: Vec<Vec<u32>>, options: &Seq2SeqOptions) -> Write {
    let model = GenerationConfig {
        decoder_start_token_id: Some(3),
        eos_token_ids: vec![39, 42],
        max_length: Some(12),
        ..GenerationConfig::default()
    };
    let decoding = Decoding::resolve(options, &model, &DecodingConfig::default(), 64).unwrap();
    Write { sources, decoding, seed: 7, tokenizer: tokenizer() }
}

fn admit(pipelines: &mut Pipelines, work: Write, tenant: &str) -> Inbox<Event> {
    let (outbox, inbox) = outbox(1 << 20);
    let now = Instant::now();
    pipelines.admit(Job {
        work: Some(Work::Write(Box::new(work))),
        tenant: tenant.into(),
        outbox,
        priority: 0,
        arrived: now,
        submitted: now,
        deadline: None,
        adapter: None,
        count: JobCount::new(&Arc::new(AtomicUsize::new(0))),
        span: tracing::Span::none(),
        counters: Arc::new(Counters::default()),
        late_steps: 0,
        has_ended: false,
    });
    inbox
}

fn step(pipelines: &mut Pipelines) -> bool {
    let mut has_stepped = false;
    for pipeline in pipelines.iter_mut() {
        if pipeline.prepare_step(Instant::now()).is_some() {
            pipeline.step();
            has_stepped = true;
        }
    }
    has_stepped
}

/// The texts that were written, or why none were.
fn answer(mut inbox: Inbox<Event>) -> Result<Vec<Vec<String>>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        while let Some(event) = inbox.next().await {
            match event {
                Event::Made(Made::Written(items), _) => {
                    let texts = |item: Vec<proto::GeneratedText>| {
                        item.into_iter().map(|text| text.text).collect()
                    };
                    return Ok(items.into_iter().map(texts).collect());
                }
                Event::Failed(failure) => return Err(failure),
                _ => {}
            }
        }
        panic!("the pipeline said nothing");
    })
}

/// Requests of several kinds for the fixture's sources.
fn requests(fixture: &Fixture) -> Vec<Write> {
    let (long, short) = (ids(fixture.expected("long")), ids(fixture.expected("short")));
    let none = Seq2SeqOptions::default;
    [
        none(),
        Seq2SeqOptions { num_beams: Some(4), num_return_sequences: Some(3), ..none() },
        Seq2SeqOptions { num_beams: Some(2), max_new_tokens: Some(5), ..none() },
        Seq2SeqOptions {
            do_sample: Some(true),
            temperature: Some(2.0),
            num_return_sequences: Some(3),
            ..none()
        },
    ]
    .iter()
    .flat_map(|options| {
        [vec![long.clone()], vec![short.clone(), long.clone(), short.clone()]]
            .map(|sources| work(sources, options))
    })
    .collect()
}

#[test]
fn requests_together_answer_as_each_alone() {
    let _guard = tch::no_grad_guard();
    for name in ["bart", "m2m_100", "t5"] {
        let fixture = Fixture::open(name);
        let alone: Vec<Vec<Vec<String>>> = requests(&fixture)
            .into_iter()
            .map(|work| {
                let mut pipelines = fixture.pipelines(ModelKind::Seq2SeqLm);
                let inbox = admit(&mut pipelines, work, "");
                while step(&mut pipelines) {}
                answer(inbox).unwrap()
            })
            .collect();
        let mut pipelines = fixture.pipelines(ModelKind::Seq2SeqLm);
        // More than there is room for at once, and not all at the beginning.
        let mut inboxes = Vec::new();
        for (round, tenant) in ["a", "b", "", "a", "b"].iter().enumerate() {
            inboxes.extend(
                requests(&fixture).into_iter().map(|work| admit(&mut pipelines, work, tenant)),
            );
            (0..=round).for_each(|_| assert!(step(&mut pipelines)));
        }
        while step(&mut pipelines) {}
        assert!(pipelines.is_idle());
        assert_eq!(pipelines.cache_bytes(), 0);
        for (number, inbox) in inboxes.into_iter().enumerate() {
            let request = number % alone.len();
            assert_eq!(answer(inbox).unwrap(), alone[request], "{name}, request {request}");
        }
    }
}

#[test]
fn whoever_leaves_gives_the_room_back() {
    let _guard = tch::no_grad_guard();
    let fixture = Fixture::open("bart");
    let mut pipelines = fixture.pipelines(ModelKind::Seq2SeqLm);
    let mut works = requests(&fixture);
    let (stays, leaves) = (works.remove(0), works);
    let leaving: Vec<_> = leaves.into_iter().map(|work| admit(&mut pipelines, work, "")).collect();
    assert!(step(&mut pipelines));
    let staying = admit(&mut pipelines, stays, "");
    drop(leaving);
    while step(&mut pipelines) {}
    assert!(pipelines.is_idle());
    assert_eq!(pipelines.cache_bytes(), 0);
    assert_eq!(answer(staying).unwrap().len(), 1);
}

#[test]
fn what_could_never_run_is_refused_at_once() {
    let _guard = tch::no_grad_guard();
    let fixture = Fixture::open("bart");
    let none = Seq2SeqOptions::default;
    let many = Seq2SeqOptions { num_beams: Some(16), max_new_tokens: Some(63), ..none() };
    for (work, code) in [
        (work(vec![vec![5; 65]], &none()), Code::InputTooLong),
        (work(vec![vec![5], vec![48]], &none()), Code::CorruptCheckpoint),
        (work(vec![vec![5; 64]], &many), Code::InputTooLong),
    ] {
        let small = fixture.pipelines_with(ModelKind::Seq2SeqLm, 1 << 18);
        let mut pipelines = small;
        let inbox = admit(&mut pipelines, work, "");
        assert!(pipelines.is_idle());
        assert_eq!(answer(inbox).unwrap_err().code, code);
    }
}

#[test]
fn a_step_that_fails_ends_its_requests_and_nobody_elses() {
    let _guard = tch::no_grad_guard();
    let fixture = Fixture::open("bart");
    let mut pipelines = fixture.pipelines(ModelKind::Seq2SeqLm);
    let mut works = requests(&fixture).into_iter();
    let failed = admit(&mut pipelines, works.next().unwrap(), "");
    assert!(step(&mut pipelines));
    let failure = Failure::new(Code::InferenceFailed, "a test");
    for pipeline in pipelines.iter_mut() {
        pipeline.prepare_step(Instant::now()).unwrap();
        pipeline.abort_step(&failure);
    }
    assert_eq!(pipelines.cache_bytes(), 0);
    let next = admit(&mut pipelines, works.next().unwrap(), "");
    while step(&mut pipelines) {}
    assert_eq!(answer(failed).unwrap_err().code, Code::InferenceFailed);
    assert_eq!(answer(next).unwrap().len(), 3);
}

//! Texts that go on from what is kept of earlier ones: the same answers as without, from fewer tokens.

use std::sync::{Arc, atomic::Ordering};

use gpu_worker::{
    models::ModelKind,
    tasks::{Counters, Generate, Pipelines},
    text::{DecodingConfig, GenerationConfig},
};
use proto::{GeneratedText, TextGenerationOptions};

use crate::{
    causal::every_decoder,
    fixture::{Fixture, TOLERANCE},
    generation::{admit, step, texts, work},
};

fn prompt(tokens: u32) -> Vec<u32> {
    (0..tokens).map(|at| (at * 7 + 3) % 48).collect()
}

fn greedy(max_new_tokens: u32) -> TextGenerationOptions {
    TextGenerationOptions {
        max_new_tokens: Some(max_new_tokens),
        logprobs: Some(5),
        ..TextGenerationOptions::default()
    }
}

fn made(ids: Vec<u32>, asked: &TextGenerationOptions) -> Generate {
    work(ids, asked, &GenerationConfig::default(), &DecodingConfig::default())
}

/// A worker's lane over several requests.
struct Talk {
    pipelines: Pipelines,
    counters: Arc<Counters>,
}

impl Talk {
    fn with(fixture: &Fixture) -> Self {
        Self::of(fixture.pipelines(ModelKind::CausalLm))
    }

    fn of(pipelines: Pipelines) -> Self {
        Self { pipelines, counters: Arc::default() }
    }

    fn say_as(&mut self, tenant: &str, work: Generate) -> Vec<GeneratedText> {
        let inbox = admit(&mut self.pipelines, work, tenant, &self.counters);
        texts(&mut self.pipelines, inbox)
    }

    fn say(&mut self, ids: &[u32], asked: &TextGenerationOptions) -> Vec<GeneratedText> {
        self.say_as("", made(ids.to_vec(), asked))
    }

    fn reused(&self) -> u64 {
        self.counters.prefix_tokens.load(Ordering::Relaxed)
    }
}

fn ids(text: &GeneratedText) -> Vec<u32> {
    text.text.split_whitespace().map(|word| word[1..].parse().unwrap()).collect()
}

/// Tokens of the prompt that were not read.
fn cached(answer: &[GeneratedText]) -> u32 {
    answer[0].cached_tokens.unwrap()
}

/// As many texts with the same tokens, as likely.
fn assert_same(found: &[GeneratedText], expected: &[GeneratedText], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found.text, expected.text, "{what}");
        assert_eq!(found.logprobs.len(), expected.logprobs.len(), "{what}");
        for (found, expected) in found.logprobs.iter().zip(&expected.logprobs) {
            assert!((found.logprob - expected.logprob).abs() <= TOLERANCE, "{what}");
        }
    }
}

#[test]
fn a_conversation_goes_on_from_what_is_kept_and_says_the_same() {
    every_decoder(|case| {
        let fixture = &case.fixture;
        let alone = |ids: &[u32]| Talk::with(fixture).say(ids, &greedy(6));
        let mut talk = Talk::with(fixture);
        let first = prompt(20);
        let answer = talk.say(&first, &greedy(6));
        assert_same(&answer, &alone(&first), case.name);
        assert_eq!(cached(&answer), 0);
        // All of the first turn but the answer's last token, which no step has read.
        let second = [first.clone(), ids(&answer[0]), vec![1, 2, 3]].concat();
        let answer = talk.say(&second, &greedy(6));
        assert_same(&answer, &alone(&second), case.name);
        let turns_by_length = case.name == "llama-dynamic";
        assert_eq!(cached(&answer), if turns_by_length { 0 } else { 25 }, "{}", case.name);
        // Another end of the first turn, and the same question again.
        let other = [&first[..18], &[40, 41]].concat();
        for (ids, expected) in [(&other, 18), (&second, 28)] {
            let answer = talk.say(ids, &greedy(6));
            assert_same(&answer, &alone(ids), case.name);
            assert_eq!(cached(&answer), if turns_by_length { 0 } else { expected });
        }
        assert_eq!(talk.reused(), if turns_by_length { 0 } else { 25 + 18 + 28 });
    });
}

#[test]
fn keys_of_another_regime_are_not_taken_over() {
    let _guard = tch::no_grad_guard();
    for name in ["llama-dynamic", "phi3-longrope"] {
        let fixture = Fixture::open(name);
        let mut talk = Talk::with(&fixture);
        // Kept of a text within the length that the model was made for …
        talk.say(&prompt(16), &greedy(1));
        assert!(talk.pipelines.kept_bytes() > 0);
        // … and of no use beyond it.
        let longer = prompt(24);
        let answer = talk.say(&longer, &greedy(6));
        assert_eq!(cached(&answer), 0, "{name}");
        assert_same(&answer, &Talk::with(&fixture).say(&longer, &greedy(6)), name);
        // An answer that outgrows that length leaves what it has in the regime that it ended in.
        let answer = talk.say(&prompt(12), &greedy(12));
        let grown = [prompt(12), ids(&answer[0]), vec![5]].concat();
        let answer = talk.say(&grown, &greedy(6));
        assert_eq!(cached(&answer), if name == "phi3-longrope" { 23 } else { 0 });
        assert_same(&answer, &Talk::with(&fixture).say(&grown, &greedy(6)), name);
    }
}

#[test]
fn several_answers_and_beams_go_on_too() {
    let _guard = tch::no_grad_guard();
    for name in ["gpt2", "gemma2", "gemma3_text", "mistral"] {
        let fixture = Fixture::open(name);
        let drawn = TextGenerationOptions { n: Some(3), do_sample: Some(true), ..greedy(6) };
        let beams = TextGenerationOptions { num_beams: Some(3), logprobs: None, ..greedy(6) };
        for (asked, rows) in [(drawn, 3), (beams, 1)] {
            let mut talk = Talk::with(&fixture);
            let first = prompt(20);
            let answer = talk.say(&first, &asked);
            let second = [first, ids(&answer[0]), vec![1, 2]].concat();
            let answer = talk.say(&second, &asked);
            let reused = cached(&answer);
            assert!(reused >= 20, "{name}");
            assert!(answer.iter().all(|text| text.cached_tokens == Some(reused)), "{name}");
            assert_eq!(talk.reused(), u64::from(reused) * rows);
            assert_same(&answer, &Talk::with(&fixture).say(&second, &asked), name);
        }
    }
}

#[test]
fn other_tenants_and_those_who_do_not_want_it_read_all() {
    let _guard = tch::no_grad_guard();
    let fixture = Fixture::open("llama");
    let mut talk = Talk::with(&fixture);
    let without = TextGenerationOptions { cache: Some(false), ..greedy(2) };
    talk.say_as("a", made(prompt(20), &without));
    assert_eq!(talk.pipelines.kept_bytes(), 0);
    talk.say_as("a", made(prompt(20), &greedy(2)));
    assert!(talk.pipelines.kept_bytes() > 0);
    for (tenant, work, expected) in [
        ("b", made(prompt(24), &greedy(2)), 0),
        ("a", made(prompt(24), &without), 0),
        ("a", made(prompt(24), &greedy(2)), 20),
        ("b", made(prompt(24), &greedy(2)), 23),
    ] {
        assert_eq!(cached(&talk.say_as(tenant, work)), expected, "{tenant}");
    }
    talk.pipelines.let_go();
    assert_eq!((talk.pipelines.kept_bytes(), talk.pipelines.cache_bytes()), (0, 0));
}

#[test]
fn what_was_read_for_a_client_that_left_is_of_use_to_its_next_request() {
    let _guard = tch::no_grad_guard();
    let fixture = Fixture::open("gemma3_text");
    let mut talk = Talk::with(&fixture);
    let inbox = admit(&mut talk.pipelines, made(prompt(20), &greedy(30)), "", &talk.counters);
    for _ in 0..3 {
        step(&mut talk.pipelines);
    }
    drop(inbox);
    let asked = [prompt(20), vec![9]].concat();
    let answer = talk.say(&asked, &greedy(6));
    assert_eq!(cached(&answer), 20);
    assert_same(&answer, &Talk::with(&fixture).say(&asked, &greedy(6)), "after one who left");
}

#[test]
fn what_is_kept_gives_way_and_the_bound_holds() {
    let _guard = tch::no_grad_guard();
    let fixture = Fixture::open("llama");
    let per_token = fixture.causal_lm().cache_shape().bytes_per_token();
    let bound = 64 * per_token;
    let mut talk = Talk::of(fixture.pipelines_with(ModelKind::CausalLm, bound));
    let text = |first: u32| [vec![first], prompt(19)].concat();
    for first in 0..8 {
        talk.say(&text(first), &greedy(4));
        assert!(talk.pipelines.kept_bytes() <= talk.pipelines.cache_bytes());
        assert!(talk.pipelines.cache_bytes() <= bound);
    }
    // Two of 24 tokens are kept.
    assert_eq!(talk.pipelines.kept_bytes(), 48 * per_token);
    assert_eq!(talk.reused(), 0);
    // One that needs all the room becomes of the kept one what fits, or is read anew.
    let whole = [text(7), prompt(30)].concat();
    let answer = talk.say(&whole, &greedy(14));
    assert_eq!((cached(&answer), answer[0].generated_tokens), (0, 14));
    assert_same(&answer, &Talk::with(&fixture).say(&whole, &greedy(14)), "all the room");
    let again = [&whole[..40], &[9, 9]].concat();
    let answer = talk.say(&again, &greedy(20));
    assert_eq!(cached(&answer), 40);
    assert_same(&answer, &Talk::with(&fixture).say(&again, &greedy(20)), "in its place");
    // Requests that run together keep theirs.
    let inboxes: Vec<_> = (0..4)
        .map(|first| {
            let work = made(text(first), &greedy(10));
            admit(&mut talk.pipelines, work, "", &talk.counters)
        })
        .collect();
    for (first, inbox) in (0..).zip(inboxes) {
        let answer = texts(&mut talk.pipelines, inbox);
        assert_same(&answer, &Talk::with(&fixture).say(&text(first), &greedy(10)), "together");
    }
    assert!(talk.pipelines.cache_bytes() <= bound);
}

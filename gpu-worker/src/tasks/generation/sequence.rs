//! One answer in the making: its tokens, its place in the cache, its text so far.

use std::rc::Rc;

use proto::{GeneratedText, TokenEvent, TokenLogprob, TopToken};

use super::cached::Cached;
use crate::{
    layers::KvSlot,
    sampling::{History, Sampled, Sampler, SamplingError},
    tasks::Generate,
    text::{Detokenizer, StopMatcher, TextError, Tokenizer},
};

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model ended the text.
    Stop,
    Length,
    StopString,
}

impl Finish {
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::StopString => "stop_string",
        }
    }
}

pub struct Sequence {
    slot: KvSlot,
    cached: Cached,
    /// The slot that what is cached has to be copied from first.
    source: Option<Rc<KvSlot>>,
    generated: Vec<u32>,
    /// `None` for a beam, whose tokens are chosen together with those of the others.
    writing: Option<Box<Writing>>,
    choice: u32,
    pub finish: Option<Finish>,
}

/// How an answer's tokens are chosen and become text.
struct Writing {
    sampler: Sampler,
    detokenizer: Detokenizer,
    stops: StopMatcher,
    text: String,
    logprobs: Vec<TokenLogprob>,
}

/// Why no next token could be had.
#[derive(Debug, thiserror::Error)]
pub enum NextError {
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    #[error(transparent)]
    Text(#[from] TextError),
}

/// Whether a token's text begins with a space depends on the tokens before it, never on more than this many.
const CONTEXT_TOKENS: usize = 8;

impl Sequence {
    pub fn new(work: &Generate, choice: u32, slot: KvSlot) -> Result<Self, TextError> {
        let sampler = Sampler::new(work.options.clone(), work.seed, choice);
        let writing = Writing {
            sampler: sampler.constrained(work.constraints.clone()),
            detokenizer: detokenizer(work)?,
            stops: StopMatcher::new(&work.options.stop),
            text: String::new(),
            logprobs: Vec::new(),
        };
        let beam = Self::beam(slot, Cached::default(), Vec::new());
        Ok(Self { writing: Some(Box::new(writing)), choice, ..beam })
    }

    /// A beam that has written these tokens; `cached` counts the prompt too.
    pub fn beam(slot: KvSlot, cached: Cached, generated: Vec<u32>) -> Self {
        Self { slot, cached, source: None, generated, writing: None, choice: 0, finish: None }
    }

    /// The same, but it goes on from what is cached: in its slot already, or to be copied from `source`.
    #[must_use]
    pub fn going_on(self, cached: Cached, source: Option<Rc<KvSlot>>) -> Self {
        Self { cached, source, ..self }
    }

    /// Copies what it goes on from; a part of its first step.
    pub fn take_over(&mut self) {
        if let Some(source) = self.source.take() {
            self.slot.copy_from(&source, self.cached.tokens() as i64);
        }
    }

    pub fn into_slot(self) -> KvSlot {
        self.slot
    }

    /// What another text could go on from: the tokens, the regime in which they were read, and where they are.
    pub fn into_prefix(self, prompt: &[u32]) -> Option<(Vec<u32>, u32, KvSlot)> {
        let (tokens, regime) = self.cached.reusable().filter(|_| self.source.is_none())?;
        let ids = prompt.iter().chain(&self.generated).copied().take(tokens).collect();
        Some((ids, regime, self.slot))
    }

    pub fn slot(&self) -> &KvSlot {
        &self.slot
    }

    pub fn cached(&self) -> Cached {
        self.cached
    }

    /// The tokens that the model has not seen yet, at most `limit` of them.
    pub fn unseen<'a>(&'a self, prompt: &'a [u32], limit: usize) -> &'a [u32] {
        let cached = self.cached.tokens();
        let rest = match cached.checked_sub(prompt.len()) {
            None => &prompt[cached..],
            Some(seen) => &self.generated[seen..],
        };
        &rest[..rest.len().min(limit)]
    }

    /// True while the prompt is not wholly in the cache, or tokens that were generated are not in it any more.
    pub fn is_prefilling(&self, prompt: &[u32]) -> bool {
        let cached = self.cached.tokens();
        cached < prompt.len() || cached + 1 < prompt.len() + self.generated.len()
    }

    /// Forgets what is in the cache, so that all of it is read again.
    pub fn reread(&mut self) {
        self.cached = Cached::default();
    }

    /// Notes that `tokens` more are in the cache, which were computed in this regime.
    pub fn advance(&mut self, tokens: usize, regime: Option<u32>) {
        self.cached.advance(tokens, regime);
    }

    /// Chooses the next token from one row of logits; its event, unless it only ended the text.
    pub fn next(
        &mut self,
        logits: &mut [f32],
        work: &Generate,
    ) -> Result<Option<TokenEvent>, NextError> {
        let Some(writing) = &mut self.writing else { return Ok(None) };
        let history = History { prompt: &work.prompt_ids, generated: &self.generated };
        let sampled = writing.sampler.sample(logits, &history)?;
        let id = sampled.id;
        self.generated.push(id);
        let top = writing.note_logprobs(&sampled, &work.tokenizer);
        let is_end = work.options.eos_token_ids.contains(&id);
        let mut piece = if is_end { String::new() } else { writing.detokenizer.push(id)? };
        if is_end {
            self.finish = Some(Finish::Stop);
        } else if self.generated.len() >= work.max_new_tokens {
            self.finish = Some(Finish::Length);
        }
        if self.finish.is_some() {
            piece.push_str(&writing.detokenizer.finish()?);
        }
        let outcome = writing.stops.push(&piece);
        let mut text = outcome.emit;
        if outcome.stopped {
            self.finish = Some(Finish::StopString);
        } else if self.finish.is_some() {
            text.push_str(&writing.stops.finish());
        }
        writing.text.push_str(&text);
        if is_end && text.is_empty() {
            return Ok(None);
        }
        Ok(Some(TokenEvent {
            index: self.generated.len() as u32 - 1,
            text,
            token_id: id,
            logprob: sampled.logprob.map(f64::from),
            top,
            choice: self.choice,
        }))
    }

    pub fn choice(&self) -> u32 {
        self.choice
    }

    pub fn generated_tokens(&self) -> usize {
        self.generated.len()
    }

    /// Takes the finished answer out; a beam has none of its own. `cached_tokens` of the prompt were not read for it.
    pub fn take_text(
        &mut self,
        prompt_tokens: usize,
        cached_tokens: usize,
    ) -> Option<GeneratedText> {
        let Writing { text, logprobs, .. } = *self.writing.take()?;
        Some(GeneratedText {
            text,
            finish_reason: self.finish.map_or("", Finish::name).to_owned(),
            prompt_tokens: prompt_tokens as u32,
            cached_tokens: Some(cached_tokens as u32),
            generated_tokens: self.generated.len() as u32,
            logprobs,
        })
    }
}

impl Writing {
    fn note_logprobs(&mut self, sampled: &Sampled, tokenizer: &Tokenizer) -> Vec<TopToken> {
        let Some(logprob) = sampled.logprob else { return Vec::new() };
        let token = |id: u32| tokenizer.decode(&[id], false).unwrap_or_default();
        let top: Vec<TopToken> = sampled
            .top
            .iter()
            .map(|&(id, logprob)| TopToken {
                token: token(id),
                token_id: id,
                logprob: f64::from(logprob),
            })
            .collect();
        self.logprobs.push(TokenLogprob {
            token: token(sampled.id),
            token_id: sampled.id,
            logprob: f64::from(logprob),
            top: top.clone(),
        });
        top
    }
}

/// One that knows the end of the prompt.
pub fn detokenizer(work: &Generate) -> Result<Detokenizer, TextError> {
    let mut detokenizer = work.tokenizer.detokenizer(true);
    for &id in &work.prompt_ids[work.prompt_ids.len().saturating_sub(CONTEXT_TOKENS)..] {
        detokenizer.push(id)?;
    }
    Ok(detokenizer)
}

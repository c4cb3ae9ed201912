//! One answer in the making: its tokens, its place in the cache, its text so far.

use proto::{GeneratedText, TokenEvent, TokenLogprob, TopToken};

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
    fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::StopString => "stop_string",
        }
    }
}

pub struct Sequence {
    slot: KvSlot,
    /// Tokens whose keys and values are in the cache.
    cached: usize,
    generated: Vec<u32>,
    sampler: Sampler,
    detokenizer: Detokenizer,
    stops: StopMatcher,
    text: String,
    logprobs: Vec<TokenLogprob>,
    choice: u32,
    pub finish: Option<Finish>,
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
        let mut detokenizer = work.tokenizer.detokenizer(true);
        for &id in &work.prompt_ids[work.prompt_ids.len().saturating_sub(CONTEXT_TOKENS)..] {
            detokenizer.push(id)?;
        }
        Ok(Self {
            slot,
            cached: 0,
            generated: Vec::new(),
            sampler: Sampler::new(work.options.clone(), work.seed, choice)
                .constrained(work.constraints.clone()),
            detokenizer,
            stops: StopMatcher::new(&work.options.stop),
            text: String::new(),
            logprobs: Vec::new(),
            choice,
            finish: None,
        })
    }

    pub fn slot(&self) -> &KvSlot {
        &self.slot
    }

    pub fn cached(&self) -> usize {
        self.cached
    }

    /// The tokens that the model has not seen yet, at most `limit` of them.
    pub fn unseen<'a>(&'a self, prompt: &'a [u32], limit: usize) -> &'a [u32] {
        let rest = match self.cached.checked_sub(prompt.len()) {
            None => &prompt[self.cached..],
            Some(seen) => &self.generated[seen..],
        };
        &rest[..rest.len().min(limit)]
    }

    /// True while the prompt is not wholly in the cache, or tokens that were generated are not in it any more.
    pub fn is_prefilling(&self, prompt: &[u32]) -> bool {
        self.cached < prompt.len() || self.cached + 1 < prompt.len() + self.generated.len()
    }

    /// Forgets what is in the cache, so that all of it is read again.
    pub fn reread(&mut self) {
        self.cached = 0;
    }

    /// Notes that `tokens` more are in the cache.
    pub fn advance(&mut self, tokens: usize) {
        self.cached += tokens;
    }

    /// Chooses the next token from one row of logits; its event, unless it only ended the text.
    pub fn next(
        &mut self,
        logits: &mut [f32],
        work: &Generate,
    ) -> Result<Option<TokenEvent>, NextError> {
        let history = History { prompt: &work.prompt_ids, generated: &self.generated };
        let sampled = self.sampler.sample(logits, &history)?;
        let id = sampled.id;
        self.generated.push(id);
        let top = self.note_logprobs(&sampled, &work.tokenizer);
        let is_end = work.options.eos_token_ids.contains(&id);
        let mut piece = if is_end { String::new() } else { self.detokenizer.push(id)? };
        if is_end {
            self.finish = Some(Finish::Stop);
        } else if self.generated.len() >= work.max_new_tokens {
            self.finish = Some(Finish::Length);
        }
        if self.finish.is_some() {
            piece.push_str(&self.detokenizer.finish()?);
        }
        let outcome = self.stops.push(&piece);
        let mut text = outcome.emit;
        if outcome.stopped {
            self.finish = Some(Finish::StopString);
        } else if self.finish.is_some() {
            text.push_str(&self.stops.finish());
        }
        self.text.push_str(&text);
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

    pub fn choice(&self) -> u32 {
        self.choice
    }

    pub fn generated_tokens(&self) -> usize {
        self.generated.len()
    }

    /// The finished answer; its room in the cache is free from here on.
    pub fn into_text(self, prompt_tokens: usize) -> GeneratedText {
        GeneratedText {
            text: self.text,
            finish_reason: self.finish.map_or("", Finish::name).to_owned(),
            prompt_tokens: prompt_tokens as u32,
            generated_tokens: self.generated.len() as u32,
            logprobs: self.logprobs,
        }
    }
}

//! One answer that is written token by token: its tokens, its place in the cache, its text so far.

use proto::{GeneratedText, TokenEvent};

use super::text::Row;
use crate::{
    layers::KvSlot,
    sampling::{History, Sampler, SamplingError},
    tasks::Write,
    text::{Detokenizer, StopMatcher, TextError},
};

/// Why no next token could be had.
#[derive(Debug, thiserror::Error)]
pub enum NextError {
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    #[error(transparent)]
    Text(#[from] TextError),
}

pub struct Answer {
    slot: KvSlot,
    /// The start token, and what was written.
    ids: Vec<u32>,
    sampler: Sampler,
    detokenizer: Detokenizer,
    stops: StopMatcher,
    text: String,
    choice: u32,
    /// Why it ended, once it has.
    finish: Option<&'static str>,
}

impl Answer {
    pub fn new(work: &Write, choice: u32, slot: KvSlot) -> Self {
        let mut sampling = work.decoding.sampling.clone();
        // The constraints do this, in the reference's order.
        sampling.repetition_penalty = 1.0;
        sampling.min_new_tokens = 0;
        Self {
            slot,
            ids: vec![work.decoding.start],
            stops: StopMatcher::new(&sampling.stop),
            sampler: Sampler::new(sampling, work.seed, choice),
            detokenizer: work.tokenizer.detokenizer(true),
            text: String::new(),
            choice,
            finish: None,
        }
    }

    /// The token that the model has to see next; none once the answer is complete.
    pub fn row(&self) -> Option<Row<'_>> {
        let id = *self.ids.last()?;
        self.finish.is_none().then(|| Row { slot: &self.slot, cached: self.ids.len() - 1, id })
    }

    pub fn generated_tokens(&self) -> usize {
        self.ids.len() - 1
    }

    /// Chooses the next token from one row of logits; its event, unless it only ended the text.
    pub fn next(
        &mut self,
        logits: &mut [f32],
        work: &Write,
        source: &[u32],
    ) -> Result<Option<TokenEvent>, NextError> {
        let constraints = &work.decoding.constraints;
        constraints.apply(logits, &self.ids, source);
        let sampled = self.sampler.sample(logits, &History { prompt: &[], generated: &[] })?;
        let id = sampled.id;
        self.ids.push(id);
        let is_end = constraints.eos_token_ids.contains(&id);
        let mut piece = if is_end { String::new() } else { self.detokenizer.push(id)? };
        if is_end {
            self.finish = Some("stop");
        } else if self.ids.len() >= constraints.max_length {
            self.finish = Some("length");
        }
        if self.finish.is_some() {
            piece.push_str(&self.detokenizer.finish()?);
        }
        let outcome = self.stops.push(&piece);
        let mut text = outcome.emit;
        if outcome.stopped {
            self.finish = Some("stop_string");
        } else if self.finish.is_some() {
            text.push_str(&self.stops.finish());
        }
        self.text.push_str(&text);
        if is_end && text.is_empty() {
            return Ok(None);
        }
        Ok(Some(TokenEvent {
            index: self.generated_tokens() as u32 - 1,
            text,
            token_id: id,
            logprob: None,
            top: Vec::new(),
            choice: self.choice,
        }))
    }

    /// What was written.
    pub fn take_text(&mut self, source_tokens: usize) -> GeneratedText {
        GeneratedText {
            text: std::mem::take(&mut self.text),
            finish_reason: self.finish.unwrap_or_default().to_owned(),
            prompt_tokens: source_tokens as u32,
            cached_tokens: None,
            generated_tokens: self.generated_tokens() as u32,
            logprobs: Vec::new(),
        }
    }
}

//! A request whose answers are being made.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use proto::{GeneratedText, ProgressEvent};

use super::{
    beams::Beams,
    sequence::{NextError, Sequence},
};
use crate::tasks::{Event, Generate, Job, Made, Timing};

/// A request whose answers are being made.
pub struct Request {
    pub job: Job,
    pub work: Box<Generate>,
    pub sequences: Vec<Sequence>,
    /// The search that the sequences are the beams of.
    pub beams: Option<Beams>,
    /// Answers that are complete, by choice.
    pub done: Vec<Option<GeneratedText>>,
    pub started: Instant,
    pub steps: Duration,
    pub first_token: Option<Duration>,
    pub tokens: usize,
    /// Tokens of the prompt that did not have to be read.
    pub cached_tokens: usize,
}

impl Request {
    /// Tokens that its tenant was charged for and that it did not have.
    pub fn unused_tokens(&self) -> usize {
        charged_tokens(&self.work).saturating_sub(self.had_tokens())
    }

    /// Tokens that went through the model for it, roughly: a prompt that was begun counts in full.
    fn had_tokens(&self) -> usize {
        let of_beams = self.beams.as_ref().map_or(0, |beams| beams.written() * self.work.rows());
        let read = self.work.prompt_ids.len() - self.cached_tokens;
        read * self.work.rows() + self.tokens.max(of_beams)
    }

    /// Sequences that it has in the making, or will have once its prompt is read.
    pub fn rows(&self) -> usize {
        if self.beams.is_some() { self.work.rows() } else { self.sequences.len() }
    }

    /// Takes the logits after one of its sequences, or after all its beams, and says what was chosen.
    pub fn take_logits(
        &mut self,
        index: usize,
        logits: &mut [f32],
        rereads_beyond: Option<i64>,
    ) -> Result<(), NextError> {
        if self.beams.is_some() {
            return self.search(logits);
        }
        let sequence = &mut self.sequences[index];
        let event = sequence.next(logits, &self.work)?;
        let known = self.work.prompt_ids.len() + sequence.generated_tokens();
        let goes_on = sequence.finish.is_none();
        if goes_on && rereads_beyond.is_some_and(|most| known as i64 == most + 1) {
            sequence.reread();
        }
        self.note_tokens(1);
        if let Some(event) = event {
            self.job.outbox.push(Event::Token(event));
        }
        Ok(())
    }

    /// Takes the logits after all beams; none of their tokens is certain before the end.
    fn search(&mut self, logits: &mut [f32]) -> Result<(), NextError> {
        let Some(beams) = &mut self.beams else { return Ok(()) };
        if let Some(texts) =
            beams.next(logits, &mut self.sequences, &self.work, self.cached_tokens)?
        {
            let tokens = texts.iter().map(|text| text.generated_tokens as usize).sum();
            self.done = texts.into_iter().map(Some).collect();
            self.note_tokens(tokens);
            return Ok(());
        }
        let (step, total) = (beams.written(), self.work.max_new_tokens);
        self.job.outbox.push(Event::Progress(ProgressEvent {
            step: step as u32,
            total_steps: total as u32,
            percent: 100.0 * step as f64 / total as f64,
            eta_s: None,
            preview: None,
        }));
        Ok(())
    }

    fn note_tokens(&mut self, tokens: usize) {
        self.tokens += tokens;
        let arrived = self.job.arrived;
        self.first_token.get_or_insert_with(|| arrived.elapsed());
        self.job.counters.generated_tokens.fetch_add(tokens as u64, Ordering::Relaxed);
    }

    /// Takes out the sequences that have ended, and notes their answers.
    pub fn collect(&mut self) -> Vec<Sequence> {
        let prompt_tokens = self.work.prompt_ids.len();
        let mut ended: Vec<Sequence> =
            self.sequences.extract_if(.., |sequence| sequence.finish.is_some()).collect();
        for sequence in &mut ended {
            if let Some(text) = sequence.take_text(prompt_tokens, self.cached_tokens) {
                self.done[sequence.choice() as usize] = Some(text);
            }
        }
        ended
    }

    /// Ends it with all its answers.
    pub fn complete(self) {
        let timing = Timing {
            queue: self.started.duration_since(self.job.submitted),
            steps: self.steps,
            first_token: self.first_token,
            tokens: self.tokens,
        };
        self.job.finish(Made::Texts(self.done.into_iter().flatten().collect()), timing);
    }
}

/// The tokens that a request may need at most, which its tenant is charged when it starts.
pub fn charged_tokens(work: &Generate) -> usize {
    (work.prompt_ids.len() + work.max_new_tokens) * work.rows()
}

impl Generate {
    /// Answers or beams that are in the making at the same time.
    pub fn rows(&self) -> usize {
        self.beams.as_ref().map_or(self.options.n as usize, |beams| beams.num_beams)
    }
}

//! A request whose texts are being written.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use proto::{GeneratedText, ProgressEvent};

use super::{answer::NextError, text::Text};
use crate::{
    layers::KvArena,
    tasks::{Event, Job, Made, Timing, Write},
};

pub struct Request {
    /// Unique in its pipeline.
    pub id: u64,
    pub job: Job,
    pub work: Write,
    /// One per source, in order.
    states: Vec<State>,
    /// When its first text was opened.
    pub started: Option<Instant>,
    pub steps: Duration,
    first_token: Option<Duration>,
    /// Tokens of the answers.
    tokens: usize,
    /// What its tenant was charged for it, in tokens.
    charged_tokens: usize,
    /// What went through the model, in tokens.
    had_tokens: usize,
}

enum State {
    Waiting,
    Open(Text),
    Done(Vec<GeneratedText>),
}

impl Request {
    pub fn new(id: u64, job: Job, work: Write) -> Self {
        let states = work.sources.iter().map(|_| State::Waiting).collect();
        Self {
            id,
            job,
            work,
            states,
            started: None,
            steps: Duration::ZERO,
            first_token: None,
            tokens: 0,
            charged_tokens: 0,
            had_tokens: 0,
        }
    }

    /// Begins to write for one of its sources; false while there is no room for that.
    pub fn open_text(&mut self, idx: usize, arena: &KvArena, now: Instant) -> bool {
        let source_tokens = self.work.sources[idx].len();
        let Some(text) = Text::open(&self.work, source_tokens, arena) else { return false };
        self.states[idx] = State::Open(text);
        self.charged_tokens += self.work.cache_tokens(source_tokens);
        if self.started.is_none() {
            self.started = Some(now);
            self.job.outbox.push(Event::Started);
        }
        true
    }

    pub fn text(&self, idx: usize) -> Option<&Text> {
        match &self.states[idx] {
            State::Open(text) => Some(text),
            State::Waiting | State::Done(_) => None,
        }
    }

    /// Texts that are open, with their places.
    pub fn open(&self) -> impl Iterator<Item = (usize, &Text)> {
        (0..self.states.len()).filter_map(|idx| Some((idx, self.text(idx)?)))
    }

    pub fn note_encoded(&mut self, idx: usize) {
        if let State::Open(text) = &mut self.states[idx] {
            text.is_encoded = true;
            self.had_tokens += text.source_tokens;
        }
    }

    /// Takes the logits of one text's rows.
    pub fn take_logits(&mut self, idx: usize, logits: &mut [f32]) -> Result<(), NextError> {
        let streams = self.streams();
        let State::Open(text) = &mut self.states[idx] else { return Ok(()) };
        self.had_tokens += text.rows().len();
        let (job, first_token) = (&self.job, &mut self.first_token);
        let done = text.next(logits, &self.work, &self.work.sources[idx], |event| {
            first_token.get_or_insert_with(|| job.arrived.elapsed());
            if let Some(event) = event.filter(|_| streams) {
                job.outbox.push(Event::Token(event));
            }
        })?;
        if let Some(texts) = done {
            let tokens: usize = texts.iter().map(|text| text.generated_tokens as usize).sum();
            self.tokens += tokens;
            self.job.counters.generated_tokens.fetch_add(tokens as u64, Ordering::Relaxed);
            self.states[idx] = State::Done(texts);
        }
        Ok(())
    }

    /// Whether its tokens are shown as they come: of one text, where a token that was chosen stays.
    fn streams(&self) -> bool {
        self.states.len() == 1 && self.work.decoding.beams.is_none()
    }

    /// Says how far it is, where that cannot be seen from its tokens.
    pub fn tell_progress(&self) {
        if self.streams() {
            return;
        }
        let most = self.work.decoding.constraints.max_length - 1;
        let written = |state: &State| match state {
            State::Waiting => 0,
            State::Open(text) => text.written(),
            State::Done(_) => most,
        };
        let step: usize = self.states.iter().map(written).sum();
        let total = most * self.states.len();
        self.job.outbox.push(Event::Progress(ProgressEvent {
            step: step as u32,
            total_steps: total as u32,
            percent: 100.0 * step as f64 / total.max(1) as f64,
            eta_s: None,
            preview: None,
        }));
    }

    pub fn is_complete(&self) -> bool {
        self.states.iter().all(|state| matches!(state, State::Done(_)))
    }

    /// Tokens that its tenant was charged for and that it did not have.
    pub fn unused_tokens(&self) -> usize {
        self.charged_tokens.saturating_sub(self.had_tokens)
    }

    /// Ends it with all its texts.
    pub fn complete(self) {
        let timing = Timing {
            queue: self
                .started
                .map_or(Duration::ZERO, |started| started.duration_since(self.job.submitted)),
            steps: self.steps,
            first_token: self.first_token,
            tokens: self.tokens,
        };
        let done = |state| match state {
            State::Done(texts) => texts,
            State::Waiting | State::Open(_) => Vec::new(),
        };
        self.job.finish(Made::Written(self.states.into_iter().map(done).collect()), timing);
    }
}

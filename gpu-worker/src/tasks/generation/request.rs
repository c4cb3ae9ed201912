//! A request whose answers are being made.

use std::time::{Duration, Instant};

use proto::GeneratedText;

use super::sequence::Sequence;
use crate::tasks::{Generate, Job, Made, Timing};

/// A request whose answers are being made.
pub struct Request {
    pub job: Job,
    pub work: Generate,
    pub sequences: Vec<Sequence>,
    /// Answers that are complete, by choice.
    pub done: Vec<Option<GeneratedText>>,
    pub started: Instant,
    pub steps: Duration,
    pub first_token: Option<Duration>,
    pub tokens: usize,
}

impl Request {
    /// Tokens that its tenant was charged for and that it did not have.
    pub fn unused_tokens(&self) -> usize {
        charged_tokens(&self.work).saturating_sub(self.had_tokens())
    }

    /// Tokens that went through the model for it, roughly: a prompt that was begun counts in full.
    fn had_tokens(&self) -> usize {
        self.work.prompt_ids.len() * self.work.options.n as usize + self.tokens
    }

    /// Takes out the answers that are complete.
    pub fn collect(&mut self) {
        let prompt_tokens = self.work.prompt_ids.len();
        let (finished, unfinished) = std::mem::take(&mut self.sequences)
            .into_iter()
            .partition(|sequence: &Sequence| sequence.finish.is_some());
        self.sequences = unfinished;
        let finished: Vec<Sequence> = finished;
        for sequence in finished {
            let choice = sequence.choice() as usize;
            self.done[choice] = Some(sequence.into_text(prompt_tokens));
        }
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
    (work.prompt_ids.len() + work.max_new_tokens) * work.options.n as usize
}

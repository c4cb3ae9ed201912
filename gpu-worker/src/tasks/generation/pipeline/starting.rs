//! How requests begin, with room for them and what is kept of texts like theirs, and what is kept of those that end.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use super::{
    super::{
        beams::Beams,
        cached::Cached,
        prefixes::{Opened, Owner, Prefix, Wanted},
        request::Request,
        sequence::Sequence,
    },
    GenerationPipeline,
};
use crate::{
    failure::{Code, Failure},
    layers::KvSlot,
    tasks::{Event, Generate},
    text::TextError,
};

/// Answers that run at the same time.
const MAX_SEQUENCES: usize = 64;

impl GenerationPipeline {
    /// Starts what waits, in turns as [`FairQueue`] says, while the cache has room.
    pub(super) fn start_waiting(&mut self, now: Instant) {
        while let Some(at) = self.waiting.next(now) {
            let Some((_, work)) = self.waiting.get(at) else { return };
            let rows = work.rows();
            let sequences: usize = self.running.iter().map(Request::rows).sum();
            if sequences > 0 && sequences + rows > MAX_SEQUENCES {
                return;
            }
            let Some(opened) = self.open(at) else {
                if self.running.is_empty() {
                    self.refuse_for_room(at);
                    continue;
                }
                return;
            };
            let Some((job, work)) = self.waiting.take(at, now) else { return };
            let cached_tokens = opened.cached;
            let (beams, sequences) = match self.begin(&work, opened) {
                Ok(begun) => begun,
                Err(error) => {
                    job.fail(error.into());
                    continue;
                }
            };
            if cached_tokens > 0 {
                job.counters.prefix_hit(cached_tokens * sequences.len());
            }
            job.outbox.push(Event::Started);
            self.running.push(Request {
                done: vec![None; work.options.n as usize],
                job,
                work,
                sequences,
                beams,
                started: now,
                steps: Duration::ZERO,
                first_token: None,
                tokens: 0,
                cached_tokens,
            });
        }
    }

    /// Room for a request that waits, with what is kept of its prompt; `None` while others have the room.
    fn open(&mut self, at: usize) -> Option<Opened<KvSlot>> {
        let (job, work) = self.waiting.get(at)?;
        let tokens = (work.prompt_ids.len() + work.max_new_tokens) as i64;
        let kept: i64 = self.prefixes.held().map(KvSlot::tokens).sum();
        let of_running = self.arena.reserved_tokens() - kept;
        if of_running + work.rows() as i64 * tokens > self.arena.max_tokens() {
            // Whatever gave way would do so in vain.
            return None;
        }
        let wanted = Wanted {
            owner: Owner::of(job),
            regime: self.regime(work).filter(|_| work.options.cache),
            prompt: &work.prompt_ids,
            rows: work.rows(),
        };
        let arena = &self.arena;
        self.prefixes.open(&wanted, || arena.reserve(tokens), |slot| slot.tokens() >= tokens)
    }

    /// The regime in which a request's prompt is read.
    fn regime(&self, work: &Generate) -> Option<u32> {
        self.model.regime(work.prompt_ids.len() as i64)
    }

    /// The sequences of a request that starts, and the search that they are the beams of, if they are.
    fn begin(
        &self,
        work: &Generate,
        opened: Opened<KvSlot>,
    ) -> Result<(Option<Beams>, Vec<Sequence>), TextError> {
        let Opened { slots, cached, source } = opened;
        let (beams, sequences) = match &work.beams {
            Some(options) => {
                let (beams, first) = Beams::new(options, work, slots);
                (Some(beams), first)
            }
            None => {
                let slots = slots.into_iter().zip(0..);
                let sequences = slots.map(|(slot, choice)| Sequence::new(work, choice, slot));
                (None, sequences.collect::<Result<_, _>>()?)
            }
        };
        let cached = Cached::taken_over(cached, self.regime(work));
        let going_on = |sequence: Sequence| sequence.going_on(cached, source.clone());
        Ok((beams, sequences.into_iter().map(going_on).collect()))
    }

    /// Keeps what other texts could go on from; of beams, which have most in common, the first.
    pub(super) fn keep(&mut self, request: &Request, sequences: Vec<Sequence>) {
        if !request.work.options.cache {
            return;
        }
        let most = if request.beams.is_some() { 1 } else { sequences.len() };
        for sequence in sequences.into_iter().take(most) {
            if let Some((ids, regime, slot)) = sequence.into_prefix(&request.work.prompt_ids) {
                let owner = Owner::of(&request.job);
                self.prefixes.keep(Prefix { owner, regime, ids, held: Rc::new(slot) });
            }
        }
    }

    /// `n` answers together that do not even fit into an empty cache.
    fn refuse_for_room(&mut self, at: usize) {
        let Some((job, work)) = self.waiting.remove(at) else { return };
        let message = format!(
            "{} answers of this length do not fit into the model's cache together",
            work.rows()
        );
        let field = if work.beams.is_some() { "options.num_beams" } else { "options.n" };
        let limit = self.arena.max_tokens() as u64;
        job.fail(Failure::new(Code::InputTooLong, message).at(field).number("limit", limit));
    }
}

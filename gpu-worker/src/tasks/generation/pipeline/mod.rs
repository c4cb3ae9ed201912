//! The lane's side of generation: continuous batching over flat tokens.
//!
//! Every step takes one token of each running answer and a bounded piece of the prompts that are still being read.
//! Requests join between steps as soon as the cache has room for what they may need at most, and leave between steps.

mod reading;
mod starting;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tch::{Device, Kind, Tensor};

use self::reading::{PREFILL_TOKENS, prefill_tokens, shares};
use super::{
    limits::refusal,
    prefixes::Prefixes,
    request::{Request, charged_tokens},
};
use crate::{
    failure::{Code, Failure},
    layers::{KvArena, KvSlot, Segment, Step},
    models::CausalLm,
    tasks::{
        Adapters, Ask, Generate, Job, Pipeline, StepShape, Work,
        fair_queue::{Entry, FairQueue},
    },
};

/// A reader that takes nothing for this long loses its request.
const SLOW_READER: Duration = Duration::from_secs(60);

pub struct GenerationPipeline {
    model: Box<dyn CausalLm>,
    device: Device,
    arena: KvArena,
    adapters: Adapters,
    /// Texts that have ended. Their room is there for whoever needs it.
    prefixes: Prefixes<KvSlot>,
    /// Charged in tokens.
    waiting: FairQueue<(Job, Box<Generate>)>,
    running: Vec<Request>,
    /// Requests in the step that was prepared last, by index into `running`.
    stepping: Vec<usize>,
}

/// A sequence's part of a step.
struct Part {
    request: usize,
    sequence: usize,
    tokens: usize,
}

impl GenerationPipeline {
    /// `cache_bytes` bounds the keys and values of all running answers together.
    pub fn new(
        model: Box<dyn CausalLm>,
        device: Device,
        cache_bytes: u64,
        adapters: Adapters,
    ) -> Self {
        let arena = KvArena::new(model.cache_shape(), device, cache_bytes);
        Self {
            model,
            device,
            arena,
            adapters,
            prefixes: Prefixes::default(),
            waiting: FairQueue::new(),
            running: Vec::new(),
            stepping: Vec::new(),
        }
    }

    fn drop_abandoned(&mut self, now: Instant) {
        self.waiting.retain(|(job, _)| !job.is_abandoned(now));
        let gone: Vec<Request> =
            self.running.extract_if(.., |request| request.job.is_abandoned(now)).collect();
        for mut request in gone {
            self.refund(&request, now);
            let sequences = std::mem::take(&mut request.sequences);
            self.keep(&request, sequences);
        }
        let slow = |request: &Request| {
            request.job.outbox.full_for().is_some_and(|time| time > SLOW_READER)
        };
        while let Some(at) = self.running.iter().position(slow) {
            let failure = Failure::new(Code::SlowConsumer, "the answer was not read for too long");
            let request = self.running.swap_remove(at);
            self.refund(&request, now);
            request.job.fail(failure);
        }
    }

    /// Gives the request's tenant back what was charged for tokens that it did not have.
    fn refund(&mut self, request: &Request, now: Instant) {
        self.waiting.refund(&request.job.tenant, request.unused_tokens() as f64, now);
    }

    /// Picks those who take part in the next step: requests whose readers are too slow sit it out.
    fn choose_stepping(&mut self) {
        self.stepping = (0..self.running.len())
            .filter(|&at| self.running[at].job.outbox.full_for().is_none())
            .collect();
    }

    /// What each sequence contributes to the next step: one token, or a piece of what it has to read first.
    fn parts(&self) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut reading = Vec::new();
        for &at in &self.stepping {
            let request = &self.running[at];
            let prompt = &request.work.prompt_ids;
            for (index, sequence) in request.sequences.iter().enumerate() {
                let is_prefilling = sequence.is_prefilling(prompt);
                let limit = if is_prefilling { usize::MAX } else { 1 };
                let tokens = sequence.unseen(prompt, limit).len();
                if is_prefilling {
                    reading.push((parts.len(), tokens));
                }
                parts.push(Part { request: at, sequence: index, tokens });
            }
        }
        let is_alone = self.stepping.len() == 1;
        let lefts: Vec<usize> = reading.iter().map(|&(_, left)| left).collect();
        let shares = shares(&lefts, prefill_tokens(self.device, is_alone));
        for ((at, _), share) in reading.into_iter().zip(shares) {
            parts[at].tokens = share;
        }
        parts.retain(|part| part.tokens > 0);
        parts
    }

    /// One forward pass over the parts: the logits of those whose next token can be chosen, one row after the other.
    fn forward(&self, parts: &[Part], wanted: &[i64]) -> Vec<f32> {
        let mut ids: Vec<i64> = Vec::new();
        let (mut segments, mut lengths, mut adapters) = (Vec::new(), Vec::new(), Vec::new());
        for part in parts {
            let request = &self.running[part.request];
            let sequence = &request.sequences[part.sequence];
            let unseen = sequence.unseen(&request.work.prompt_ids, part.tokens);
            ids.extend(unseen.iter().map(|&id| i64::from(id)));
            segments.push(Segment {
                slot: sequence.slot(),
                cached: sequence.cached().tokens() as i64,
                tokens: part.tokens as i64,
            });
            let known = request.work.prompt_ids.len() + sequence.generated_tokens();
            lengths.push(known as i64);
            adapters.push(self.adapters.of(&request.job));
        }
        let step =
            Step::sequences(segments, self.device).of_lengths(lengths).with_adapters(&adapters);
        let n_tokens = ids.len();
        let hidden = self.model.hidden(&Tensor::from_slice(&ids).to_device(self.device), &step);
        if wanted.is_empty() {
            return Vec::new();
        }
        let rows = if wanted.len() == n_tokens {
            hidden
        } else {
            hidden.index_select(0, &Tensor::from_slice(wanted).to_device(self.device))
        };
        let step = step.of_rows(wanted);
        let logits = self.model.logits(&rows, &step).to_device(Device::Cpu).to_kind(Kind::Float);
        Vec::try_from(logits.contiguous().view([-1])).expect("a flat float tensor")
    }

    /// Chooses a token for every row of logits and says so.
    fn choose(&mut self, chosen: &[(usize, usize)], mut logits: Vec<f32>, took: Duration) {
        let vocabulary = logits.len() / chosen.len().max(1);
        let rereads_beyond = self.model.rereads_beyond();
        let mut failures: Vec<(usize, Failure)> = Vec::new();
        let (mut chosen, mut rest) = (chosen, logits.as_mut_slice());
        while let [(at, index), ..] = *chosen {
            let request = &mut self.running[at];
            // Beams are chosen from together.
            let rows = if request.beams.is_some() { request.sequences.len() } else { 1 };
            let (own, others) = rest.split_at_mut(rows * vocabulary);
            (chosen, rest) = (&chosen[rows..], others);
            if let Err(error) = request.take_logits(index, own, rereads_beyond) {
                failures.push((at, Failure::new(Code::InferenceFailed, error)));
            }
        }
        for at in std::mem::take(&mut self.stepping) {
            self.running[at].steps += took;
        }
        self.finish(failures);
    }

    /// Tells every request of the step that it has ended.
    fn note_step(&mut self) {
        if let Some(&first) = self.stepping.first() {
            self.running[first].job.counters.stepped(self.stepping.len());
        }
        for &at in &self.stepping {
            self.running[at].job.has_stepped();
        }
    }

    /// Lets go of answers that are complete, and of requests whose answers all are.
    fn finish(&mut self, failures: Vec<(usize, Failure)>) {
        let mut failures: Vec<Option<Failure>> =
            failures.into_iter().fold(vec![None; self.running.len()], |mut all, (at, failure)| {
                all[at] = Some(failure);
                all
            });
        for (at, mut request) in std::mem::take(&mut self.running).into_iter().enumerate() {
            if let Some(failure) = failures[at].take() {
                request.job.fail(failure);
                continue;
            }
            let ended = request.collect();
            self.keep(&request, ended);
            if request.sequences.is_empty() {
                self.refund(&request, Instant::now());
                request.complete();
            } else {
                self.running.push(request);
            }
        }
    }
}

impl Pipeline for GenerationPipeline {
    fn warm(&mut self) {
        let Some(slot) = self.arena.reserve(1) else { return };
        let step =
            Step::sequences(vec![Segment { slot: &slot, cached: 0, tokens: 1 }], self.device);
        let ids = Tensor::zeros([1], (Kind::Int64, self.device));
        // Read back, so that it has run when this returns.
        let _ = self.model.logits(&self.model.hidden(&ids, &step), &step).to_device(Device::Cpu);
    }

    fn accepts(&self, work: &Work) -> bool {
        matches!(work, Work::Generate(_))
    }

    fn admit(&mut self, mut job: Job) {
        let Some(Work::Generate(work)) = job.work.take() else { return };
        match refusal(&work, &*self.model, self.arena.max_tokens()) {
            Some(failure) => job.fail(failure),
            None => self.waiting.push(Entry {
                tenant: Arc::clone(&job.tenant),
                priority: job.priority,
                cost: charged_tokens(&work) as f64,
                item: (job, work),
            }),
        }
    }

    fn prepare_step(&mut self, now: Instant) -> Option<Ask> {
        self.drop_abandoned(now);
        self.start_waiting(now);
        self.choose_stepping();
        let priority = self.stepping.iter().map(|&at| self.running[at].job.priority).max()?;
        let parts = self.parts();
        let tenant = |part: &Part| Arc::clone(&self.running[part.request].job.tenant);
        Some(Ask::of(priority, parts.iter().map(|part| (tenant(part), part.tokens))))
    }

    fn shape(&self) -> StepShape {
        let parts = self.parts();
        let tokens = parts.iter().map(|part| part.tokens).sum();
        StepShape::new(tokens, parts.len(), tokens, PREFILL_TOKENS)
    }

    fn step(&mut self) {
        let begin = Instant::now();
        if self.stepping.iter().any(|&at| self.running[at].job.is_abandoned(begin)) {
            self.drop_abandoned(begin);
            self.choose_stepping();
        }
        let parts = self.parts();
        if parts.is_empty() {
            return;
        }
        // Rows of the flat pass after which a next token can be chosen, and whose they are.
        let (mut wanted, mut chosen, mut end) = (Vec::new(), Vec::new(), 0);
        for part in &parts {
            end += part.tokens as i64;
            let request = &self.running[part.request];
            let sequence = &request.sequences[part.sequence];
            let all = request.work.prompt_ids.len() + sequence.generated_tokens();
            if sequence.cached().tokens() + part.tokens == all {
                wanted.push(end - 1);
                chosen.push((part.request, part.sequence));
            }
        }
        for part in &parts {
            self.running[part.request].sequences[part.sequence].take_over();
        }
        let logits = self.forward(&parts, &wanted);
        for part in &parts {
            let request = &mut self.running[part.request];
            let sequence = &mut request.sequences[part.sequence];
            let known = request.work.prompt_ids.len() + sequence.generated_tokens();
            sequence.advance(part.tokens, self.model.regime(known as i64));
        }
        self.note_step();
        self.choose(&chosen, logits, begin.elapsed());
    }

    fn abort_step(&mut self, failure: &Failure) {
        // The caches of these requests may be half written: they cannot go on.
        self.note_step();
        let mut stepping = std::mem::take(&mut self.stepping);
        stepping.sort_unstable();
        if failure.code == Code::OutOfMemory {
            self.prefixes.clear();
        }
        for at in stepping.into_iter().rev() {
            self.running.swap_remove(at).job.fail(failure.clone());
        }
    }

    fn abort_all(&mut self, failure: &Failure) {
        for (job, _) in self.waiting.drain() {
            job.fail(failure.clone());
        }
        for request in std::mem::take(&mut self.running) {
            request.job.fail(failure.clone());
        }
        self.prefixes.clear();
    }

    fn jobs(&self) -> usize {
        self.waiting.len() + self.running.len()
    }

    fn running(&self) -> usize {
        self.running.len()
    }

    fn cache_bytes(&self) -> u64 {
        self.arena.bytes_used()
    }

    fn kept_bytes(&self) -> u64 {
        self.arena.bytes_of(self.prefixes.held().map(KvSlot::tokens).sum())
    }

    fn let_go(&mut self) {
        self.prefixes.clear();
    }
}

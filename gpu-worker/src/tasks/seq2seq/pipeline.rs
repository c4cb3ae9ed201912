//! The lane's side of writing: continuous batching over sources and targets.
//!
//! A step encodes a bounded piece of the sources that wait for it, and takes one token of every answer in the making.
//! Texts join between steps as soon as the cache has room for what they may need at most, and leave between steps.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tch::{Device, Kind, Tensor};

use super::{limits::refusal, request::Request, text::Text};
use crate::{
    failure::{Code, Failure},
    layers::{KvArena, Segment, Source, Step},
    models::Seq2SeqLm,
    tasks::{
        Adapters, Ask, Job, Pipeline, StepShape, Work,
        fair_queue::{Entry, FairQueue},
    },
};

/// Source tokens of one step, padding included: a longer source is a step of its own.
const ENCODE_TOKENS: usize = 1024;
/// Answers in the making at the same time, each beam for itself.
const MAX_ROWS: usize = 64;
/// A reader that takes nothing for this long loses its request.
const SLOW_READER: Duration = Duration::from_secs(60);

pub struct Seq2SeqPipeline {
    pub(super) model: Box<dyn Seq2SeqLm>,
    pub(super) device: Device,
    arena: KvArena,
    pub(super) adapters: Adapters,
    /// Texts that are not begun, by request and place; charged in tokens.
    waiting: FairQueue<(u64, usize)>,
    pub(super) requests: Vec<Request>,
    next_id: u64,
    /// Requests in the step that was prepared last, by index into `requests`.
    stepping: Vec<usize>,
}

/// What a step works on, by request and text.
#[derive(Default)]
struct Plan {
    encode: Vec<(usize, usize)>,
    write: Vec<(usize, usize)>,
}

impl Seq2SeqPipeline {
    /// `cache_bytes` bounds the keys and values of all sources and targets together.
    pub fn new(
        model: Box<dyn Seq2SeqLm>,
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
            waiting: FairQueue::new(),
            requests: Vec::new(),
            next_id: 0,
            stepping: Vec::new(),
        }
    }

    fn drop_abandoned(&mut self, now: Instant) {
        let slow = |request: &Request| {
            request.job.outbox.full_for().is_some_and(|time| time > SLOW_READER)
        };
        let gone: Vec<Request> = self
            .requests
            .extract_if(.., |request| request.job.is_abandoned(now) || slow(request))
            .collect();
        if gone.is_empty() {
            return;
        }
        for request in gone {
            self.refund(&request, now);
            if !request.job.is_abandoned(now) {
                let message = "the answer was not read for too long";
                request.job.fail(Failure::new(Code::SlowConsumer, message));
            }
        }
        self.forget_gone();
    }

    /// Takes texts out of the queue whose requests have ended.
    fn forget_gone(&mut self) {
        let alive: Vec<u64> = self.requests.iter().map(|request| request.id).collect();
        self.waiting.retain(|(id, _)| alive.contains(id));
    }

    /// Gives the request's tenant back what was charged for tokens that it did not have.
    fn refund(&mut self, request: &Request, now: Instant) {
        self.waiting.refund(&request.job.tenant, request.unused_tokens() as f64, now);
    }

    /// Picks those who take part in the next step: requests whose readers are too slow sit it out.
    fn choose_stepping(&mut self) {
        self.stepping = (0..self.requests.len())
            .filter(|&at| self.requests[at].job.outbox.full_for().is_none())
            .collect();
    }

    /// Begins texts that wait, in turns as [`FairQueue`] says, while the cache has room.
    fn start_waiting(&mut self, now: Instant) {
        while let Some(turn) = self.waiting.next(now) {
            let Some(&(id, idx)) = self.waiting.get(turn) else { return };
            let Some(at) = self.requests.iter().position(|request| request.id == id) else {
                self.waiting.remove(turn);
                continue;
            };
            let rows = |request: &Request| request.open().count() * request.work.rows();
            let open: usize = self.requests.iter().map(rows).sum();
            if open > 0 && open + self.requests[at].work.rows() > MAX_ROWS {
                return;
            }
            if self.requests[at].open_text(idx, &self.arena, now) {
                self.waiting.take(turn, now);
            } else if open > 0 {
                return;
            } else {
                self.refuse_for_room(at);
            }
        }
    }

    /// A text that does not even fit into an empty cache, because it cannot be divided as it would have to be.
    fn refuse_for_room(&mut self, at: usize) {
        let request = self.requests.swap_remove(at);
        let message = format!(
            "{} answers of this length do not fit into the model's cache together",
            request.work.rows()
        );
        let limit = self.arena.max_tokens() as u64;
        let failure = Failure::new(Code::InputTooLong, message);
        request.job.fail(failure.at("options.max_new_tokens").number("limit", limit));
        self.forget_gone();
    }

    fn plan(&self) -> Plan {
        let mut plan = Plan::default();
        let mut longest = 0;
        for &at in &self.stepping {
            for (idx, text) in self.requests[at].open() {
                if !text.is_encoded {
                    let widest = longest.max(text.source_tokens);
                    let tokens = widest * (plan.encode.len() + 1);
                    if tokens > ENCODE_TOKENS && !plan.encode.is_empty() {
                        continue;
                    }
                    longest = widest;
                    plan.encode.push((at, idx));
                }
                plan.write.push((at, idx));
            }
        }
        plan
    }

    pub(super) fn text(&self, (at, idx): (usize, usize)) -> Option<&Text> {
        self.requests[at].text(idx)
    }

    /// Chooses the next tokens of every text and says so.
    fn choose(&mut self, texts: &[(usize, usize)], mut logits: Vec<f32>, begin: Instant) {
        let vocabulary = self.model.target_vocab_size() as usize;
        let mut rest = logits.as_mut_slice();
        let mut failures: Vec<(usize, Failure)> = Vec::new();
        for &(at, idx) in texts {
            let rows = self.text((at, idx)).map_or(0, |text| text.rows().len());
            let (own, others) = rest.split_at_mut(rows * vocabulary);
            rest = others;
            if let Err(error) = self.requests[at].take_logits(idx, own) {
                failures.push((at, Failure::new(Code::InferenceFailed, error)));
            }
        }
        let took = begin.elapsed();
        for at in std::mem::take(&mut self.stepping) {
            self.requests[at].steps += took;
            self.requests[at].tell_progress();
        }
        let requests = std::mem::take(&mut self.requests);
        for (at, request) in requests.into_iter().enumerate() {
            match failures.iter().find(|(of, _)| *of == at) {
                Some((_, failure)) => request.job.fail(failure.clone()),
                None if request.is_complete() => {
                    self.refund(&request, Instant::now());
                    request.complete();
                }
                None => self.requests.push(request),
            }
        }
        if !failures.is_empty() {
            self.forget_gone();
        }
    }

    /// Tells every request of the step that it has ended.
    fn note_step(&mut self) {
        if let Some(&first) = self.stepping.first() {
            self.requests[first].job.counters.stepped(self.stepping.len());
        }
        for &at in &self.stepping {
            self.requests[at].job.has_stepped();
        }
    }

    /// Tokens of one text's part of a step.
    fn tokens(&self, plan: &Plan) -> usize {
        let longest = plan.encode.iter().filter_map(|&at| self.text(at));
        let longest = longest.map(|text| text.source_tokens).max().unwrap_or(0);
        let rows = plan.write.iter().filter_map(|&at| self.text(at)).map(|text| text.rows().len());
        longest * plan.encode.len() + rows.sum::<usize>()
    }
}

impl Pipeline for Seq2SeqPipeline {
    fn warm(&mut self) {
        let (Some(source), Some(target)) = (self.arena.reserve(1), self.arena.reserve(1)) else {
            return;
        };
        let segment = |slot| vec![Segment { slot, cached: 0, tokens: 1 }];
        let ids = Tensor::zeros([1], (Kind::Int64, self.device));
        let encoded = self.model.encode(&ids.unsqueeze(0), &Step::whole());
        let step = Step::sequences(segment(&source), self.device);
        self.model.remember(&encoded.squeeze_dim(0), &step);
        let sources = vec![Source { slot: &source, tokens: 1 }];
        let step = Step::with_sources(segment(&target), sources, self.device);
        // Read back, so that it has run when this returns.
        let _ = self.model.logits(&self.model.hidden(&ids, &step), &step).to_device(Device::Cpu);
    }

    fn accepts(&self, work: &Work) -> bool {
        matches!(work, Work::Write(_))
    }

    fn admit(&mut self, mut job: Job) {
        let Some(Work::Write(work)) = job.work.take() else { return };
        if let Some(failure) = refusal(&work, &*self.model, self.arena.max_tokens()) {
            job.fail(failure);
            return;
        }
        let id = self.next_id;
        self.next_id += 1;
        for (idx, source) in work.sources.iter().enumerate() {
            self.waiting.push(Entry {
                tenant: Arc::clone(&job.tenant),
                priority: job.priority,
                cost: work.cache_tokens(source.len()) as f64,
                item: (id, idx),
            });
        }
        self.requests.push(Request::new(id, job, *work));
    }

    fn prepare_step(&mut self, now: Instant) -> Option<Ask> {
        self.drop_abandoned(now);
        self.start_waiting(now);
        self.choose_stepping();
        let plan = self.plan();
        let priority = plan.write.iter().map(|&(at, _)| self.requests[at].job.priority).max()?;
        let part = |&(at, idx): &(usize, usize)| {
            let tokens = self.text((at, idx)).map_or(0, |text| {
                text.rows().len() + if text.is_encoded { 0 } else { text.source_tokens }
            });
            (Arc::clone(&self.requests[at].job.tenant), tokens)
        };
        Some(Ask::of(priority, plan.write.iter().map(part)))
    }

    fn shape(&self) -> StepShape {
        let plan = self.plan();
        let tokens = self.tokens(&plan);
        StepShape::new(tokens, plan.write.len(), tokens, ENCODE_TOKENS)
    }

    fn step(&mut self) {
        let begin = Instant::now();
        if self.stepping.iter().any(|&at| self.requests[at].job.is_abandoned(begin)) {
            self.drop_abandoned(begin);
            self.choose_stepping();
        }
        let plan = self.plan();
        if plan.write.is_empty() {
            return;
        }
        if !plan.encode.is_empty() {
            self.encode(&plan.encode);
            for &(at, idx) in &plan.encode {
                self.requests[at].note_encoded(idx);
            }
        }
        let logits = self.forward(&plan.write);
        self.note_step();
        self.choose(&plan.write, logits, begin);
    }

    fn abort_step(&mut self, failure: &Failure) {
        // The caches of these requests may be half written: they cannot go on.
        self.note_step();
        let mut stepping = std::mem::take(&mut self.stepping);
        stepping.sort_unstable();
        for at in stepping.into_iter().rev() {
            self.requests.swap_remove(at).job.fail(failure.clone());
        }
        self.forget_gone();
    }

    fn abort_all(&mut self, failure: &Failure) {
        self.waiting.retain(|_| false);
        self.stepping.clear();
        for request in std::mem::take(&mut self.requests) {
            request.job.fail(failure.clone());
        }
    }

    fn jobs(&self) -> usize {
        self.requests.len()
    }

    fn running(&self) -> usize {
        self.requests.iter().filter(|request| request.started.is_some()).count()
    }

    fn cache_bytes(&self) -> u64 {
        self.arena.bytes_used()
    }
}

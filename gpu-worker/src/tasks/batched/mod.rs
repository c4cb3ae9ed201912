//! The pipeline of every task that is one forward pass per item: it batches whatever waits, across requests.
//! It waits for no more than the lane does, see `lane/company.rs`.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Ask, Pipeline, StepShape,
    adapters::{Adapters, RowAdapter},
    job::{Event, Job, Made, Tenant, Timing, Work},
    shares::Shares,
};
use crate::failure::{Code, Failure};

/// What differs between such tasks.
pub trait Batched {
    /// One row of a batch, still a plain buffer.
    type Item;
    /// What one row becomes.
    type Output;

    /// The smallest row there is.
    fn smallest(&self) -> Self::Item;
    fn accepts(&self, work: &Work) -> bool;
    /// Why the model could not do that work.
    fn refusal(&self, work: &Work) -> Option<Failure>;
    /// The rows of a request.
    fn split(&self, work: Work) -> Vec<Self::Item>;
    /// What a row costs, in a unit in which rows compare.
    fn size(&self, item: &Self::Item) -> usize;
    /// Which of the waiting rows, next in turn first, go into the next step: indices, never empty, the first among
    /// them.
    fn choose(&self, waiting: &[&Self::Item]) -> Vec<usize>;
    /// How large a step with these items is.
    fn shape(&self, items: &[&Self::Item]) -> StepShape;
    /// One step. As many outputs as items; each item has its adapter, if it has one.
    fn run(&self, items: &[&Self::Item], adapters: &[RowAdapter]) -> Vec<Self::Output>;
    /// The result of a request, from its rows in order.
    fn collect(&self, outputs: Vec<Self::Output>) -> Made;
}

/// A request inside the pipeline.
struct Active<T: Batched> {
    job: Job,
    outputs: Vec<Option<T::Output>>,
    left: usize,
    started: Option<Instant>,
    steps: Duration,
}

/// A row that waits.
struct Row<T: Batched> {
    request: u64,
    index: usize,
    item: T::Item,
    /// It was in a batch that did not fit into memory.
    was_retried: bool,
}

pub struct BatchPipeline<T: Batched> {
    work: T,
    adapters: Adapters,
    active: BTreeMap<u64, Active<T>>,
    waiting: VecDeque<Row<T>>,
    chosen: Vec<Row<T>>,
    next_request: u64,
    /// Rows per step, after a batch did not fit.
    row_limit: Option<usize>,
    /// What each tenant has had, in sizes of rows.
    shares: Shares<Tenant>,
}

impl<T: Batched> BatchPipeline<T> {
    pub fn new(work: T) -> Self {
        Self {
            work,
            adapters: Adapters::default(),
            active: BTreeMap::new(),
            waiting: VecDeque::new(),
            chosen: Vec::new(),
            next_request: 0,
            row_limit: None,
            shares: Shares::default(),
        }
    }

    #[must_use]
    pub fn with_adapters(self, adapters: Adapters) -> Self {
        Self { adapters, ..self }
    }

    fn drop_abandoned(&mut self, now: Instant) {
        let before = self.active.len();
        self.active.retain(|_, active| !active.job.is_abandoned(now));
        if self.active.len() < before {
            self.waiting.retain(|row| self.active.contains_key(&row.request));
        }
    }

    /// Takes the rows of the next step out of the queue: those of the highest priority that waits.
    fn choose(&mut self, now: Instant) -> Option<Ask> {
        let priority =
            self.waiting.iter().map(|row| self.active[&row.request].job.priority).max()?;
        let candidates = self.in_turns(priority, now);
        let items: Vec<&T::Item> = candidates.iter().map(|&at| &self.waiting[at].item).collect();
        let mut picked: Vec<usize> =
            self.work.choose(&items).into_iter().map(|index| candidates[index]).collect();
        picked.truncate(self.row_limit.unwrap_or(usize::MAX).max(1));
        picked.sort_unstable();
        // From the back, so that earlier places keep their index.
        self.chosen = picked.into_iter().rev().filter_map(|at| self.waiting.remove(at)).collect();
        self.chosen.reverse();
        if self.waiting.is_empty() {
            self.row_limit = None;
        }
        let parts = self.chosen.iter().map(|row| (self.tenant(row), self.work.size(&row.item)));
        Some(Ask::of(priority, parts))
    }

    fn tenant(&self, row: &Row<T>) -> Tenant {
        Arc::clone(&self.active[&row.request].job.tenant)
    }

    /// The places of the waiting rows of that priority: of tenants in turns, the one that had least first, and of one
    /// tenant in order of arrival.
    fn in_turns(&mut self, priority: i32, now: Instant) -> Vec<usize> {
        let mut queues: BTreeMap<&Tenant, VecDeque<usize>> = BTreeMap::new();
        for (at, row) in self.waiting.iter().enumerate() {
            let job = &self.active[&row.request].job;
            if job.priority == priority {
                queues.entry(&job.tenant).or_default().push_back(at);
            }
        }
        let mut queues: Vec<(f64, VecDeque<usize>)> = queues
            .into_iter()
            .map(|(tenant, queue)| {
                self.shares.arrive(tenant, now);
                (self.shares.served(tenant), queue)
            })
            .collect();
        let mut places = Vec::new();
        while queues.len() > 1 {
            let turn = |(_, (served, _)): &(usize, &(f64, VecDeque<usize>))| *served;
            let least = queues.iter().enumerate().min_by(|a, b| turn(a).total_cmp(&turn(b)));
            let Some(next) = least.map(|(next, _)| next) else { break };
            let (served, queue) = &mut queues[next];
            if let Some(at) = queue.pop_front() {
                *served += self.work.size(&self.waiting[at].item) as f64;
                places.push(at);
            }
            if queue.is_empty() {
                queues.swap_remove(next);
            }
        }
        places.extend(queues.into_iter().flat_map(|(_, queue)| queue));
        places
    }

    /// Leaves out the rows whose clients left since they were chosen, and charges for the others.
    fn keep_present(&mut self, now: Instant) {
        let chosen = std::mem::take(&mut self.chosen);
        self.drop_abandoned(now);
        self.chosen =
            chosen.into_iter().filter(|row| self.active.contains_key(&row.request)).collect();
        for row in &self.chosen {
            let job = &self.active[&row.request].job;
            self.shares.charge(&job.tenant, self.work.size(&row.item) as f64, now);
        }
    }

    /// Tells every request of the step once that the step has ended; `requests` are those of its rows.
    fn note_step(&mut self, requests: impl Iterator<Item = u64>) {
        let mut rows = 0;
        let requests: BTreeSet<u64> = requests.inspect(|_| rows += 1).collect();
        if let Some(active) = requests.first().and_then(|request| self.active.get(request)) {
            active.job.counters.stepped(rows);
        }
        for request in requests {
            if let Some(active) = self.active.get_mut(&request) {
                active.job.has_stepped();
            }
        }
    }

    fn take_output(&mut self, request: u64, index: usize, output: T::Output, took: Duration) {
        let Some(active) = self.active.get_mut(&request) else { return };
        active.outputs[index] = Some(output);
        active.left -= 1;
        active.steps += took;
        if active.left > 0 {
            return;
        }
        let Some(active) = self.active.remove(&request) else { return };
        let Active { job, outputs, started, steps, .. } = active;
        let queue = started.map_or(Duration::ZERO, |started| started.duration_since(job.submitted));
        let made = self.work.collect(outputs.into_iter().flatten().collect());
        job.finish(made, Timing { queue, steps, ..Timing::default() });
    }
}

impl<T: Batched> Pipeline for BatchPipeline<T> {
    fn warm(&mut self) {
        self.work.run(&[&self.work.smallest()], &[None]);
    }

    fn accepts(&self, work: &Work) -> bool {
        self.work.accepts(work)
    }

    fn admit(&mut self, mut job: Job) {
        let Some(work) = job.work.take() else { return };
        if let Some(failure) = self.work.refusal(&work) {
            job.fail(failure);
            return;
        }
        let items = self.work.split(work);
        let request = self.next_request;
        self.next_request += 1;
        let left = items.len();
        if left == 0 {
            let made = self.work.collect(Vec::new());
            job.outbox.push(Event::Started);
            job.finish(made, Timing::default());
            return;
        }
        self.waiting.extend(items.into_iter().enumerate().map(|(index, item)| Row {
            request,
            index,
            item,
            was_retried: false,
        }));
        let outputs = (0..left).map(|_| None).collect();
        self.active
            .insert(request, Active { job, outputs, left, started: None, steps: Duration::ZERO });
    }

    fn takes_all_at_once(&self) -> bool {
        true
    }

    fn prepare_step(&mut self, now: Instant) -> Option<Ask> {
        self.drop_abandoned(now);
        self.choose(now)
    }

    fn shape(&self) -> StepShape {
        self.work.shape(&self.chosen.iter().map(|row| &row.item).collect::<Vec<_>>())
    }

    fn step(&mut self) {
        let begin = Instant::now();
        self.keep_present(begin);
        if self.chosen.is_empty() {
            return;
        }
        for row in &self.chosen {
            if let Some(active) = self.active.get_mut(&row.request)
                && active.started.is_none()
            {
                active.started = Some(begin);
                active.job.outbox.push(Event::Started);
            }
        }
        let items: Vec<&T::Item> = self.chosen.iter().map(|row| &row.item).collect();
        let adapter = |row: &Row<T>| self.adapters.of(&self.active[&row.request].job);
        let adapters: Vec<RowAdapter> = self.chosen.iter().map(adapter).collect();
        let outputs = self.work.run(&items, &adapters);
        // A request with several rows in this step took part in it once.
        let share = begin.elapsed() / self.chosen.len().max(1) as u32;
        let chosen = std::mem::take(&mut self.chosen);
        self.note_step(chosen.iter().map(|row| row.request));
        for (row, output) in chosen.into_iter().zip(outputs) {
            self.take_output(row.request, row.index, output, share);
        }
    }

    fn abort_step(&mut self, failure: &Failure) {
        let rows = std::mem::take(&mut self.chosen);
        self.note_step(rows.iter().map(|row| row.request));
        if failure.code == Code::OutOfMemory
            && rows.len() > 1
            && rows.iter().all(|row| !row.was_retried)
        {
            // Once, a batch that didn't fit is tried again in halves.
            self.row_limit = Some(rows.len() / 2);
            for mut row in rows.into_iter().rev() {
                row.was_retried = true;
                self.waiting.push_front(row);
            }
            return;
        }
        for row in rows {
            if let Some(active) = self.active.remove(&row.request) {
                active.job.fail(failure.clone());
            }
        }
        self.waiting.retain(|row| self.active.contains_key(&row.request));
    }

    fn abort_all(&mut self, failure: &Failure) {
        self.row_limit = None;
        self.waiting.clear();
        self.chosen.clear();
        for (_, active) in std::mem::take(&mut self.active) {
            active.job.fail(failure.clone());
        }
    }

    fn jobs(&self) -> usize {
        self.active.len()
    }

    fn running(&self) -> usize {
        self.active.values().filter(|active| active.started.is_some()).count()
    }
}

#[cfg(test)]
mod tests;

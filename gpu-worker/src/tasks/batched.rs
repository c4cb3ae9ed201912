//! The pipeline of every task that is one forward pass per item: it batches whatever waits, across requests,
//! without ever waiting for more.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use super::{
    Pipeline,
    job::{Event, Job, Made, Timing, Work},
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
    /// Which of the waiting rows, oldest first, go into the next step: indices, never empty, the first among them.
    fn choose(&self, waiting: &[&Self::Item]) -> Vec<usize>;
    /// One step. As many outputs as items.
    fn run(&self, items: &[&Self::Item]) -> Vec<Self::Output>;
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
    active: BTreeMap<u64, Active<T>>,
    waiting: VecDeque<Row<T>>,
    chosen: Vec<Row<T>>,
    next_request: u64,
    /// Rows per step, after a batch did not fit.
    row_limit: Option<usize>,
}

impl<T: Batched> BatchPipeline<T> {
    pub fn new(work: T) -> Self {
        Self {
            work,
            active: BTreeMap::new(),
            waiting: VecDeque::new(),
            chosen: Vec::new(),
            next_request: 0,
            row_limit: None,
        }
    }

    fn drop_abandoned(&mut self, now: Instant) {
        let before = self.active.len();
        self.active.retain(|_, active| !active.job.is_abandoned(now));
        if self.active.len() < before {
            self.waiting.retain(|row| self.active.contains_key(&row.request));
        }
    }

    /// Takes the rows of the next step out of the queue: those of the highest priority that waits.
    fn choose(&mut self) -> Option<i32> {
        let priority =
            self.waiting.iter().map(|row| self.active[&row.request].job.priority).max()?;
        let candidates: Vec<usize> = (0..self.waiting.len())
            .filter(|&at| self.active[&self.waiting[at].request].job.priority == priority)
            .collect();
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
        Some(priority)
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
        self.work.run(&[&self.work.smallest()]);
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

    fn prepare_step(&mut self, now: Instant) -> Option<i32> {
        self.drop_abandoned(now);
        self.choose()
    }

    fn step(&mut self) {
        let begin = Instant::now();
        for row in &self.chosen {
            if let Some(active) = self.active.get_mut(&row.request)
                && active.started.is_none()
            {
                active.started = Some(begin);
                active.job.outbox.push(Event::Started);
            }
        }
        let items: Vec<&T::Item> = self.chosen.iter().map(|row| &row.item).collect();
        let outputs = self.work.run(&items);
        // A request with several rows in this step took part in it once.
        let share = begin.elapsed() / self.chosen.len().max(1) as u32;
        for (row, output) in std::mem::take(&mut self.chosen).into_iter().zip(outputs) {
            self.take_output(row.request, row.index, output, share);
        }
    }

    fn abort_step(&mut self, failure: &Failure) {
        let rows = std::mem::take(&mut self.chosen);
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
mod tests {
    use std::sync::{Arc, atomic::AtomicUsize};

    use super::*;
    use crate::tasks::{
        Counters, JobCount,
        outbox::{Inbox, outbox},
    };

    /// Doubles numbers, at most two a step; 13 is unlucky.
    struct Doubler;

    impl Batched for Doubler {
        type Item = f32;
        type Output = f32;

        fn smallest(&self) -> f32 {
            0.0
        }

        fn accepts(&self, _: &Work) -> bool {
            true
        }

        fn refusal(&self, _: &Work) -> Option<Failure> {
            None
        }

        fn split(&self, work: Work) -> Vec<f32> {
            match work {
                Work::Classify(pixels) => pixels.data,
                _ => Vec::new(),
            }
        }

        fn choose(&self, waiting: &[&f32]) -> Vec<usize> {
            (0..waiting.len().min(2)).collect()
        }

        fn run(&self, items: &[&f32]) -> Vec<f32> {
            items.iter().map(|item| *item * 2.0).collect()
        }

        fn collect(&self, outputs: Vec<f32>) -> Made {
            Made::Logits(outputs)
        }
    }

    fn job(values: &[f32], priority: i32) -> (Job, Inbox<Event>) {
        let (sender, inbox) = outbox(1 << 20);
        let pixels = crate::media::Pixels {
            data: values.to_vec(),
            channels: 1,
            height: 1,
            width: values.len(),
            valid: (1, values.len()),
        };
        let job = Job {
            work: Some(Work::Classify(pixels)),
            outbox: sender,
            priority,
            arrived: Instant::now(),
            submitted: Instant::now(),
            deadline: None,
            span: tracing::Span::none(),
            count: JobCount::new(&Arc::new(AtomicUsize::new(0))),
            counters: Arc::new(Counters::default()),
            has_ended: false,
        };
        (job, inbox)
    }

    async fn made(mut inbox: Inbox<Event>) -> Vec<f32> {
        loop {
            match inbox.next().await.expect("a result comes") {
                Event::Made(Made::Logits(values), _) => return values,
                Event::Failed(failure) => panic!("{failure}"),
                _ => {}
            }
        }
    }

    fn drain(pipeline: &mut BatchPipeline<Doubler>) -> usize {
        let mut steps = 0;
        while pipeline.prepare_step(Instant::now()).is_some() {
            pipeline.step();
            steps += 1;
        }
        steps
    }

    #[tokio::test]
    async fn rows_of_several_requests_share_a_step() {
        let mut pipeline = BatchPipeline::new(Doubler);
        let (first, first_inbox) = job(&[1.0], 0);
        let (second, second_inbox) = job(&[2.0, 3.0], 0);
        pipeline.admit(first);
        pipeline.admit(second);
        assert_eq!(drain(&mut pipeline), 2);
        assert_eq!(made(first_inbox).await, [2.0]);
        assert_eq!(made(second_inbox).await, [4.0, 6.0]);
        assert_eq!(pipeline.jobs(), 0);
    }

    #[test]
    fn a_request_nobody_waits_for_is_dropped_before_its_step() {
        let mut pipeline = BatchPipeline::new(Doubler);
        let (job, inbox) = job(&[1.0], 0);
        let counters = Arc::clone(&job.counters);
        pipeline.admit(job);
        drop(inbox);
        assert_eq!(pipeline.prepare_step(Instant::now()), None);
        assert_eq!((pipeline.jobs(), counters.cancels().count), (0, 1));
    }

    #[test]
    fn higher_priority_goes_first() {
        let mut pipeline = BatchPipeline::new(Doubler);
        let (low, _low_inbox) = job(&[1.0, 1.0], 0);
        let (high, _high_inbox) = job(&[1.0], 5);
        pipeline.admit(low);
        pipeline.admit(high);
        assert_eq!(pipeline.prepare_step(Instant::now()), Some(5));
    }

    #[test]
    fn a_batch_without_memory_is_halved_once_and_then_fails() {
        let mut pipeline = BatchPipeline::new(Doubler);
        let (request, _inbox) = job(&[1.0, 2.0], 0);
        pipeline.admit(request);
        pipeline.prepare_step(Instant::now());
        let failure = Failure::new(Code::OutOfMemory, "full");
        pipeline.abort_step(&failure);
        assert_eq!(pipeline.jobs(), 1);
        pipeline.prepare_step(Instant::now());
        assert_eq!(pipeline.chosen.len(), 1);
        pipeline.abort_step(&failure);
        assert_eq!(pipeline.jobs(), 0);
    }
}

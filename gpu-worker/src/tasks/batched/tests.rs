//! Batches, turns and departures, with a pipeline that doubles numbers.

use std::sync::atomic::AtomicUsize;

use super::*;
use crate::tasks::{
    Counters, JobCount,
    outbox::{Inbox, outbox},
};

/// Doubles numbers, at most two a step.
#[derive(Default)]
struct Doubler {
    /// A client that leaves while the step is under way.
    leaves: std::cell::RefCell<Option<Inbox<Event>>>,
    steps: std::cell::Cell<usize>,
}

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

    fn size(&self, _: &f32) -> usize {
        1
    }

    fn choose(&self, waiting: &[&f32]) -> Vec<usize> {
        (0..waiting.len().min(2)).collect()
    }

    fn shape(&self, items: &[&f32]) -> StepShape {
        StepShape::new(items.len(), items.len(), items.len(), 2)
    }

    fn run(&self, items: &[&f32], _adapters: &[RowAdapter]) -> Vec<f32> {
        self.steps.set(self.steps.get() + 1);
        self.leaves.take();
        items.iter().map(|item| *item * 2.0).collect()
    }

    fn collect(&self, outputs: Vec<f32>) -> Made {
        Made::Logits(outputs)
    }
}

fn job(values: &[f32], priority: i32) -> (Job, Inbox<Event>) {
    job_of("", values, priority)
}

fn job_of(tenant: &str, values: &[f32], priority: i32) -> (Job, Inbox<Event>) {
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
        tenant: tenant.into(),
        outbox: sender,
        priority,
        arrived: Instant::now(),
        submitted: Instant::now(),
        deadline: None,
        span: tracing::Span::none(),
        adapter: None,
        count: JobCount::new(&Arc::new(AtomicUsize::new(0))),
        counters: Arc::new(Counters::default()),
        late_steps: 0,
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
    let mut pipeline = BatchPipeline::new(Doubler::default());
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
    let mut pipeline = BatchPipeline::new(Doubler::default());
    let (job, inbox) = job(&[1.0], 0);
    let counters = Arc::clone(&job.counters);
    pipeline.admit(job);
    drop(inbox);
    assert_eq!(pipeline.prepare_step(Instant::now()), None);
    assert_eq!((pipeline.jobs(), counters.cancels().count), (0, 1));
}

#[test]
fn who_leaves_during_a_step_had_that_one_step_and_no_other() {
    let mut pipeline = BatchPipeline::new(Doubler::default());
    let (leaving, inbox) = job(&[1.0; 40], 0);
    let (other, _other_inbox) = job(&[2.0; 4], 1);
    let counters = Arc::clone(&leaving.counters);
    pipeline.admit(leaving);
    pipeline.prepare_step(Instant::now());
    pipeline.step();
    pipeline.prepare_step(Instant::now());
    pipeline.work.leaves.replace(Some(inbox));
    pipeline.step();
    pipeline.admit(other);
    assert_eq!(drain(&mut pipeline), 2);
    assert_eq!(pipeline.work.steps.get(), 4);
    let cancels = counters.cancels();
    assert_eq!((cancels.count, cancels.late_steps, cancels.late_steps_max), (1, 1, 1));
}

#[test]
fn who_leaves_while_the_device_is_busy_with_others_has_no_step_at_all() {
    let mut pipeline = BatchPipeline::new(Doubler::default());
    let (leaving, inbox) = job(&[1.0], 0);
    let (other, other_inbox) = job(&[2.0], 0);
    let counters = Arc::clone(&leaving.counters);
    pipeline.admit(leaving);
    pipeline.admit(other);
    assert_eq!(pipeline.prepare_step(Instant::now()).map(|ask| ask.size), Some(2));
    drop(inbox);
    pipeline.step();
    assert_eq!((counters.cancels().count, counters.cancels().late_steps), (1, 0));
    let (last, inbox) = job(&[3.0], 0);
    pipeline.admit(last);
    pipeline.prepare_step(Instant::now());
    drop((inbox, other_inbox));
    pipeline.step();
    assert_eq!((pipeline.work.steps.get(), pipeline.jobs()), (1, 0));
}

#[test]
fn tenants_that_ask_one_one_eight_have_equal_service_while_all_wait() {
    let mut pipeline = BatchPipeline::new(Doubler::default());
    let mut inboxes = Vec::new();
    for (tenant, requests) in [("c", 8), ("a", 1), ("b", 1)] {
        for _ in 0..requests {
            let (job, inbox) = job_of(tenant, &[1.0; 60], 0);
            pipeline.admit(job);
            inboxes.push(inbox);
        }
    }
    let mut served: BTreeMap<Tenant, f64> = BTreeMap::new();
    for _ in 0..75 {
        let ask = pipeline.prepare_step(Instant::now()).unwrap();
        for (tenant, share) in ask.tenants {
            *served.entry(tenant).or_default() += share * ask.size as f64;
        }
        pipeline.step();
    }
    assert!(served.values().all(|&rows| (45.0..=55.0).contains(&rows)), "{served:?}");
}

#[test]
fn higher_priority_goes_first() {
    let mut pipeline = BatchPipeline::new(Doubler::default());
    let (low, _low_inbox) = job(&[1.0, 1.0], 0);
    let (high, _high_inbox) = job(&[1.0], 5);
    pipeline.admit(low);
    pipeline.admit(high);
    assert_eq!(pipeline.prepare_step(Instant::now()).map(|ask| ask.priority), Some(5));
}

#[test]
fn a_batch_without_memory_is_halved_once_and_then_fails() {
    let mut pipeline = BatchPipeline::new(Doubler::default());
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

//! Real lanes with a pipeline that only takes time.

use std::sync::mpsc::{Receiver, Sender};

use super::*;
use crate::tasks::{
    Counters, Event, Made, RowAdapter, StepShape, Work,
    batched::{BatchPipeline, Batched},
    outbox::{Inbox, outbox},
};

/// Each value of a picture is a step, which goes on until the test says so.
struct Stepper {
    begun: Sender<()>,
    takes_all: bool,
    go: Receiver<()>,
}

impl Batched for Stepper {
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
        (0..if self.takes_all { waiting.len() } else { 1 }).collect()
    }

    fn shape(&self, _: &[&f32]) -> StepShape {
        StepShape::default()
    }

    fn run(&self, items: &[&f32], _: &[RowAdapter]) -> Vec<f32> {
        let _ = self.begun.send(());
        let _ = self.go.recv();
        items.iter().map(|item| **item).collect()
    }

    fn collect(&self, outputs: Vec<f32>) -> Made {
        Made::Logits(outputs)
    }
}

/// A lane, and the test's ends of its steps.
struct Stepping {
    lane: Lane,
    coming: Arc<AtomicUsize>,
    begun: Receiver<()>,
    go: Sender<()>,
}

async fn stepping(id: LaneId, scheduler: &Scheduler) -> Stepping {
    stepping_of(id, scheduler, false).await
}

async fn stepping_of(id: LaneId, scheduler: &Scheduler, takes_all: bool) -> Stepping {
    let (begun_sender, begun) = channel();
    let (go, go_receiver) = channel();
    let stepper = Stepper { begun: begun_sender, takes_all, go: go_receiver };
    let load = move || Ok((Pipelines::only(Box::new(BatchPipeline::new(stepper))), ()));
    let coming = Arc::<AtomicUsize>::default();
    let told = Arc::clone(&coming);
    let (lane, loaded) =
        Lane::start(id, Device::Cpu, scheduler.clone(), Arc::new(|_, _| {}), told, load);
    loaded.await.expect("the lane starts").expect("nothing is loaded");
    Stepping { lane, coming, begun, go }
}

impl Stepping {
    fn submit(&self, steps: usize, counters: &Arc<Counters>) -> Inbox<Event> {
        let (sender, inbox) = outbox(1 << 20);
        let handle = self.lane.handle();
        let pixels = crate::media::Pixels {
            data: vec![1.0; steps],
            channels: 1,
            height: 1,
            width: steps,
            valid: (1, steps),
        };
        handle.submit(Job {
            work: Some(Work::Classify(pixels)),
            tenant: "".into(),
            outbox: sender,
            priority: 0,
            arrived: Instant::now(),
            submitted: Instant::now(),
            deadline: None,
            span: tracing::Span::none(),
            adapter: None,
            count: handle.reserve().expect("there is room"),
            counters: Arc::clone(counters),
            late_steps: 0,
            has_ended: false,
        });
        inbox
    }

    /// Returns when a step is under way.
    fn begins(&self) {
        self.begun.recv_timeout(Duration::from_secs(30)).expect("a step begins");
    }

    fn step(&self) {
        self.go.send(()).expect("the lane is there");
    }

    async fn close(self) -> usize {
        drop(self.go);
        self.lane.close(unloaded()).await;
        self.begun.try_iter().count()
    }
}

async fn end_of(mut inbox: Inbox<Event>) {
    while let Some(event) = inbox.next().await {
        if matches!(event, Event::Made(..)) {
            return;
        }
    }
    panic!("it had no result");
}

#[tokio::test]
async fn a_client_that_leaves_during_a_step_costs_that_step_and_no_other() {
    let scheduler = Scheduler::of_cores(1);
    let counters = Arc::<Counters>::default();
    let lane = stepping(1, &scheduler).await;
    let inbox = lane.submit(100, &counters);
    lane.begins();
    lane.step();
    lane.begins();
    drop(inbox);
    lane.step();
    let next = lane.submit(1, &counters);
    lane.begins();
    lane.step();
    end_of(next).await;
    let cancels = counters.cancels();
    assert_eq!((cancels.count, cancels.late_steps, cancels.late_steps_max), (1, 1, 1));
    assert_eq!(lane.close().await, 0);
}

#[tokio::test]
async fn a_client_that_leaves_while_its_lane_waits_for_the_device_costs_nothing() {
    let scheduler = Scheduler::of_cores(1);
    let counters = Arc::<Counters>::default();
    let (busy, waiting) = (stepping(1, &scheduler).await, stepping(2, &scheduler).await);
    let first = busy.submit(1, &counters);
    busy.begins();
    let inbox = waiting.submit(5, &counters);
    while waiting.lane.handle().gauges.jobs.load(Ordering::Acquire) == 0 {
        tokio::task::yield_now().await;
    }
    drop(inbox);
    busy.step();
    end_of(first).await;
    // The lane is through with it once it has nothing left to do.
    while waiting.lane.handle().gauges.jobs.load(Ordering::Acquire) > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!((counters.cancels().count, counters.cancels().late_steps), (1, 0));
    assert_eq!(waiting.close().await, 0);
    busy.close().await;
}

#[tokio::test]
async fn a_request_that_leaves_the_queue_of_a_busy_lane_has_no_step() {
    let scheduler = Scheduler::of_cores(1);
    let counters = Arc::<Counters>::default();
    let lane = stepping(1, &scheduler).await;
    let first = lane.submit(2, &counters);
    lane.begins();
    drop(lane.submit(50, &counters));
    lane.step();
    lane.begins();
    lane.step();
    end_of(first).await;
    let last = lane.submit(1, &counters);
    lane.begins();
    lane.step();
    end_of(last).await;
    assert_eq!((counters.cancels().count, counters.cancels().late_steps), (1, 0));
    assert_eq!(lane.close().await, 0);
}

#[tokio::test]
async fn who_is_coming_is_in_the_same_step() {
    let counters = Arc::<Counters>::default();
    let lane = stepping_of(1, &Scheduler::of_cores(1), true).await;
    let mut steps = Vec::new();
    // A machine that does something else for two milliseconds makes two steps of it.
    for _ in 0..10 {
        let long = lane.submit(1, &counters);
        lane.begins();
        thread::sleep(Duration::from_millis(10));
        lane.step();
        end_of(long).await;
        let coming = JobCount::new(&lane.coming);
        let first = lane.submit(1, &counters);
        thread::sleep(Duration::from_micros(500));
        let second = lane.submit(1, &counters);
        drop(coming);
        lane.begins();
        lane.step();
        lane.step();
        end_of(first).await;
        end_of(second).await;
        steps.push(1 + lane.begun.try_iter().count());
        if steps.last() == Some(&1) {
            break;
        }
        assert_eq!(steps.last(), Some(&2));
    }
    assert_eq!(steps.last(), Some(&1), "{steps:?}");
    drop(lane.go);
    lane.lane.close(unloaded()).await;
}

#[test]
fn a_panic_becomes_its_first_line() {
    let failure = guarded(Code::InferenceFailed, || panic!("shapes differ\nframe #0: c10::Error"))
        .unwrap_err();
    assert_eq!((failure.code, failure.message.as_str()), (Code::InferenceFailed, "shapes differ"));
}

#[test]
fn an_allocation_that_fails_is_out_of_memory() {
    let failure =
        guarded(Code::InferenceFailed, || panic!("[enforce fail] DefaultCPUAllocator: can't"))
            .unwrap_err();
    assert_eq!(failure.code, Code::OutOfMemory);
}

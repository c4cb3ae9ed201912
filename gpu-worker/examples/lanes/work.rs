//! Lanes of matrix products, and the ways to run them beside each other.

use std::{
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use gpu_worker::{
    failure::Failure,
    lane::{Lane, scheduler::Scheduler},
    media::Pixels,
    memory::shim,
    tasks::{
        Counters, Event, Job, Made, Pipelines, RowAdapter, StepShape, Work as JobWork,
        batched::{BatchPipeline, Batched},
        outbox::outbox,
    },
};
use tch::{Device, Kind as Dtype, Tensor};

const SIZE: i64 = 320;
const LIGHT: Duration = Duration::from_millis(10);
const HEAVY: [Duration; 2] = [Duration::from_millis(120), Duration::from_millis(180)];
const PAUSE: Duration = Duration::from_millis(40);

/// Products of a light step and of the two heavy ones, so that they take their time on one thread.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    light: usize,
    heavy: [usize; 2],
}

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// One of the two heavy lanes, always busy.
    Heavy(usize),
    /// With or without a pause between its requests.
    Light { pauses: bool },
}

#[derive(Clone, Copy, Debug)]
pub enum Mode {
    FreeAllCores,
    FreeSingle,
    /// One at a time on all cores, in order of arrival.
    Turn,
    /// The worker's own lanes and scheduler.
    Scheduler,
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Self::FreeAllCores => "free threads, each on all cores",
            Self::FreeSingle => "free single-threaded lanes",
            Self::Turn => "one turn, first in first out",
            Self::Scheduler => "our scheduler",
        }
    }
}

/// What a window measured.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    pub light_p50_ms: f64,
    pub light_p99_ms: f64,
    /// Steps per second of all light lanes.
    pub light_rate: f64,
    /// The same of the heavy ones.
    pub heavy_rate: f64,
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

struct Matrices(Tensor);

impl Matrices {
    fn new() -> Self {
        Self(Tensor::rand([SIZE, SIZE], (Dtype::Float, Device::Cpu)) / SIZE as f64)
    }

    fn step(&self, products: usize) -> f32 {
        let mut product = self.0.shallow_clone();
        for _ in 0..products {
            product = product.matmul(&self.0);
        }
        product.double_value(&[0, 0]) as f32
    }
}

pub fn calibrate() -> Work {
    tch::set_num_threads(1);
    let matrices = Matrices::new();
    matrices.step(200);
    // The fastest of several: others only make it slower.
    let fastest = (0..20).map(|_| {
        let begin = Instant::now();
        matrices.step(20);
        begin.elapsed() / 20
    });
    let one = fastest.min().unwrap_or(Duration::from_millis(1));
    let products = |time: Duration| (time.as_secs_f64() / one.as_secs_f64()).round() as usize;
    Work { light: products(LIGHT).max(1), heavy: HEAVY.map(products) }
}

/// A turn for one, in order of arrival.
#[derive(Default)]
struct Turn {
    /// The next number to be given out, and the one whose turn it is.
    numbers: Mutex<(u64, u64)>,
    changed: Condvar,
}

impl Turn {
    fn run(&self, step: impl FnOnce()) {
        let mut numbers = self.numbers.lock().expect("no panic");
        let own = numbers.0;
        numbers.0 += 1;
        while numbers.1 != own {
            numbers = self.changed.wait(numbers).expect("no panic");
        }
        drop(numbers);
        step();
        self.numbers.lock().expect("no panic").1 += 1;
        self.changed.notify_all();
    }
}

/// Runs the lanes for the window and looks at how long their steps took from wish to end.
pub fn run(work: &Work, mode: Mode, kinds: &[Kind], window: Duration) -> Outcome {
    let turn = Turn::default();
    let scheduler = Scheduler::of_cores(cores());
    let times: Vec<Vec<Duration>> = thread::scope(|scope| {
        let lanes: Vec<_> = kinds
            .iter()
            .zip(0..)
            .map(|(&kind, id)| {
                let (turn, scheduler) = (&turn, scheduler.clone());
                scope.spawn(move || match mode {
                    Mode::FreeAllCores | Mode::FreeSingle | Mode::Turn => {
                        let _mode = shim::InferenceMode::enter().expect("libtorch works");
                        let is_single = matches!(mode, Mode::FreeSingle);
                        tch::set_num_threads(if is_single { 1 } else { cores() as i32 });
                        let matrices = Matrices::new();
                        let products = kind.products(work);
                        drive(kind, window, || match mode {
                            Mode::Turn => turn.run(|| {
                                matrices.step(products);
                            }),
                            _ => {
                                matrices.step(products);
                            }
                        })
                    }
                    Mode::Scheduler => in_lane(id, kind, work, window, scheduler),
                })
            })
            .collect();
        lanes.into_iter().map(|lane| lane.join().expect("no panic")).collect()
    });
    outcome(kinds, &times, window)
}

impl Kind {
    fn products(self, work: &Work) -> usize {
        match self {
            Self::Heavy(which) => work.heavy[which],
            Self::Light { .. } => work.light,
        }
    }
}

/// Step after step until the window is over.
fn drive(kind: Kind, window: Duration, mut step: impl FnMut()) -> Vec<Duration> {
    // A first step is no measurement: threads and caches come to be.
    step();
    let end = Instant::now() + window;
    let mut times = Vec::new();
    while Instant::now() < end {
        let begin = Instant::now();
        step();
        times.push(begin.elapsed());
        if matches!(kind, Kind::Light { pauses: true }) {
            thread::sleep(PAUSE);
        }
    }
    times
}

/// The worker's lane: a request per step, from its submission to its result.
fn in_lane(
    id: u64,
    kind: Kind,
    work: &Work,
    window: Duration,
    scheduler: Scheduler,
) -> Vec<Duration> {
    let products = kind.products(work);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let load = move || {
        let steps = Steps { matrices: Matrices::new(), products };
        Ok((Pipelines::only(Box::new(BatchPipeline::new(steps))), ()))
    };
    let (lane, loaded) =
        Lane::start(id, Device::Cpu, scheduler, Arc::new(|_, _| {}), Arc::default(), load);
    runtime.block_on(loaded).expect("it starts").expect("nothing is loaded");
    let counters = Arc::<Counters>::default();
    let times = drive(kind, window, || {
        let (sender, mut inbox) = outbox(1 << 20);
        let handle = lane.handle();
        let now = Instant::now();
        let pixels = Pixels { data: vec![0.0], channels: 1, height: 1, width: 1, valid: (1, 1) };
        handle.submit(Job {
            work: Some(JobWork::Classify(pixels)),
            tenant: "".into(),
            outbox: sender,
            priority: 0,
            arrived: now,
            submitted: now,
            deadline: None,
            span: tracing::Span::none(),
            adapter: None,
            count: handle.reserve().expect("there is room"),
            counters: Arc::clone(&counters),
            late_steps: 0,
            has_ended: false,
        });
        runtime.block_on(async {
            while let Some(event) = inbox.next().await {
                match event {
                    Event::Made(..) => return,
                    Event::Failed(failure) => panic!("{failure}"),
                    _ => {}
                }
            }
        });
    });
    runtime.block_on(lane.close(gpu_worker::lane::unloaded()));
    times
}

struct Steps {
    matrices: Matrices,
    products: usize,
}

impl Batched for Steps {
    type Item = f32;
    type Output = f32;

    fn smallest(&self) -> f32 {
        0.0
    }

    fn accepts(&self, _: &JobWork) -> bool {
        true
    }

    fn refusal(&self, _: &JobWork) -> Option<Failure> {
        None
    }

    fn split(&self, _: JobWork) -> Vec<f32> {
        vec![0.0]
    }

    fn size(&self, _: &f32) -> usize {
        1
    }

    fn choose(&self, _: &[&f32]) -> Vec<usize> {
        vec![0]
    }

    fn shape(&self, _: &[&f32]) -> StepShape {
        StepShape::default()
    }

    fn run(&self, items: &[&f32], _: &[RowAdapter]) -> Vec<f32> {
        items.iter().map(|_| self.matrices.step(self.products)).collect()
    }

    fn collect(&self, outputs: Vec<f32>) -> Made {
        Made::Logits(outputs)
    }
}

fn outcome(kinds: &[Kind], times: &[Vec<Duration>], window: Duration) -> Outcome {
    let of = |is_heavy: bool| {
        let lanes = kinds.iter().zip(times);
        let wanted = lanes.filter(move |(kind, _)| matches!(kind, Kind::Heavy(_)) == is_heavy);
        wanted.flat_map(|(_, times)| times.iter().copied())
    };
    let mut light: Vec<f64> = of(false).map(|time| time.as_secs_f64() * 1e3).collect();
    light.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = (light.len() as f64 * share).ceil() as usize;
        light.get(place.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    };
    Outcome {
        light_p50_ms: at(0.5),
        light_p99_ms: at(0.99),
        light_rate: light.len() as f64 / window.as_secs_f64(),
        heavy_rate: of(true).count() as f64 / window.as_secs_f64(),
    }
}

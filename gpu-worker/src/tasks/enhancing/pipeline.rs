//! The lane's side: one piece of one picture per step. Requests take turns piece by piece, by priority, then by what their
//! tenants have had, then by arrival.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tch::{Device, Kind, Tensor};

use super::{DEFAULT_TILE, Tiling, canvas::Canvas};
use crate::{
    failure::{Code, Failure},
    layers::Step,
    media::Area,
    models::ImageEnhancer,
    tasks::{
        Ask, Enhance, Event, Job, Made, Pipeline, StepShape, Tenant, Timing, Work, progress,
        shares::Shares,
    },
};

/// Side of the picture that warms the model up.
const SMALLEST: i64 = 16;
/// Pixels of a usual piece.
const USUAL_PIXELS: usize = (DEFAULT_TILE * DEFAULT_TILE) as usize;

pub struct EnhancePipeline {
    model: Box<dyn ImageEnhancer>,
    device: Device,
    /// In order of arrival.
    requests: Vec<Request>,
    next_id: u64,
    /// Whose piece the next step is.
    chosen: Option<u64>,
    shares: Shares<Tenant>,
}

/// A picture in the making.
struct Request {
    id: u64,
    job: Job,
    work: Enhance,
    tiling: Tiling,
    canvas: Canvas,
    /// Pieces that are done.
    done: usize,
    started: Option<Instant>,
    steps: Duration,
}

impl Request {
    fn area(&self) -> Option<Area> {
        self.tiling.piece(self.done).map(Tiling::area)
    }

    fn pixels(&self) -> usize {
        self.area().map_or(0, |area| area.height * area.width)
    }
}

impl EnhancePipeline {
    pub fn new(model: Box<dyn ImageEnhancer>, device: Device) -> Self {
        Self {
            model,
            device,
            requests: Vec::new(),
            next_id: 0,
            chosen: None,
            shares: Shares::default(),
        }
    }

    fn choose(&mut self, now: Instant) -> Option<usize> {
        let priority = self.requests.iter().map(|request| request.job.priority).max()?;
        for request in &self.requests {
            self.shares.arrive(&request.job.tenant, now);
        }
        let served = |at: &usize| self.shares.served(&self.requests[*at].job.tenant);
        (0..self.requests.len())
            .filter(|&at| self.requests[at].job.priority == priority)
            .min_by(|a, b| served(a).total_cmp(&served(b)))
    }

    fn place(&self) -> Option<usize> {
        self.requests.iter().position(|request| Some(request.id) == self.chosen)
    }

    /// `[channels, height, width]` floats of one piece to the same, larger, on the CPU.
    fn enhance(&self, values: &[f32], [channels, height, width]: [i64; 3]) -> Vec<f32> {
        let pixels = Tensor::from_slice(values).view([1, channels, height, width]);
        let made = self.model.enhance(&pixels.to_device(self.device), &Step::whole());
        let made = made.to_device(Device::Cpu).to_kind(Kind::Float).contiguous().view([-1]);
        Vec::try_from(&made).expect("a row of floats")
    }

    /// Why the model could not do that work: the config promised something else.
    fn refusal(&self, work: &Enhance) -> Option<Failure> {
        let expected = (self.model.scale(), self.model.n_channels());
        let given = (i64::from(work.scale), work.source.channels as i64);
        (given != expected).then(|| {
            let message = format!(
                "config.json promises a factor and channels of {given:?}, the model has {expected:?}"
            );
            Failure::new(Code::CorruptCheckpoint, message).text("file", "config.json")
        })
    }

    /// Takes what the chosen request's piece became.
    fn take(&mut self, at: usize, values: &[f32], took: Duration) {
        let request = &mut self.requests[at];
        request.steps += took;
        request.job.counters.stepped(1);
        request.job.has_stepped();
        let Some(piece) = request.tiling.piece(request.done) else { return };
        if request.canvas.add(values, piece).is_err() {
            let message = "the model computed values that are no numbers";
            self.requests.remove(at).job.fail(Failure::new(Code::InferenceFailed, message));
            return;
        }
        if request.tiling.ends_row(request.done) {
            request.canvas.end_row(piece.0);
        }
        request.done += 1;
        let total = request.tiling.len();
        let since = request.started.map_or(Duration::ZERO, |started| started.elapsed());
        request.job.outbox.push(Event::Progress(progress::of(request.done, total, since)));
        if request.done == total {
            let Request { job, canvas, started, steps, .. } = self.requests.remove(at);
            let queue =
                started.map_or(Duration::ZERO, |started| started.duration_since(job.submitted));
            let made = Made::Pictures(vec![canvas.finish()]);
            job.finish(made, Timing { queue, steps, ..Timing::default() });
        }
    }
}

impl Pipeline for EnhancePipeline {
    fn warm(&mut self) {
        let channels = self.model.n_channels();
        let values = vec![0.0; (channels * SMALLEST * SMALLEST) as usize];
        self.enhance(&values, [channels, SMALLEST, SMALLEST]);
    }

    fn accepts(&self, work: &Work) -> bool {
        matches!(work, Work::Enhance(_))
    }

    fn admit(&mut self, mut job: Job) {
        let Some(Work::Enhance(work)) = job.work.take() else { return };
        if let Some(failure) = self.refusal(&work) {
            job.fail(failure);
            return;
        }
        let multiple = self.model.multiple() as usize;
        let tiling = work.tiling(multiple);
        let canvas = Canvas::new(&work.source.picture, work.source.channels, work.scale as usize);
        self.requests.push(Request {
            id: self.next_id,
            job,
            work: *work,
            tiling,
            canvas,
            done: 0,
            started: None,
            steps: Duration::ZERO,
        });
        self.next_id += 1;
    }

    fn prepare_step(&mut self, now: Instant) -> Option<Ask> {
        self.requests.retain(|request| !request.job.is_abandoned(now));
        let at = self.choose(now)?;
        let request = &self.requests[at];
        self.chosen = Some(request.id);
        let part = (Arc::clone(&request.job.tenant), request.pixels());
        Some(Ask::of(request.job.priority, std::iter::once(part)))
    }

    fn shape(&self) -> StepShape {
        let pixels = self.place().map_or(0, |at| self.requests[at].pixels());
        StepShape::new(pixels, 1, pixels, USUAL_PIXELS)
    }

    fn step(&mut self) {
        let begin = Instant::now();
        self.requests.retain(|request| !request.job.is_abandoned(begin));
        let Some(at) = self.place() else { return };
        let request = &mut self.requests[at];
        let Some(area) = request.area() else { return };
        if request.started.is_none() {
            request.started = Some(begin);
            request.job.outbox.push(Event::Started);
        }
        let pixels = (area.height * area.width) as f64;
        self.shares.charge(&request.job.tenant, pixels, begin);
        let values = request.work.source.read(area);
        let channels = request.work.source.channels as i64;
        let made = self.enhance(&values, [channels, area.height as i64, area.width as i64]);
        self.take(at, &made, begin.elapsed());
    }

    fn abort_step(&mut self, failure: &Failure) {
        let Some(at) = self.place() else { return };
        let mut request = self.requests.remove(at);
        request.job.counters.stepped(1);
        request.job.has_stepped();
        let mut failure = failure.clone();
        if failure.code == Code::OutOfMemory {
            failure = failure.at("options.tile");
        }
        request.job.fail(failure);
    }

    fn abort_all(&mut self, failure: &Failure) {
        self.chosen = None;
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
}

//! The lane's side.

use std::time::Instant;

use tch::{Device, Kind, Tensor};

use super::{
    super::{
        super::{Ask, Imagine, Job, Made, Pipeline, StepShape, Work},
        turns::{Stepped, Turns},
    },
    denoising::Denoising,
};
use crate::{failure::Failure, layers::Step, models::diffusion::Unconditional};

/// Pictures of a usual large request.
const USUAL_ROWS: usize = 8;

pub struct ImaginingPipeline {
    model: Box<Unconditional>,
    device: Device,
    turns: Turns<Imagining>,
}

/// One request on its way.
struct Imagining {
    work: Imagine,
    /// `None` before its first step.
    denoising: Option<Denoising>,
}

impl ImaginingPipeline {
    pub fn new(model: Box<Unconditional>, device: Device) -> Self {
        Self { model, device, turns: Turns::default() }
    }

    /// Values of one picture's channel.
    fn pixels(&self) -> usize {
        let [height, width] = self.model.size();
        (height * width) as usize
    }
}

impl Imagining {
    fn step(&mut self, model: &Unconditional, device: Device) -> Result<Stepped, Failure> {
        let denoising = match &mut self.denoising {
            Some(denoising) => denoising,
            none => none.insert(Denoising::begin(&self.work, model, device)?),
        };
        let progress = Some(denoising.step(&self.work, model)?);
        let made = denoising.is_done().then(|| Made::Pictures(denoising.pictures()));
        Ok(Stepped { progress, made })
    }
}

impl Pipeline for ImaginingPipeline {
    fn warm(&mut self) {
        let model = &self.model;
        // Enough for a network to halve it six times.
        let [height, width] = model.size().map(|side| side.min(64));
        let shape = [1, model.n_channels(), height, width];
        let pictures = Tensor::zeros(shape, (model.kind(), self.device));
        let times = Tensor::zeros([1], (Kind::Float, self.device));
        // Read back, so that it has run when this returns.
        let _ = model.denoise(&pictures, &times, &Step::whole()).to_device(Device::Cpu);
    }

    fn accepts(&self, work: &Work) -> bool {
        matches!(work, Work::Imagine(_))
    }

    fn admit(&mut self, mut job: Job) {
        let Some(Work::Imagine(work)) = job.work.take() else { return };
        self.turns.admit(job, Imagining { work, denoising: None });
    }

    fn prepare_step(&mut self, now: Instant) -> Option<Ask> {
        let pixels = self.pixels();
        self.turns.choose(now, |request| request.work.n_images * pixels)
    }

    fn shape(&self) -> StepShape {
        let Some(request) = self.turns.chosen() else { return StepShape::default() };
        let (rows, pixels) = (request.work.n_images, self.pixels());
        StepShape::new(rows * pixels, rows, rows, USUAL_ROWS)
    }

    fn step(&mut self) {
        let (pixels, model, device) = (self.pixels(), &self.model, self.device);
        self.turns
            .step(|request| request.work.n_images * pixels, |request| request.step(model, device));
    }

    fn abort_step(&mut self, failure: &Failure) {
        self.turns.abort_step(failure);
    }

    fn abort_all(&mut self, failure: &Failure) {
        self.turns.abort_all(failure);
    }

    fn jobs(&self) -> usize {
        self.turns.len()
    }

    fn running(&self) -> usize {
        self.turns.running()
    }
}

//! From noise to pictures, step by step. What is drawn, and in which order, is the reference's, so that a seed means the same.

use std::time::Instant;

use proto::{Media, ProgressEvent};
use tch::{Device, Kind, Tensor};

use super::super::{
    super::{Imagine, progress},
    beginning::{Draws, failed},
    picture::picture,
    preview,
};
use crate::{
    failure::Failure, layers::Step, media::Picture, models::diffusion::Unconditional,
    schedulers::Scheduler,
};

pub(super) struct Denoising {
    /// `[n_images, n_channels, height, width]`, in the end -1 to 1.
    pictures: Tensor,
    scheduler: Box<dyn Scheduler>,
    draws: Draws,
    /// The scheduler's next step.
    next: usize,
    begun: Instant,
}

impl Denoising {
    /// Draws the noise.
    pub(super) fn begin(
        work: &Imagine,
        model: &Unconditional,
        device: Device,
    ) -> Result<Self, Failure> {
        let scheduler = work.scheduler.start(&work.schedule)?;
        let mut draws = Draws::seeded(work.seed, device)?;
        let [height, width] = model.size();
        let shape = [work.n_images as i64, model.n_channels(), height, width];
        let noise = draws.draw(&shape, model.kind()).map_err(failed)?;
        let pictures = noise * scheduler.init_noise_sigma();
        Ok(Self { pictures, scheduler, draws, next: 0, begun: Instant::now() })
    }

    /// One step, and how far it has come.
    pub(super) fn step(
        &mut self,
        work: &Imagine,
        model: &Unconditional,
    ) -> Result<ProgressEvent, Failure> {
        let index = self.next;
        let sample = self.pictures.shallow_clone();
        let input = self.scheduler.scale_input(&sample, index);
        let options = (Kind::Float, sample.device());
        let times = Tensor::full([sample.size()[0]], self.scheduler.timesteps()[index], options);
        let output = model.denoise(&input, &times, &Step::whole());
        let draws = &mut self.draws;
        self.pictures = self.scheduler.step(&output, index, &sample, &mut |shape, kind| {
            match draws.draw(shape, kind) {
                Ok(noise) => noise,
                // Its text says whether memory did not suffice, and the lane reads it.
                Err(error) => panic!("{error}"),
            }
        });
        self.next += 1;
        let total = self.scheduler.timesteps().len();
        let wants_preview = work.preview_every > 0 && self.next.is_multiple_of(work.preview_every);
        let preview = if wants_preview && self.next < total {
            Some(preview_of(&self.scheduler.denoised(&output, index, &sample))?)
        } else {
            None
        };
        Ok(ProgressEvent { preview, ..progress::of(self.next, total, self.begun.elapsed()) })
    }

    pub(super) fn is_done(&self) -> bool {
        self.next == self.scheduler.timesteps().len()
    }

    pub(super) fn pictures(&self) -> Vec<Picture> {
        (0..self.pictures.size()[0]).map(|at| shown(&self.pictures.select(0, at))).collect()
    }
}

/// The first of pictures that are not done, as it is.
fn preview_of(clean: &Tensor) -> Result<Media, Failure> {
    preview::media(&shown(&clean.select(0, 0)))
}

/// `[n_channels, height, width]` values of -1 to 1, grey or in colours.
fn shown(values: &Tensor) -> Picture {
    let sizes = values.size();
    picture(&(values.to_kind(Kind::Float) * 0.5 + 0.5).expand([3, sizes[1], sizes[2]], false))
}

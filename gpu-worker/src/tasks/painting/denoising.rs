//! From noise to latents, step by step.
//!
//! What is drawn, in which order, and how guidance is computed are the reference's, so that a seed means the same.

use std::time::Instant;

use proto::ProgressEvent;
use tch::{Device, Kind, Tensor};

use super::{
    super::{Negative, Paint, PromptIds, RowAdapter, progress},
    beginning::{Beginning, Draws, Filling},
    preview::Previews,
    steering::{Besides, Sight, Steering},
};
use crate::{
    failure::Failure,
    layers::Step,
    models::diffusion::{ImageGenerator, Prompt, Surroundings},
    schedulers::Scheduler,
};

pub(super) struct Denoising {
    /// With guidance the negative ones come first, unless [`Paint::negative_comes_last`].
    prompt: Prompt,
    numbers: Option<Tensor>,
    guidance: Option<Tensor>,
    noise_levels: Option<Tensor>,
    latents: Tensor,
    filling: Option<Filling>,
    steering: Option<Steering>,
    scheduler: Box<dyn Scheduler>,
    draws: Draws,
    adapter: RowAdapter,
    /// The scheduler's first step here, and the next.
    first: usize,
    next: usize,
    begun: Instant,
}

impl Denoising {
    /// Reads the text and draws the noise.
    pub(super) fn begin(
        paint: &Paint,
        model: &dyn ImageGenerator,
        device: Device,
        besides: Besides,
    ) -> Result<Self, Failure> {
        let Besides { adapter, control_net } = besides;
        let scheduler = paint.scheduler.start(&paint.schedule)?;
        let prompt = prompt(paint, model, device, &adapter);
        let kind = prompt.text.kind();
        let mut draws = Draws::seeded(paint.seed, device)?;
        let Beginning { latents, first, filling } =
            Beginning::of(paint, model, &*scheduler, &mut draws, kind)?;
        let n_images = paint.n_images as i64;
        let rows = n_images * paint.looks() as i64;
        let numbers = paint.numbers(model, device);
        let guidance = model
            .guidance(paint.told_guidance, device)
            .map(|vector| vector.to_kind(kind).expand([rows, -1], false));
        Ok(Self {
            prompt,
            numbers,
            guidance,
            noise_levels: paint.noise_levels(device),
            latents,
            filling,
            steering: Steering::begin(paint, model, control_net, kind, device),
            scheduler,
            draws,
            adapter,
            first,
            next: first,
            begun: Instant::now(),
        })
    }

    /// One step, and how far it has come.
    pub(super) fn step(
        &mut self,
        paint: &Paint,
        model: &dyn ImageGenerator,
        previews: &Previews,
    ) -> Result<ProgressEvent, Failure> {
        let index = self.next;
        let output = self.output(index, paint, model);
        let sample = self.latents.shallow_clone();
        let draws = &mut self.draws;
        let mut noise = |shape: &[i64], kind: Kind| match draws.draw(shape, kind) {
            Ok(noise) => noise,
            // Its text says whether memory did not suffice, and the lane reads it.
            Err(error) => panic!("{error}"),
        };
        let latents = self.scheduler.step(&output, index, &sample, &mut noise);
        self.next += 1;
        let next = (!self.is_done()).then_some(self.next);
        self.latents = match &self.filling {
            Some(filling) => filling.kept(latents, &*self.scheduler, next),
            None => latents,
        };
        let step = self.next - self.first;
        let total = self.scheduler.timesteps().len() - self.first;
        let wants_preview = paint.preview_every > 0 && step.is_multiple_of(paint.preview_every);
        let preview = if wants_preview && step < total {
            let clean = self.scheduler.denoised(&output, index, &sample);
            Some(previews.of(&clean, model)?)
        } else {
            None
        };
        Ok(ProgressEvent { preview, ..progress::of(step, total, self.begun.elapsed()) })
    }

    /// What the network says of the latents, guided.
    fn output(&self, index: usize, paint: &Paint, model: &dyn ImageGenerator) -> Tensor {
        let looks = paint.looks();
        let sample = self.scheduler.scale_input(&self.latents, index);
        let sample = if looks == 1 { sample } else { sample.repeat([looks as i64, 1, 1, 1]) };
        let times = Tensor::full(
            [sample.size()[0]],
            self.scheduler.timesteps()[index],
            (Kind::Float, sample.device()),
        );
        let control = self.steering.as_ref().and_then(|steering| {
            let sight = Sight { sample: &sample, times: &times, prompt: &self.prompt, looks };
            let total = self.scheduler.timesteps().len() - self.first;
            steering.control(index - self.first, total, &sight, model)
        });
        let sample = match self.filling.as_ref().and_then(Filling::beside) {
            Some(beside) => {
                // Of one look, or of each.
                let rows = sample.size()[0] / beside.size()[0];
                Tensor::cat(&[sample, beside.repeat_interleave_self_int(rows, 0, None)], 1)
            }
            None => sample,
        };
        let surroundings = Surroundings {
            numbers: self.numbers.as_ref(),
            guidance: self.guidance.as_ref(),
            noise_levels: self.noise_levels.as_ref(),
            control: control.as_ref(),
        };
        let step = step_with(&self.adapter, sample.size()[0]);
        paint.guided(model.denoise(&sample, &times, &self.prompt, &surroundings, &step))
    }

    pub(super) fn is_done(&self) -> bool {
        self.next == self.scheduler.timesteps().len()
    }

    pub(super) fn latents(&self) -> Tensor {
        self.latents.shallow_clone()
    }
}

/// The texts of all rows: each picture has its own.
fn prompt(
    paint: &Paint,
    model: &dyn ImageGenerator,
    device: Device,
    adapter: &RowAdapter,
) -> Prompt {
    let encode = |text: &PromptIds, skipped| {
        let ids: Vec<Tensor> = text.iter().map(|ids| row(ids).to_device(device)).collect();
        model.encode(&ids, skipped, &step_with(adapter, 1))
    };
    let prompt = encode(&paint.prompt, paint.clip_skip);
    let negative = paint.negative.as_ref().map(|negative| match negative {
        // As the reference has it, a negative text does without no layer.
        Negative::Text(text) => encode(text, 0),
        Negative::Nothing => {
            Prompt { text: prompt.text.zeros_like(), pooled: prompt.pooled.zeros_like() }
        }
    });
    let n_images = paint.n_images as i64;
    let rows = |of: fn(&Prompt) -> &Tensor| {
        let texts: Vec<&Prompt> = match &negative {
            Some(negative) if paint.negative_comes_last() => vec![&prompt, negative, negative],
            Some(negative) => vec![negative, &prompt],
            None => vec![&prompt],
        };
        let texts: Vec<&Tensor> = texts.into_iter().map(of).collect();
        Tensor::cat(&texts, 0).repeat_interleave_self_int(n_images, 0, None)
    };
    Prompt { text: rows(|prompt| &prompt.text), pooled: rows(|prompt| &prompt.pooled) }
}

/// A step whose rows all have the request's adapter.
fn step_with(adapter: &RowAdapter, rows: i64) -> Step<'static> {
    Step::whole().with_adapters(&vec![adapter.clone(); rows as usize])
}

/// `[1, seq]`.
fn row(ids: &[u32]) -> Tensor {
    Tensor::from_slice(&ids.iter().map(|&id| i64::from(id)).collect::<Vec<_>>()).unsqueeze(0)
}

//! What is denoised at first: noise, or a picture with noise; and what is kept of a picture where a mask says so.
//!
//! Reference: `pipeline_stable_diffusion_img2img.py` and `pipeline_stable_diffusion_inpaint.py` of
//! `diffusers/pipelines/stable_diffusion`.

use tch::{Device, Kind, Tensor};

use super::{
    super::{Given, Manner, Paint},
    looking,
};
use crate::{
    failure::{Code, Failure},
    layers::Step,
    memory::shim::{Generator, ShimError},
    models::diffusion::{AutoencoderKl, Beside, ImageGenerator},
    schedulers::Scheduler,
};

pub(super) struct Beginning {
    /// `[n_images, latent_channels, height, width]`.
    pub latents: Tensor,
    /// The scheduler's first step.
    pub first: usize,
    pub filling: Option<Filling>,
}

/// A part of a picture is painted anew, the rest stays.
pub(super) enum Filling {
    /// The network is told: `[1, 1 + latent_channels, height, width]`, the mask and what stays; or of each look what it
    /// sees.
    Told(Tensor),
    /// What stays is put back after every step.
    PutBack {
        /// `[1, 1, height, width]`, 1 where it is painted anew.
        mask: Tensor,
        original: Tensor,
        noise: Tensor,
    },
}

/// Random numbers of one request, on its device.
pub(super) struct Draws {
    generator: Generator,
    device: Device,
}

impl Draws {
    pub(super) fn seeded(seed: u64, device: Device) -> Result<Self, Failure> {
        Ok(Self { generator: Generator::seeded(seed).map_err(failed)?, device })
    }

    pub(super) fn device(&self) -> Device {
        self.device
    }

    pub(super) fn draw(&mut self, shape: &[i64], kind: Kind) -> Result<Tensor, ShimError> {
        Ok(self.generator.randn(shape, kind)?.to_device(self.device))
    }
}

pub(super) fn failed(error: ShimError) -> Failure {
    Failure::new(Code::InferenceFailed, error)
}

impl Beginning {
    /// What is drawn is drawn in the reference's order.
    pub(super) fn of(
        paint: &Paint,
        model: &dyn ImageGenerator,
        scheduler: &dyn Scheduler,
        draws: &mut Draws,
        kind: Kind,
    ) -> Result<Self, Failure> {
        let vae = model.vae();
        let [height, width] = paint.size.map(|side| side as i64 / vae.factor());
        let shape = [paint.n_images as i64, vae.latent_channels(), height, width];
        let Some(given) = &paint.given else {
            let noise = draws.draw(&shape, kind).map_err(failed)?;
            let latents = noise * scheduler.init_noise_sigma();
            return Ok(Self { latents, first: 0, filling: None });
        };
        match &given.manner {
            Manner::Edited { .. } => {
                return looking::edit(paint, given, model, scheduler, draws, kind);
            }
            Manner::Enlarged { noising, level } => {
                let noising = noising.start(level)?;
                return looking::enlarge(paint, given, &*noising, (model, scheduler), draws, kind);
            }
            Manner::Begun | Manner::Refined { .. } => {}
        }
        let first = given.skipped_steps * scheduler.order();
        let pixels = pixels(given, kind, draws.device);
        let puts_back = given.mask.is_some() && model.beside() != Beside::Mask;
        let original =
            if puts_back || !given.is_anew { Some(encode(vae, &pixels, draws)?) } else { None };
        let noise = draws.draw(&shape, kind).map_err(failed)?;
        let latents = match &original {
            Some(original) if !given.is_anew => {
                scheduler.add_noise(&original.expand_as(&noise), &noise, first)
            }
            _ => &noise * scheduler.init_noise_sigma(),
        };
        let Some(mask) = &given.mask else { return Ok(Self { latents, first, filling: None }) };
        let mask = mask_tensor(mask, given, kind, draws.device);
        let stays = encode(vae, &(&pixels * mask.lt(0.5)), draws)?;
        let mask = mask.upsample_nearest2d([height, width], None, None);
        let filling = match original {
            Some(original) if puts_back => Filling::PutBack { mask, original, noise },
            _ => Filling::Told(Tensor::cat(&[mask, stays], 1)),
        };
        Ok(Self { latents, first, filling: Some(filling) })
    }
}

impl Filling {
    /// What the network sees beside the latents.
    pub(super) fn beside(&self) -> Option<&Tensor> {
        match self {
            Self::Told(told) => Some(told),
            Self::PutBack { .. } => None,
        }
    }

    /// Latents after a step, with what stays as it is before step `next`; `None`: that was the last.
    pub(super) fn kept(
        &self,
        latents: Tensor,
        scheduler: &dyn Scheduler,
        next: Option<usize>,
    ) -> Tensor {
        let Self::PutBack { mask, original, noise } = self else { return latents };
        let stays = match next {
            Some(next) => scheduler.add_noise(&original.expand_as(noise), noise, next),
            None => original.expand_as(noise),
        };
        (1.0 - mask) * stays + mask * latents
    }
}

/// `[1, 3, height, width]` in -1..1.
pub(super) fn pixels(given: &Given, kind: Kind, device: Device) -> Tensor {
    let (height, width) = (i64::from(given.picture.height), i64::from(given.picture.width));
    let levels = Tensor::from_slice(&given.picture.rgb).view([1, height, width, 3]);
    let levels = levels.permute([0, 3, 1, 2]).to_kind(Kind::Float) / 255.0;
    (levels * 2.0 - 1.0).contiguous().to_kind(kind).to_device(device)
}

/// `[1, 1, height, width]`, 1 where the picture is painted anew.
fn mask_tensor(mask: &[bool], given: &Given, kind: Kind, device: Device) -> Tensor {
    let (height, width) = (i64::from(given.picture.height), i64::from(given.picture.width));
    Tensor::from_slice(mask).view([1, 1, height, width]).to_kind(kind).to_device(device)
}

/// Latents of a picture, drawn from their distribution, in the kind of `pixels`.
fn encode(vae: &AutoencoderKl, pixels: &Tensor, draws: &mut Draws) -> Result<Tensor, Failure> {
    let moments = vae.encode(pixels, &Step::whole());
    let noise = draws.draw(&moments.mean.size(), moments.mean.kind()).map_err(failed)?;
    Ok(vae.scaled(&moments.sample(&noise).to_kind(pixels.kind())))
}

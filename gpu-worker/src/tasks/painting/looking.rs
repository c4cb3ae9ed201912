//! Pictures that the network looks at all the while: what is painted begins with noise, not with them.
//!
//! Reference: `pipeline_stable_diffusion_instruct_pix2pix.py` and `pipeline_stable_diffusion_upscale.py` of
//! `diffusers/pipelines/stable_diffusion`.

use tch::{Kind, Tensor};

use super::{
    super::{Given, Paint},
    beginning::{Beginning, Draws, Filling, failed, pixels},
};
use crate::{
    failure::Failure, layers::Step, models::diffusion::ImageGenerator, schedulers::Scheduler,
};

/// A picture that is changed as a text says: looks with and without the text see its likeliest latents, and the last look
/// sees nothing.
pub(super) fn edit(
    paint: &Paint,
    given: &Given,
    model: &dyn ImageGenerator,
    scheduler: &dyn Scheduler,
    draws: &mut Draws,
    kind: Kind,
) -> Result<Beginning, Failure> {
    let pixels = pixels(given, kind, draws.device());
    let seen = model.vae().encode(&pixels, &Step::whole()).mean.to_kind(kind);
    let (_, channels, height, width) = seen.size4().expect("latents of one picture");
    let noise = draws.draw(&[paint.n_images as i64, channels, height, width], kind);
    let latents = noise.map_err(failed)? * scheduler.init_noise_sigma();
    let beside = match paint.looks() {
        1 => seen,
        _ => Tensor::cat(&[&seen, &seen, &seen.zeros_like()], 0),
    };
    Ok(Beginning { latents, first: 0, filling: Some(Filling::Told(beside)) })
}

/// A picture that is made larger: every look sees it, with noise of the level that `noising` begins at.
pub(super) fn enlarge(
    paint: &Paint,
    given: &Given,
    noising: &dyn Scheduler,
    (model, scheduler): (&dyn ImageGenerator, &dyn Scheduler),
    draws: &mut Draws,
    kind: Kind,
) -> Result<Beginning, Failure> {
    let pixels = pixels(given, kind, draws.device());
    let noise = draws.draw(&pixels.size(), kind).map_err(failed)?;
    let seen = noising.add_noise(&pixels, &noise, 0);
    let (_, _, height, width) = seen.size4().expect("one picture");
    let channels = model.vae().latent_channels();
    let noise = draws.draw(&[paint.n_images as i64, channels, height, width], kind);
    let latents = noise.map_err(failed)? * scheduler.init_noise_sigma();
    Ok(Beginning { latents, first: 0, filling: Some(Filling::Told(seen)) })
}

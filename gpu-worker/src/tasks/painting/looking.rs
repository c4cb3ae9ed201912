//! Pictures that the network looks at all the while: what is painted begins with noise, not with them.
//!
//! Reference: `diffusers/pipelines/stable_diffusion/pipeline_stable_diffusion_instruct_pix2pix.py`.

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

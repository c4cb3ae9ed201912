//! What latents look like, without decoding them: colours are a linear function of a latent, near enough for a preview.
//!
//! The function is fitted to the pipeline's own autoencoder, from what that makes of smooth latents.

use std::cell::OnceCell;

use proto::{Media, media::Content};
use tch::{Device, Kind, Tensor};

use super::picture::picture;
use crate::{
    failure::{Code, Failure},
    layers::Step,
    media::{OutputFormat, Picture, encode},
    memory::shim::{Generator, ShimError},
    models::diffusion::{AutoencoderKl, ImageGenerator},
};

/// Of a picture that is soon replaced.
const FORMAT: OutputFormat = OutputFormat::Jpeg { quality: 80 };
/// Smooth latents are so many values on a side, enlarged by [`SMOOTHNESS`].
const SIDE: i64 = 4;
const SMOOTHNESS: i64 = 4;
const SAMPLES: i64 = 4;
const SEED: u64 = 0;
/// Keeps the fit finite where latents of two channels mean the same.
const RIDGE: f64 = 1e-3;

/// Previews of one pipeline; what they need is computed when the first is wanted.
pub(super) struct Previews {
    device: Device,
    fitted: OnceCell<Preview>,
}

impl Previews {
    pub(super) fn new(device: Device) -> Self {
        Self { device, fitted: OnceCell::new() }
    }

    pub(super) fn device(&self) -> Device {
        self.device
    }

    /// A small JPEG of the first picture of `[n_images, latent_channels, height, width]` latents.
    pub(super) fn of(
        &self,
        latents: &Tensor,
        model: &dyn ImageGenerator,
    ) -> Result<Media, Failure> {
        if self.fitted.get().is_none() {
            let preview = Preview::fit(model.vae(), latents.kind(), self.device)
                .map_err(|error| Failure::new(Code::InferenceFailed, error))?;
            let _ = self.fitted.set(preview);
        }
        let preview = self.fitted.get().expect("it was fitted just now");
        media(&picture(&preview.colours(&latents.select(0, 0))))
    }
}

/// A picture that is soon replaced, as a JPEG.
pub(super) fn media(picture: &Picture) -> Result<Media, Failure> {
    let bytes = encode(picture, FORMAT)?;
    let mime_type = FORMAT.mime_type().to_owned();
    Ok(Media { content: Some(Content::Inline(bytes)), mime_type })
}

struct Preview {
    /// `[latent_channels + 1, 3]`, the last row is the colour of latents that are zero.
    colours: Tensor,
}

impl Preview {
    /// Decodes a few small latents: as much work as a small picture.
    fn fit(vae: &AutoencoderKl, kind: Kind, device: Device) -> Result<Self, ShimError> {
        let channels = vae.latent_channels();
        let noise =
            Generator::seeded(SEED)?.randn(&[SAMPLES, channels, SIDE, SIDE], Kind::Float)?;
        let side = SIDE * SMOOTHNESS;
        let latents = noise.to_device(device).upsample_nearest2d([side, side], None, None);
        let decoded = vae.decode(&vae.unscaled(&latents).to_kind(kind), &Step::whole());
        let factor = [vae.factor(); 2];
        let colours =
            decoded.to_kind(Kind::Float).avg_pool2d(factor, factor, [0, 0], false, true, None);
        let (xs, ys) = (with_one(&rows(&latents)), rows(&colours));
        let ridge = Tensor::eye(channels + 1, (Kind::Float, device)) * RIDGE * xs.size()[0];
        let colours = (xs.tr().mm(&xs) + ridge).inverse().mm(&xs.tr().mm(&ys));
        Ok(Self { colours })
    }

    /// `[latent_channels, height, width]`, scaled as a denoiser has them, to `[3, height, width]`, about 0 to 1.
    fn colours(&self, latents: &Tensor) -> Tensor {
        let (_, height, width) = latents.size3().expect("latents of one picture");
        let latents = latents.to_kind(Kind::Float).unsqueeze(0);
        let colours = with_one(&rows(&latents)).mm(&self.colours).tr();
        colours.view([3, height, width]) * 0.5 + 0.5
    }
}

/// `[batch, channels, height, width]` to `[batch × height × width, channels]`.
fn rows(xs: &Tensor) -> Tensor {
    xs.permute([0, 2, 3, 1]).flatten(0, 2)
}

fn with_one(rows: &Tensor) -> Tensor {
    let ones = Tensor::ones([rows.size()[0], 1], (rows.kind(), rows.device()));
    Tensor::cat(&[rows, &ones], 1)
}

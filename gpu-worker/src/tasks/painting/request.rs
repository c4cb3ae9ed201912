//! One request on its way from noise to pictures, one piece of device work at a time.

use tch::{Kind, Tensor};

use super::{
    super::{Made, Paint, Painted},
    denoising::Denoising,
    picture::picture,
    preview::Previews,
    steering::Besides,
    turns::Stepped,
};
use crate::{
    failure::{Code, Failure},
    layers::Step,
    media::{ImageProcessor, Picture, Pixels},
    models::diffusion::{AutoencoderKl, ImageGenerator, SafetyChecker, SafetyScores, Tiles},
};

pub(super) struct Request {
    pub paint: Box<Paint>,
    besides: Besides,
    phase: Phase,
}

enum Phase {
    Waiting,
    Denoising(Box<Denoising>),
    Decoding(Decoding),
}

/// The last part: latents become pictures, one by one.
struct Decoding {
    /// `[n_images, latent_channels, height, width]`.
    latents: Tensor,
    /// Of the picture that is next, where it is too large to be decoded at once.
    tiles: Option<Tiles>,
    painted: Vec<Painted>,
}

impl Request {
    pub(super) fn new(paint: Box<Paint>, besides: Besides) -> Self {
        Self { paint, besides, phase: Phase::Waiting }
    }

    /// How large the next step is: tokens, values of a latent, or pixels. `factor` is the autoencoder's.
    pub(super) fn size(&self, factor: usize) -> usize {
        let [height, width] = self.paint.size;
        let looks = self.paint.looks();
        match &self.phase {
            Phase::Waiting => looks * self.paint.prompt.iter().map(Vec::len).sum::<usize>(),
            Phase::Denoising(_) => {
                looks * self.paint.n_images * (height / factor) * (width / factor)
            }
            Phase::Decoding(Decoding { tiles: Some(tiles), .. }) => {
                tiles.next_size().map(|side| side as usize * factor).iter().product()
            }
            Phase::Decoding(_) => height * width,
        }
    }

    /// One piece of work: the text, a step, or a picture or a tile of one.
    pub(super) fn step(
        &mut self,
        model: &dyn ImageGenerator,
        previews: &Previews,
    ) -> Result<Stepped, Failure> {
        let mut stepped = Stepped { progress: None, made: None };
        match &mut self.phase {
            Phase::Waiting => {
                let besides = std::mem::take(&mut self.besides);
                let denoising = Denoising::begin(&self.paint, model, previews.device(), besides)?;
                self.phase = Phase::Denoising(Box::new(denoising));
            }
            Phase::Denoising(denoising) => {
                stepped.progress = Some(denoising.step(&self.paint, model, previews)?);
                if denoising.is_done() {
                    let latents = denoising.latents();
                    self.phase = Phase::Decoding(Decoding::begin(latents, model.vae()));
                }
            }
            Phase::Decoding(decoding) => {
                decoding.decode_next(&self.paint, model)?;
                if decoding.is_complete() {
                    stepped.made = Some(Made::Painted(std::mem::take(&mut decoding.painted)));
                }
            }
        }
        Ok(stepped)
    }
}

impl Decoding {
    fn begin(latents: Tensor, vae: &AutoencoderKl) -> Self {
        let mut decoding = Self { latents, tiles: None, painted: Vec::new() };
        decoding.tiles = decoding.tiles_of_next(vae);
        decoding
    }

    fn is_complete(&self) -> bool {
        self.painted.len() as i64 == self.latents.size()[0]
    }

    /// Of the next picture, `[1, latent_channels, height, width]`.
    fn next_latents(&self) -> Tensor {
        self.latents.narrow(0, self.painted.len() as i64, 1)
    }

    fn tiles_of_next(&self, vae: &AutoencoderKl) -> Option<Tiles> {
        if self.is_complete() { None } else { vae.tiles(&vae.unscaled(&self.next_latents())) }
    }

    fn decode_next(&mut self, paint: &Paint, model: &dyn ImageGenerator) -> Result<(), Failure> {
        let (vae, step) = (model.vae(), Step::whole());
        let latents = self.next_latents();
        let tiles = self.tiles.take();
        let in_tiles = tiles.is_some();
        let pixels = match tiles {
            Some(mut tiles) => {
                vae.decode_tile(&mut tiles, &step);
                if !tiles.is_complete() {
                    self.tiles = Some(tiles);
                    return Ok(());
                }
                tiles.join()
            }
            None => vae.decode(&vae.unscaled(&latents), &step),
        };
        let pixels = pixels.to_kind(Kind::Float).squeeze_dim(0) * 0.5 + 0.5;
        let mut picture = picture(&pixels);
        let is_refused = match (model.safety_checker(), &paint.for_checker) {
            (Some(checker), Some(processor)) => {
                Some(is_refused(checker, processor, &picture, &latents)?)
            }
            _ => None,
        };
        if is_refused == Some(true) {
            picture.rgb.fill(0);
        }
        self.painted.push(Painted { picture, is_refused, in_tiles });
        self.tiles = self.tiles_of_next(vae);
        Ok(())
    }
}

/// The checker's verdict on one picture; `like` has the device and the kind that it works with.
fn is_refused(
    checker: &SafetyChecker,
    processor: &ImageProcessor,
    picture: &Picture,
    like: &Tensor,
) -> Result<bool, Failure> {
    let Pixels { data, channels, height, width, .. } = processor.process(picture)?;
    let side = checker.image_size();
    if (height as i64, width as i64) != (side, side) {
        let message = format!(
            "the feature_extractor makes pictures of {width} × {height} pixels, the safety_checker takes {side}"
        );
        return Err(Failure::new(Code::CorruptCheckpoint, message));
    }
    let pixels = Tensor::from_slice(&data).view([1, channels as i64, side, side]);
    let pixels = pixels.to_device(like.device()).to_kind(like.kind());
    let scores = checker.scores(&pixels, &Step::whole());
    Ok(scores.iter().any(SafetyScores::is_refused))
}

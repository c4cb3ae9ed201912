//! `image-super-resolution` and `image-restoration`: a picture in, a larger or a better one out, piece by piece.

mod canvas;
mod pipeline;
mod tiling;

use std::sync::Arc;

use proto::{
    ImageEnhancementInputs, ImageEnhancementOptions, InferRequest, infer_request::Input,
    media::Content,
};
use serde_json::Value;

pub use self::pipeline::EnhancePipeline;
pub(super) use self::tiling::Tiling;
use super::{Enhance, Files, Made, Prepared, Processor, Work, pictures};
use crate::{
    failure::{Code, Failure},
    media::{ImageProcessor, Levels, Limits, Source, decode},
    models::{Enlargement, enlargement},
};

/// Side of the pieces when the request does not say it.
const DEFAULT_TILE: u32 = 128;
const TILES: std::ops::RangeInclusive<u32> = 32..=512;
const PREPROCESSOR: &str = "preprocessor_config.json";

pub fn processor(files: &Files) -> Result<Arc<dyn Processor>, Failure> {
    Ok(Arc::new(Enhancement::of(files)?))
}

struct Enhancement {
    levels: Levels,
    padded_to: Option<u32>,
    enlargement: Enlargement,
}

impl Enhancement {
    fn of(files: &Files) -> Result<Self, Failure> {
        let config: Value = files.json("config.json")?.unwrap_or_default();
        let (levels, padded_to) = match files.text(PREPROCESSOR) {
            // Models that come without a processor take levels from 0 to 1.
            None => (Levels::unit(), None),
            Some(text) => {
                let processor = ImageProcessor::from_config(text, files.text("config.json"))?;
                processor.without_resizing().ok_or_else(|| {
                    let message = format!(
                        "{PREPROCESSOR} resizes or crops pictures, which are to keep their size"
                    );
                    Failure::new(Code::FormatNotSupported, message).text("file", PREPROCESSOR)
                })?
            }
        };
        Ok(Self { levels, padded_to, enlargement: enlargement(&config) })
    }
}

impl Processor for Enhancement {
    fn prepare(&self, request: &InferRequest) -> Result<Prepared, Failure> {
        let (inputs, options) = match &request.input {
            Some(Input::ImageSuperResolution(request)) => (&request.inputs, &request.options),
            Some(Input::ImageRestoration(request)) => (&request.inputs, &request.options),
            _ => return Err(Failure::invalid("input", "is not a picture to enhance")),
        };
        let options = options.clone().unwrap_or_default();
        refuse_painting(&inputs.clone().unwrap_or_default(), &options)?;
        let tile = self.check(&options)?;
        let format = pictures::format(options.format.as_deref(), options.quality)?;
        let picture = decode(bytes_of(inputs.as_ref())?, &Limits::default())
            .map_err(|error| Failure::from(error).at("inputs.image_base64"))?;
        let Enlargement { scale, channels } = self.enlargement;
        let sides = [picture.width, picture.height].map(|side| side.saturating_mul(scale));
        pictures::check_sides(format, sides)?;
        let source = Source {
            picture,
            levels: self.levels.clone(),
            padded_to: self.padded_to,
            channels: channels as usize,
        };
        Ok(Prepared {
            work: Work::Enhance(Box::new(Enhance { source, scale, tile })),
            finish: Box::new(move |made| match made {
                Made::Pictures(made) => pictures::output(&made, format, Vec::new()),
                _ => Err(Failure::new(Code::InferenceFailed, "the lane made no picture")),
            }),
            prompt_tokens: None,
            seed: None,
        })
    }
}

impl Enhancement {
    /// The side of the pieces.
    fn check(&self, options: &ImageEnhancementOptions) -> Result<u32, Failure> {
        let own = self.enlargement.scale;
        if let Some(scale) = options.scale.filter(|scale| *scale != own) {
            let message = format!("is {scale}, but this model's factor is {own}");
            return Err(
                Failure::invalid("options.scale", message).number("supported", u64::from(own))
            );
        }
        let tile = options.tile.unwrap_or(DEFAULT_TILE);
        if !TILES.contains(&tile) {
            let message = format!("is {tile}, expected {} to {}", TILES.start(), TILES.end());
            return Err(Failure::invalid("options.tile", message));
        }
        Ok(tile)
    }
}

/// What only models look at that paint the larger picture.
fn refuse_painting(
    inputs: &ImageEnhancementInputs,
    options: &ImageEnhancementOptions,
) -> Result<(), Failure> {
    let fields = [
        ("inputs.text", inputs.text.is_some()),
        ("inputs.negative_prompt", inputs.negative_prompt.is_some()),
        ("options.num_inference_steps", options.num_inference_steps.is_some()),
        ("options.guidance_scale", options.guidance_scale.is_some()),
        ("options.noise_level", options.noise_level.is_some()),
        ("options.seed", options.seed.is_some()),
        ("options.num_images", options.num_images.is_some()),
        ("options.preview_every", options.preview_every.is_some()),
        ("options.clip_skip", options.clip_skip.is_some()),
        ("options.eta", options.eta.is_some()),
        ("options.truncate", options.truncate.is_some()),
        ("options.scheduler", options.scheduler.is_some()),
    ];
    match fields.into_iter().find(|(_, is_given)| *is_given) {
        Some((field, _)) => {
            let message = "is only for models that paint the larger picture in steps";
            Err(Failure::invalid(field, message))
        }
        None => Ok(()),
    }
}

fn bytes_of(inputs: Option<&ImageEnhancementInputs>) -> Result<&[u8], Failure> {
    let media = inputs.and_then(|inputs| inputs.image.as_ref());
    match media.and_then(|media| media.content.as_ref()) {
        Some(Content::Inline(bytes)) => Ok(bytes),
        _ => Err(Failure::invalid("inputs.image_base64", "is missing")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn enhancement(config: &Value) -> Enhancement {
        let files = [("config.json".to_owned(), config.to_string().into_bytes())];
        Enhancement::of(&Files::new(files.into())).unwrap()
    }

    #[test]
    fn only_the_models_own_factor_is_taken() {
        let enhancement = enhancement(&json!({"model_type": "swin2sr", "upscale": 4}));
        let asked = |scale| ImageEnhancementOptions { scale, ..Default::default() };
        assert_eq!(enhancement.check(&asked(Some(4))).unwrap(), DEFAULT_TILE);
        assert_eq!(enhancement.check(&asked(None)).unwrap(), DEFAULT_TILE);
        let failure = enhancement.check(&asked(Some(3))).unwrap_err();
        assert_eq!(failure.code, Code::InvalidRequest);
        assert!(failure.message.contains("this model's factor is 4"), "{}", failure.message);
    }

    #[test]
    fn pieces_have_bounds() {
        let enhancement = enhancement(&json!({"model_type": "rrdbnet", "scale": 2}));
        for (tile, fits) in [(0, false), (31, false), (32, true), (512, true), (513, false)] {
            let options = ImageEnhancementOptions { tile: Some(tile), ..Default::default() };
            assert_eq!(enhancement.check(&options).is_ok(), fits, "{tile}");
        }
    }
}

//! `image-super-resolution` by painting: a larger picture out of noise, in view of the small one.
//!
//! Reference: `diffusers/pipelines/stable_diffusion/pipeline_stable_diffusion_upscale.py`.

use std::sync::Arc;

use proto::{
    ImageEnhancementInputs, ImageEnhancementOptions, InferRequest, TextToImageOptions,
    infer_request::Input,
};
use serde_json::Value;

use super::{
    super::{Files, Given, Manner, Prepared, Processor, pictures},
    Painter, Texts, given,
    options::Options,
};
use crate::{
    failure::{Code, Failure},
    media::Resample,
    schedulers::{self, SchedulerConfig, Steps},
};

const NOISING: &str = "low_res_scheduler/scheduler_config.json";
/// The class whose noise can be of any level by itself.
const NOISING_CLASS: &str = "DDPMScheduler";
const NOISE_LEVEL: u32 = 20;
/// Where the index does not say it.
const MOST_NOISE: u64 = 350;

pub fn image_super_resolution(files: &Files) -> Result<Arc<dyn Processor>, Failure> {
    Ok(Arc::new(SuperResolution::of(files)?))
}

struct SuperResolution {
    painter: Painter,
    /// Puts noise into the small picture.
    noising: Arc<SchedulerConfig>,
    /// The highest level of noise that is taken.
    most_noise: u32,
}

impl SuperResolution {
    fn of(files: &Files) -> Result<Self, Failure> {
        let Some(config) = files.json(NOISING)? else {
            let message = format!("{NOISING} is missing, which says what noise a picture is given");
            return Err(Failure::new(Code::CorruptCheckpoint, message).text("file", NOISING));
        };
        let noising = SchedulerConfig::read(&config)?;
        if noising.class_name() != NOISING_CLASS {
            let class = noising.class_name();
            let message = format!("{NOISING} is of the class {class}, and not {NOISING_CLASS}");
            return Err(Failure::new(Code::ArchitectureNotSupported, message).at(NOISING));
        }
        let json = |path: &str| files.json(path).map(Option::unwrap_or_default);
        let (index, unet) = (json("model_index.json")?, json("unet/config.json")?);
        let count = |config: &Value, name: &str| config.get(name).and_then(Value::as_u64);
        let most = count(&index, "max_noise_level").unwrap_or(MOST_NOISE);
        let known = count(&unet, "num_class_embeds").unwrap_or(0).saturating_sub(1);
        let most_noise = u32::try_from(most.min(known)).unwrap_or(u32::MAX);
        Ok(Self { painter: Painter::of(files)?, noising: Arc::new(noising), most_noise })
    }

    fn given(
        &self,
        inputs: &ImageEnhancementInputs,
        asked: &ImageEnhancementOptions,
    ) -> Result<(Options, Given), Failure> {
        let defaults = &self.painter.defaults;
        let factor = defaults.factor;
        if let Some(scale) = asked.scale.filter(|scale| *scale as usize != factor) {
            let message = format!("is {scale}, but this model's factor is {factor}");
            let failure = Failure::invalid("options.scale", message);
            return Err(failure.number("supported", factor as u64));
        }
        if asked.tile.is_some() {
            let message = "is not for this model, which paints the picture as a whole";
            return Err(Failure::invalid("options.tile", message));
        }
        let noise_level = asked.noise_level.unwrap_or(NOISE_LEVEL.min(self.most_noise));
        if noise_level > self.most_noise {
            let message = format!("is {noise_level}, expected 0 to {}", self.most_noise);
            let failure = Failure::invalid("options.noise_level", message);
            return Err(failure.number("limit", u64::from(self.most_noise)));
        }
        let field = "inputs.image_base64";
        let picture = given::picture(inputs.image.as_ref(), field)?;
        let picture = picture.ok_or_else(|| Failure::invalid(field, "is missing"))?;
        let picture = given::fitted(&picture, factor, Resample::Bicubic, field)?;
        let mut options = Options::read(&as_text_to_image(asked), defaults)?;
        options.size = [picture.height, picture.width].map(|side| side as usize * factor);
        pictures::check_sides(options.format, options.size.map(|side| side as u32))?;
        let level = schedulers::Request {
            steps: Steps::Timesteps(vec![noise_level as usize]),
            eta: 0.0,
            mu: None,
        };
        // Refused now rather than in the lane.
        self.noising
            .start(&level)
            .map_err(|error| Failure::from(error).at("options.noise_level"))?;
        let manner = Manner::Enlarged { noising: Arc::clone(&self.noising), level };
        Ok((options, Given { picture, mask: None, skipped_steps: 0, is_anew: true, manner }))
    }
}

impl Processor for SuperResolution {
    fn prepare(&self, request: &InferRequest) -> Result<Prepared, Failure> {
        let Some(Input::ImageSuperResolution(asked)) = &request.input else {
            return Err(Failure::invalid("input", "is not a picture to enlarge"));
        };
        let inputs = asked.inputs.clone().unwrap_or_default();
        let asked = asked.options.clone().unwrap_or_default();
        let (options, given) = self.given(&inputs, &asked)?;
        let texts = Texts {
            text: Some(inputs.text.as_deref().unwrap_or_default()),
            negative_prompt: inputs.negative_prompt.as_deref(),
        };
        self.painter.prepare(&texts, options, request.seed, Some(given), None)
    }
}

/// The options that both tasks have.
fn as_text_to_image(asked: &ImageEnhancementOptions) -> TextToImageOptions {
    TextToImageOptions {
        num_inference_steps: asked.num_inference_steps,
        guidance_scale: asked.guidance_scale,
        seed: asked.seed,
        num_images: asked.num_images,
        preview_every: asked.preview_every,
        clip_skip: asked.clip_skip,
        eta: asked.eta,
        truncate: asked.truncate,
        format: asked.format.clone(),
        quality: asked.quality,
        scheduler: asked.scheduler.clone(),
        ..TextToImageOptions::default()
    }
}

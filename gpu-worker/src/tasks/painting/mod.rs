//! `text-to-image`: pictures of what a text says, out of noise. `image-to-image`: out of a picture with noise, as a
//! whole or where a mask says so. `unconditional-image-generation` is in [`imagining`].
//!
//! Reference: `diffusers/pipelines/stable_diffusion/pipeline_stable_diffusion.py`,
//! `stable_diffusion_xl/pipeline_stable_diffusion_xl.py`, `stable_diffusion_3/pipeline_stable_diffusion_3.py` and
//! `flux/pipeline_flux.py`.

mod beginning;
mod control;
mod denoising;
mod enlarging;
mod family;
mod given;
mod guidance;
mod imagining;
mod looking;
mod numbers;
mod options;
mod picture;
mod pipeline;
mod preview;
mod prompts;
mod request;
mod role;
mod steering;
mod turns;

use std::sync::Arc;

use proto::{InferRequest, infer_request::Input, infer_result::Output};
use serde_json::Value;

pub use self::{
    control::ControlPicture,
    enlarging::image_super_resolution,
    imagining::{ImaginingPipeline, unconditional_image_generation},
    pipeline::PaintingPipeline,
};
use self::{
    options::{Defaults, Options},
    prompts::{Prompts, Reading},
};
use super::{Files, Given, Made, Manner, Negative, Paint, Prepared, Processor, Work, pictures};
use crate::{
    failure::{Code, Failure},
    media::{ImageProcessor, Picture},
    models::diffusion::PipelineClass,
    schedulers::SchedulerConfig,
};

/// How much a ControlNet adds where a request says nothing: to noise, to a picture, and in a part of one. As the
/// reference's pipelines have it.
const CONTROL_SCALE: f64 = 1.0;
const CONTROL_SCALE_CHANGING: f64 = 0.8;
const CONTROL_SCALE_FILLING: f64 = 0.5;

pub fn text_to_image(files: &Files) -> Result<Arc<dyn Processor>, Failure> {
    Ok(Arc::new(TextToImage(Painter::of(files)?)))
}

pub fn image_to_image(files: &Files) -> Result<Arc<dyn Processor>, Failure> {
    Ok(Arc::new(ImageToImage(Painter::of(files)?)))
}

/// How the reference would have to be told to make the same picture.
const IN_TILES: &str = "decoded in overlapping tiles, since at once it would take more memory than the worker's --decoding-memory";

struct TextToImage(Painter);

struct ImageToImage(Painter);

/// What both need of a repository.
struct Painter {
    prompts: Prompts,
    defaults: Defaults,
    scheduler: Arc<SchedulerConfig>,
    for_checker: Option<Arc<ImageProcessor>>,
}

/// The texts of a request.
struct Texts<'a> {
    text: Option<&'a str>,
    negative_prompt: Option<&'a str>,
}

impl Painter {
    fn of(files: &Files) -> Result<Self, Failure> {
        let mut scheduler = scheduler_config(files)?;
        let index = files.json("model_index.json")?.unwrap_or_default();
        correct(PipelineClass::of(&index), &mut scheduler);
        let defaults = Defaults::of(files)?;
        Ok(Self {
            prompts: Prompts::of(files, defaults.family)?,
            defaults,
            scheduler: Arc::new(SchedulerConfig::read(&scheduler)?),
            for_checker: for_checker(files, &index)?,
        })
    }

    fn prepare(
        &self,
        texts: &Texts,
        options: Options,
        seed_of_request: Option<u64>,
        given: Option<Given>,
        control: Option<ControlPicture>,
    ) -> Result<Prepared, Failure> {
        let Some(text) = texts.text else {
            return Err(Failure::invalid("inputs.text", "is missing"));
        };
        let scheduler = match &options.scheduler {
            Some(name) => Arc::new(self.scheduler.switched(name)?),
            None => Arc::clone(&self.scheduler),
        };
        let schedule = self.defaults.schedule(options.schedule, options.size, &scheduler);
        // Refused now rather than in the lane.
        scheduler.start(&schedule)?;
        let mut notices = Vec::new();
        let mut ids = |text: &str, field| {
            let (truncate, t5_length) = (options.truncate, options.max_sequence_length);
            let prompt = self.prompts.ids(text, &Reading { field, truncate, t5_length })?;
            notices.extend(prompt.notices);
            Ok::<_, Failure>(prompt.ids)
        };
        let is_guided = match given.as_ref().map(|given| &given.manner) {
            // As the reference has it, both or none.
            Some(Manner::Edited { guidance_scale }) => *guidance_scale >= 1.0,
            _ => true,
        };
        let guides = is_guided && self.defaults.guides(options.guidance_scale);
        self.defaults.family.check_negative(texts.negative_prompt, guides)?;
        let prompt = ids(text, "inputs.text")?;
        let negative = match texts.negative_prompt {
            _ if !guides => None,
            None if self.defaults.no_text_is_nothing => Some(Negative::Nothing),
            text => Some(Negative::Text(ids(text.unwrap_or_default(), "inputs.negative_prompt")?)),
        };
        let prompt_tokens = self.prompts.count(text)?;
        let seed = options.seed.or(seed_of_request).unwrap_or_else(rand::random);
        let paint = Paint {
            prompt,
            negative,
            guidance_scale: options.guidance_scale,
            told_guidance: options.told_guidance,
            guidance_rescale: options.guidance_rescale,
            clip_skip: options.clip_skip,
            size: options.size,
            n_images: options.n_images,
            seed,
            scheduler,
            schedule,
            preview_every: options.preview_every,
            given,
            control,
            control_net: None,
            for_checker: self.for_checker.clone(),
            adapter_scale: options.adapter_scale,
        };
        let format = options.format;
        Ok(Prepared {
            work: Work::Paint(Box::new(paint)),
            finish: Box::new(move |made| {
                let Made::Painted(painted) = made else {
                    return Err(Failure::new(Code::InferenceFailed, "the lane made no pictures"));
                };
                let mut notices = notices;
                if painted.iter().any(|painted| painted.in_tiles) {
                    notices.push(IN_TILES.to_owned());
                }
                let verdicts: Vec<Option<bool>> =
                    painted.iter().map(|painted| painted.is_refused).collect();
                let pictures: Vec<Picture> =
                    painted.into_iter().map(|painted| painted.picture).collect();
                let mut output = pictures::output(&pictures, format, notices)?;
                if let Output::Images(output) = &mut output {
                    for (image, is_refused) in output.images.iter_mut().zip(verdicts) {
                        image.is_refused = is_refused;
                    }
                }
                Ok(output)
            }),
            prompt_tokens: Some(prompt_tokens),
            seed: Some(seed),
        })
    }
}

fn scheduler_config(files: &Files) -> Result<Value, Failure> {
    let path = "scheduler/scheduler_config.json";
    files.json(path)?.ok_or_else(|| {
        let message = format!("{path} is missing, which says how noise becomes a picture");
        Failure::new(Code::CorruptCheckpoint, message).text("file", path)
    })
}

/// What prepares pictures for the safety checker that the index names.
fn for_checker(files: &Files, index: &Value) -> Result<Option<Arc<ImageProcessor>>, Failure> {
    let is_named = |component: &str| index[component][1].is_string();
    if !is_named("safety_checker") {
        return Ok(None);
    }
    let path = "feature_extractor/preprocessor_config.json";
    let Some(config) = files.text(path).filter(|_| is_named("feature_extractor")) else {
        let message = format!("the pipeline has a safety_checker, but no {path}");
        return Err(
            Failure::new(Code::CorruptCheckpoint, message).text("component", "feature_extractor")
        );
    };
    Ok(Some(Arc::new(ImageProcessor::from_config(config, None)?)))
}

/// The oldest schedulers of Stable Diffusion say what its training did not do, which the reference's pipelines correct.
fn correct(class: &PipelineClass, scheduler: &mut Value) {
    if let (Some((field, value)), Some(fields)) = (class.corrects, scheduler.as_object_mut()) {
        fields.insert("steps_offset".to_owned(), Value::from(1));
        fields.insert(field.to_owned(), Value::from(value));
    }
}

impl Processor for TextToImage {
    fn prepare(&self, request: &InferRequest) -> Result<Prepared, Failure> {
        let Some(Input::TextToImage(asked)) = &request.input else {
            return Err(Failure::invalid("input", "is not for text-to-image"));
        };
        let inputs = asked.inputs.clone().unwrap_or_default();
        let mut asked = asked.options.clone().unwrap_or_default();
        let follows = self.0.defaults.follows || asked.controlnet.is_some();
        let control = control::sent(inputs.control_image.as_ref(), follows)?;
        if let Some(picture) = &control {
            control::size_by(picture, &mut asked, &self.0.defaults)?;
        }
        let options = Options::read(&asked, &self.0.defaults)?;
        let control = control::read(control, &asked, options.size, CONTROL_SCALE)?;
        self.0.defaults.role.refuse_text_alone()?;
        let texts = Texts {
            text: inputs.text.as_deref(),
            negative_prompt: inputs.negative_prompt.as_deref(),
        };
        self.0.prepare(&texts, options, request.seed, None, control)
    }
}

impl Processor for ImageToImage {
    fn prepare(&self, request: &InferRequest) -> Result<Prepared, Failure> {
        let Some(Input::ImageToImage(asked)) = &request.input else {
            return Err(Failure::invalid("input", "is not for image-to-image"));
        };
        let inputs = asked.inputs.clone().unwrap_or_default();
        let asked = asked.options.clone().unwrap_or_default();
        let (options, given) = given::read(&inputs, &asked, &self.0.defaults)?;
        let follows = self.0.defaults.follows || asked.controlnet.is_some();
        let control = control::sent(inputs.control_image.as_ref(), follows)?;
        if let Some(picture) = &control {
            control::check_beside(picture, &given.picture, &self.0.defaults)?;
        }
        let usual =
            if given.mask.is_some() { CONTROL_SCALE_FILLING } else { CONTROL_SCALE_CHANGING };
        let control = control::read(
            control,
            &given::as_text_to_image(&asked, &self.0.defaults),
            options.size,
            usual,
        )?;
        let texts = Texts {
            text: inputs.text.as_deref(),
            negative_prompt: inputs.negative_prompt.as_deref(),
        };
        self.0.prepare(&texts, options, request.seed, Some(given), control)
    }
}

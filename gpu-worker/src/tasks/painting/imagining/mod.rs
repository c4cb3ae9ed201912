//! `unconditional-image-generation`: pictures out of noise and nothing else.
//!
//! Reference: `diffusers/pipelines/ddpm/pipeline_ddpm.py` and `ddim/pipeline_ddim.py`.

mod denoising;
mod pipeline;

use std::sync::Arc;

use proto::{InferRequest, UnconditionalImageGenerationOptions, infer_request::Input};

pub use self::pipeline::ImaginingPipeline;
use super::{
    super::{Files, Imagine, Made, Prepared, Processor, Work, pictures},
    options, scheduler_config,
};
use crate::{
    failure::{Code, Failure},
    models::diffusion::PipelineClass,
    schedulers::{self, SchedulerConfig, Steps},
};

/// Steps of the pipeline that takes all of the training's, and of the one that was made to take fewer.
const ALL_STEPS: usize = 1000;
const FEWER_STEPS: usize = 50;

pub fn unconditional_image_generation(files: &Files) -> Result<Arc<dyn Processor>, Failure> {
    Ok(Arc::new(Imagining::of(files)?))
}

struct Imagining {
    scheduler: Arc<SchedulerConfig>,
    n_steps: usize,
    /// Height and width of its pictures.
    size: [usize; 2],
}

impl Imagining {
    fn of(files: &Files) -> Result<Self, Failure> {
        let scheduler = SchedulerConfig::read(&scheduler_config(files)?)?;
        let index = files.json("model_index.json")?.unwrap_or_default();
        let (scheduler, n_steps) = match PipelineClass::of(&index).scheduler {
            Some(class) => (scheduler.switched(class)?, FEWER_STEPS),
            None => (scheduler, ALL_STEPS),
        };
        let path = "unet/config.json";
        let unet = files.json(path)?.unwrap_or_default();
        let size = options::sample_size(&unet).ok_or_else(|| {
            let message = format!("{path} names no sample_size, which pictures would have");
            Failure::new(Code::ArchitectureNotSupported, message).text("file", path)
        })?;
        Ok(Self { scheduler: Arc::new(scheduler), n_steps, size })
    }

    fn work(
        &self,
        asked: &UnconditionalImageGenerationOptions,
        seed: u64,
    ) -> Result<Imagine, Failure> {
        let n_steps = match asked.num_inference_steps {
            Some(steps) => options::steps(steps)?,
            None => self.n_steps,
        };
        let eta = options::share("options.eta", asked.eta)?;
        let scheduler = match &asked.scheduler {
            Some(name) => Arc::new(self.scheduler.switched(name)?),
            None => Arc::clone(&self.scheduler),
        };
        let schedule = schedulers::Request { steps: Steps::Count(n_steps), eta, mu: None };
        // Refused now rather than in the lane.
        scheduler.start(&schedule)?;
        Ok(Imagine {
            size: self.size,
            n_images: options::n_images(asked.num_images)?,
            seed,
            scheduler,
            schedule,
            preview_every: asked.preview_every.unwrap_or(0) as usize,
        })
    }
}

impl Processor for Imagining {
    fn prepare(&self, request: &InferRequest) -> Result<Prepared, Failure> {
        let Some(Input::UnconditionalImageGeneration(asked)) = &request.input else {
            let message = "is not for unconditional-image-generation";
            return Err(Failure::invalid("input", message));
        };
        let asked = asked.options.clone().unwrap_or_default();
        let format = pictures::format(asked.format.as_deref(), asked.quality)?;
        let seed = asked.seed.or(request.seed).unwrap_or_else(rand::random);
        Ok(Prepared {
            work: Work::Imagine(self.work(&asked, seed)?),
            finish: Box::new(move |made| match made {
                Made::Pictures(made) => pictures::output(&made, format, Vec::new()),
                _ => Err(Failure::new(Code::InferenceFailed, "the lane made no pictures")),
            }),
            prompt_tokens: None,
            seed: Some(seed),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn imagining(class: &str) -> Imagining {
        let index = format!(r#"{{"_class_name": "{class}"}}"#);
        let scheduler = r#"{"_class_name": "DDPMScheduler"}"#.to_owned();
        let files = [
            ("model_index.json", index),
            ("scheduler/scheduler_config.json", scheduler),
            ("unet/config.json", r#"{"sample_size": 32}"#.to_owned()),
        ];
        let files = files.map(|(path, text)| (path.to_owned(), text.into_bytes()));
        Imagining::of(&Files::new(HashMap::from(files))).unwrap()
    }

    #[test]
    fn a_pipelines_class_says_how_it_goes_where_the_request_does_not() {
        let work = |class: &str| imagining(class).work(&Default::default(), 0).unwrap();
        let ddpm = work("DDPMPipeline");
        assert_eq!(
            (ddpm.scheduler.class_name(), ddpm.schedule.steps),
            ("DDPMScheduler", Steps::Count(1000))
        );
        let ddim = work("DDIMPipeline");
        assert_eq!(
            (ddim.scheduler.class_name(), ddim.schedule.steps),
            ("DDIMScheduler", Steps::Count(50))
        );
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_field() {
        let none = UnconditionalImageGenerationOptions::default;
        let imagining = imagining("DDPMPipeline");
        for (asked, field) in [
            (
                UnconditionalImageGenerationOptions { num_inference_steps: Some(0), ..none() },
                "num_inference_steps",
            ),
            (
                UnconditionalImageGenerationOptions { num_inference_steps: Some(1001), ..none() },
                "num_inference_steps",
            ),
            (UnconditionalImageGenerationOptions { num_images: Some(0), ..none() }, "num_images"),
            (UnconditionalImageGenerationOptions { eta: Some(f64::NAN), ..none() }, "eta"),
            (
                UnconditionalImageGenerationOptions {
                    scheduler: Some("karma".to_owned()),
                    ..none()
                },
                "scheduler",
            ),
        ] {
            let Err(failure) = imagining.work(&asked, 0) else { panic!("{field}") };
            assert_eq!(failure.field, format!("options.{field}"));
        }
    }
}

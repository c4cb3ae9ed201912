//! What a request wants of its pictures, and what a pipeline does where it says nothing.

use proto::TextToImageOptions;
use serde_json::Value;

use super::{
    super::{Files, pictures},
    role::Role,
};
use crate::{
    failure::Failure,
    media::OutputFormat,
    models::diffusion::{Family, PipelineClass},
    schedulers::{self, SchedulerConfig, Steps},
};

const MOST_GUIDANCE: f64 = 100.0;
/// Either way: what is added can also be taken away.
const MOST_ADAPTER_SCALE: f64 = 10.0;

/// What the repository says.
pub(super) struct Defaults {
    pub family: Family,
    /// Height and width.
    size: [usize; 2],
    /// Pixels of the longest side that it can paint, where there is one.
    longest: Option<usize>,
    /// What height and width are multiples of.
    pub factor: usize,
    guidance_scale: f64,
    /// The network is told the strength of guidance, and needs no second look.
    is_distilled: bool,
    /// It is neither told the strength of guidance nor takes a second look by it.
    is_untold: bool,
    /// The levels of noise are the pipeline's, and not the scheduler's.
    own_levels: bool,
    /// Of the text encoder that has fewest, as far as they may be skipped.
    layers: usize,
    /// Without a negative prompt the guidance is away from nothing, rather than from an empty text.
    pub no_text_is_nothing: bool,
    pub role: Role,
    /// The network is told how beautiful a picture should be.
    pub is_scored: bool,
    /// How much of a picture is changed, without a mask.
    pub strength: f64,
    /// The pipeline has a ControlNet.
    pub follows: bool,
}

impl Defaults {
    pub(super) fn of(files: &Files) -> Result<Self, Failure> {
        let json = |path: &str| files.json(path).map(Option::unwrap_or_default);
        let index = json("model_index.json")?;
        let class = PipelineClass::of(&index);
        let family = class.family;
        let (unet, vae) =
            (json(&format!("{}/config.json", family.denoiser()))?, json("vae/config.json")?);
        let is_set = |name: &str| unet.get(name).is_some_and(|value| !value.is_null());
        let is_flux = family == Family::Flux;
        // Networks that look at sizes use the layer before the last, whatever is skipped; Stable Diffusion 3 does too.
        let is_late = is_set("addition_embed_type");
        let skips_last = is_late || family == Family::StableDiffusion3;
        let blocks = vae.get("block_out_channels").and_then(Value::as_array).map_or(1, Vec::len);
        let factor = 1 << blocks.clamp(1, 16).saturating_sub(1);
        let patch = family.patch(&unet);
        let scheduler = json("scheduler/scheduler_config.json")?;
        let has_flow_levels = scheduler.get("use_flow_sigmas").and_then(Value::as_bool);
        let mut layers = Vec::new();
        for encoder in ["text_encoder/config.json", "text_encoder_2/config.json"] {
            if let Some(config) = files.json(encoder)? {
                let named = config.get("num_hidden_layers").and_then(Value::as_u64);
                layers.push(named.map_or(12, |layers| layers as usize));
            }
        }
        let layers = layers.into_iter().min().unwrap_or(0);
        let zeros = index.get("force_zeros_for_empty_prompt").and_then(Value::as_bool);
        Ok(Self {
            size: match family.side(&unet) {
                Some(latents) => [latents * factor; 2],
                None => size(&unet, &vae, factor),
            },
            longest: family.longest(&unet).map(|latents| latents * factor),
            factor: factor * patch,
            guidance_scale: class.guidance_scale.unwrap_or(if is_late { 5.0 } else { 7.5 }),
            is_distilled: is_set("time_cond_proj_dim"),
            is_untold: is_flux && unet["guidance_embeds"] != true,
            own_levels: is_flux && has_flow_levels != Some(true),
            layers: if skips_last { layers.saturating_sub(1) } else { layers },
            role: match family {
                Family::StableDiffusion => Role::of(&index, &unet, &vae),
                Family::StableDiffusion3 | Family::Flux => Role::Paints,
            },
            is_scored: class.is_scored(&index),
            strength: class.strength,
            no_text_is_nothing: is_late && zeros.unwrap_or(true),
            family,
            follows: index["controlnet"][1].is_string(),
        })
    }

    /// Whether every step looks at the negative prompt too.
    pub(super) fn guides(&self, guidance_scale: f64) -> bool {
        guidance_scale > 1.0 && !self.is_distilled
    }

    fn steps(&self) -> usize {
        self.role.n_steps().unwrap_or(self.family.steps())
    }

    /// Steps where a picture is changed.
    pub(super) fn steps_of_changes(&self) -> usize {
        self.role.n_steps().unwrap_or(self.family.steps_of_changes())
    }

    /// The schedule of a request for pictures of that size.
    pub(super) fn schedule(
        &self,
        asked: schedulers::Request,
        [height, width]: [usize; 2],
        scheduler: &SchedulerConfig,
    ) -> schedulers::Request {
        let tokens = (height / self.factor) * (width / self.factor);
        let steps = match asked.steps {
            Steps::Count(steps) if self.own_levels => Steps::even(steps),
            steps => steps,
        };
        let mu = match self.family {
            Family::StableDiffusion => asked.mu,
            Family::StableDiffusion3 | Family::Flux => scheduler.shift_for(tokens),
        };
        schedulers::Request { steps, mu, ..asked }
    }

    /// Refuses a side that is longer than the model can paint; `fields` are those of height and width.
    pub(super) fn check_longest(&self, size: [usize; 2], fields: [&str; 2]) -> Result<(), Failure> {
        let longest = self.longest.unwrap_or(usize::MAX);
        match size.into_iter().zip(fields).find(|(side, _)| *side > longest) {
            Some((side, field)) => {
                let message = format!("is {side} pixels, the model paints {longest} at most");
                Err(Failure::invalid(field, message).number("limit", longest as u64))
            }
            None => Ok(()),
        }
    }

    /// How far steps are led away from the negative prompt, and the strength of guidance that the network is told.
    fn guidance(&self, asked: &TextToImageOptions) -> Result<[f64; 2], Failure> {
        let told = guidance("options.guidance_scale", asked.guidance_scale, self.guidance_scale)?;
        if self.family != Family::Flux {
            return Ok([told, told]);
        }
        if self.is_untold && asked.guidance_scale.is_some_and(|scale| scale > 1.0) {
            let message = format!("is {told}, and this model knows of no guidance");
            return Err(Failure::invalid("options.guidance_scale", message));
        }
        Ok([guidance("options.true_cfg_scale", asked.true_cfg_scale, 1.0)?, told])
    }
}

/// Height and width that the pipeline was trained on.
fn size(unet: &Value, vae: &Value, factor: usize) -> [usize; 2] {
    match sample_size(unet) {
        Some(latents) => latents.map(|side| side * factor),
        None => sample_size(vae).unwrap_or([512, 512]),
    }
}

/// Height and width of what a network was trained on, where its config says it.
pub(super) fn sample_size(config: &Value) -> Option<[usize; 2]> {
    let side = |value: &Value| Some(usize::try_from(value.as_u64()?).ok()?.min(1 << 16));
    match config.get("sample_size")? {
        Value::Array(sides) => Some([side(sides.first()?)?, side(sides.get(1)?)?]),
        both => side(both).map(|side| [side, side]),
    }
}

/// What the request says, checked.
pub(super) struct Options {
    pub schedule: schedulers::Request,
    /// One in place of the pipeline's own.
    pub scheduler: Option<String>,
    pub guidance_scale: f64,
    pub told_guidance: f64,
    /// Tokens that T5 reads, where there is one.
    pub max_sequence_length: Option<usize>,
    pub guidance_rescale: f64,
    /// Height and width.
    pub size: [usize; 2],
    pub seed: Option<u64>,
    pub n_images: usize,
    pub preview_every: usize,
    pub clip_skip: usize,
    pub truncate: bool,
    pub format: OutputFormat,
    pub adapter_scale: f64,
}

impl Options {
    pub(super) fn read(asked: &TextToImageOptions, defaults: &Defaults) -> Result<Self, Failure> {
        let n_steps = asked.num_inference_steps.map_or(Ok(defaults.steps()), steps)?;
        let [guidance_scale, told_guidance] = defaults.guidance(asked)?;
        defaults.family.check(asked)?;
        let eta = share("options.eta", asked.eta)?;
        let guidance_rescale = share("options.guidance_rescale", asked.guidance_rescale)?;
        let n_images = n_images(asked.num_images)?;
        let clip_skip = asked.clip_skip.unwrap_or(0) as usize;
        if clip_skip >= defaults.layers {
            let message =
                format!("is {clip_skip}, the text encoder has {} layers", defaults.layers);
            let failure = Failure::invalid("options.clip_skip", message);
            return Err(failure.number("limit", defaults.layers.saturating_sub(1) as u64));
        }
        let adapter_scale = adapter_scale(asked)?;
        let size = sides(asked, defaults)?;
        let format = pictures::format(asked.format.as_deref(), asked.quality)?;
        pictures::check_sides(format, size.map(|side| side as u32))?;
        Ok(Self {
            schedule: schedulers::Request { steps: Steps::Count(n_steps), eta, mu: None },
            scheduler: asked.scheduler.clone(),
            guidance_scale,
            told_guidance,
            max_sequence_length: defaults.family.max_sequence_length(asked)?,
            guidance_rescale,
            size,
            seed: asked.seed,
            n_images,
            preview_every: asked.preview_every.unwrap_or(0) as usize,
            clip_skip,
            truncate: asked.truncate.unwrap_or(false),
            format,
            adapter_scale,
        })
    }
}

/// How much of its adapter a request wants.
fn adapter_scale(asked: &TextToImageOptions) -> Result<f64, Failure> {
    let field = "options.adapter_scale";
    match (asked.adapter_scale, &asked.adapter) {
        (None, _) => Ok(1.0),
        (Some(_), None) => Err(Failure::invalid(field, "says how much of no options.adapter")),
        (Some(scale), Some(_)) if scale.abs() <= MOST_ADAPTER_SCALE => Ok(scale),
        (Some(scale), Some(_)) => {
            let most = MOST_ADAPTER_SCALE;
            Err(Failure::invalid(field, format!("is {scale}, expected -{most} to {most}")))
        }
    }
}

/// 0 where the request says nothing.
pub(super) fn share(field: &str, asked: Option<f64>) -> Result<f64, Failure> {
    let share = asked.unwrap_or(0.0);
    if (0.0..=1.0).contains(&share) {
        return Ok(share);
    }
    Err(Failure::invalid(field, format!("is {share}, expected 0 to 1")))
}

/// How closely something is followed.
pub(super) fn guidance(field: &str, asked: Option<f64>, usual: f64) -> Result<f64, Failure> {
    let scale = asked.unwrap_or(usual);
    if !(0.0..=MOST_GUIDANCE).contains(&scale) {
        let message = format!("is {scale}, expected 0 to {MOST_GUIDANCE}");
        return Err(Failure::invalid(field, message));
    }
    Ok(scale)
}

/// A number of steps.
pub(super) fn steps(asked: u32) -> Result<usize, Failure> {
    at_least_one("num_inference_steps", asked)
}

pub(super) fn n_images(asked: Option<u32>) -> Result<usize, Failure> {
    asked.map_or(Ok(1), |images| at_least_one("num_images", images))
}

/// A count; how much it may be is the operator's choice, see [`crate::tasks::Limits`].
fn at_least_one(name: &str, value: u32) -> Result<usize, Failure> {
    match value {
        0 => Err(Failure::invalid(&format!("options.{name}"), "is 0, expected 1 or more")),
        value => Ok(value as usize),
    }
}

/// Height and width of the pictures.
fn sides(asked: &TextToImageOptions, defaults: &Defaults) -> Result<[usize; 2], Failure> {
    let mut size = defaults.size;
    for (side, asked, field) in
        [(0, asked.height, "options.height"), (1, asked.width, "options.width")]
    {
        let Some(pixels) = asked else { continue };
        let (pixels, factor) = (pixels as usize, defaults.factor);
        if pixels == 0 || !pixels.is_multiple_of(factor) {
            let message = format!("is {pixels}, expected a multiple of {factor}");
            return Err(Failure::invalid(field, message).number("multiple_of", factor as u64));
        }
        size[side] = pixels;
    }
    defaults.check_longest(size, ["options.height", "options.width"])?;
    Ok(size)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn defaults(unet: &str) -> Defaults {
        let files = [
            ("unet/config.json", unet),
            ("vae/config.json", r#"{"block_out_channels": [1, 2, 3, 4]}"#),
            ("text_encoder/config.json", r#"{"num_hidden_layers": 3}"#),
        ];
        let files = files.map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()));
        Defaults::of(&Files::new(HashMap::from(files))).unwrap()
    }

    #[test]
    fn a_pipeline_paints_what_it_was_trained_on() {
        let plain = defaults(r#"{"sample_size": 64}"#);
        assert_eq!((plain.size, plain.factor, plain.layers), ([512, 512], 8, 3));
        assert!(plain.guides(1.5) && !plain.guides(1.0) && !plain.no_text_is_nothing);
        let late = defaults(r#"{"sample_size": [96, 128], "addition_embed_type": "text_time"}"#);
        assert_eq!((late.size, late.guidance_scale, late.layers), ([768, 1024], 5.0, 2));
        assert!(late.no_text_is_nothing);
        assert!(!defaults(r#"{"time_cond_proj_dim": 256}"#).guides(7.5));
    }

    #[test]
    fn what_cannot_be_is_refused_by_its_field() {
        let defaults = defaults(r#"{"sample_size": 64}"#);
        let none = TextToImageOptions::default;
        for (asked, field) in [
            (TextToImageOptions { num_inference_steps: Some(0), ..none() }, "num_inference_steps"),
            (TextToImageOptions { guidance_scale: Some(f64::NAN), ..none() }, "guidance_scale"),
            (TextToImageOptions { guidance_scale: Some(-1.0), ..none() }, "guidance_scale"),
            (TextToImageOptions { width: Some(500), ..none() }, "width"),
            (TextToImageOptions { height: Some(0), ..none() }, "height"),
            (TextToImageOptions { num_images: Some(0), ..none() }, "num_images"),
            (TextToImageOptions { clip_skip: Some(3), ..none() }, "clip_skip"),
            (TextToImageOptions { eta: Some(1.5), ..none() }, "eta"),
            (TextToImageOptions { guidance_rescale: Some(-0.1), ..none() }, "guidance_rescale"),
            (TextToImageOptions { guidance_rescale: Some(f64::NAN), ..none() }, "guidance_rescale"),
            (TextToImageOptions { format: Some("gif".to_owned()), ..none() }, "format"),
            (TextToImageOptions { quality: Some(50), ..none() }, "quality"),
            (
                TextToImageOptions { quality: Some(0), format: Some("jpeg".to_owned()), ..none() },
                "quality",
            ),
            (TextToImageOptions { adapter_scale: Some(0.5), ..none() }, "adapter_scale"),
            (
                TextToImageOptions {
                    adapter_scale: Some(f64::NAN),
                    adapter: Some("a/b".to_owned()),
                    ..none()
                },
                "adapter_scale",
            ),
        ] {
            let Err(failure) = Options::read(&asked, &defaults) else { panic!("{field}") };
            assert_eq!(failure.field, format!("options.{field}"));
        }
        let options = Options::read(&none(), &defaults).unwrap();
        assert_eq!((options.size, options.n_images, options.guidance_scale), ([512, 512], 1, 7.5));
    }
}

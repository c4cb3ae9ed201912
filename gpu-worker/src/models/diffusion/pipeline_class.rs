//! What a class of pipelines means beyond the configs of its components: the one table of their names.
//!
//! Reference: the defaults and corrections in the `__init__` and `__call__` of each pipeline of `diffusers`.

use serde_json::Value;

/// What kind of networks a pipeline is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// A U-Net, and texts that CLIP reads.
    StableDiffusion,
    /// A transformer of texts and latents, and texts that CLIP and mostly T5 read.
    StableDiffusion3,
    /// The same with single blocks after the joint ones.
    Flux,
}

/// One class of `model_index.json`.
#[derive(Debug)]
pub struct PipelineClass {
    name: &'static str,
    pub family: Family,
    /// It paints after a picture, by a ControlNet of its own.
    pub follows: bool,
    /// It makes a small picture larger, which its network looks at.
    pub enlarges: bool,
    /// Its network is told how beautiful a picture is, where the index says so.
    pub may_be_scored: bool,
    /// How closely a text is followed where a request does not say it; `None`: as usual for such networks.
    pub guidance_scale: Option<f64>,
    /// How much of a picture is changed where a request does not say it, without a mask, above 0 and to 1.
    pub strength: f64,
    /// What is put in place of the latents' scale of the autoencoder's config.
    pub latents_scale: Option<f64>,
    /// What the oldest schedulers say and its training did not do, beside `steps_offset`, which is 1.
    pub corrects: Option<(&'static str, bool)>,
    /// The class of scheduler that it always has, whatever it was trained with.
    pub scheduler: Option<&'static str>,
}

const USUAL: PipelineClass = PipelineClass {
    name: "",
    family: Family::StableDiffusion,
    follows: false,
    enlarges: false,
    may_be_scored: false,
    guidance_scale: None,
    strength: 0.75,
    latents_scale: None,
    corrects: None,
    scheduler: None,
};

const NO_CLIPPING: Option<(&str, bool)> = Some(("clip_sample", false));

/// Those that are not as usual.
const CLASSES: &[PipelineClass] = &[
    PipelineClass { name: "StableDiffusionPipeline", corrects: NO_CLIPPING, ..USUAL },
    PipelineClass { name: "StableDiffusionImg2ImgPipeline", corrects: NO_CLIPPING, ..USUAL },
    PipelineClass {
        name: "StableDiffusionInpaintPipeline",
        corrects: Some(("skip_prk_steps", true)),
        ..USUAL
    },
    PipelineClass { name: "StableDiffusionControlNetPipeline", follows: true, ..USUAL },
    PipelineClass { name: "StableDiffusionControlNetImg2ImgPipeline", follows: true, ..USUAL },
    PipelineClass { name: "StableDiffusionControlNetInpaintPipeline", follows: true, ..USUAL },
    PipelineClass {
        name: "StableDiffusionUpscalePipeline",
        enlarges: true,
        guidance_scale: Some(9.0),
        latents_scale: Some(0.08333),
        ..USUAL
    },
    PipelineClass {
        name: "StableDiffusionXLImg2ImgPipeline",
        may_be_scored: true,
        strength: 0.3,
        ..USUAL
    },
    PipelineClass {
        name: "StableDiffusionXLInpaintPipeline",
        may_be_scored: true,
        guidance_scale: Some(7.5),
        ..USUAL
    },
    PipelineClass {
        name: "StableDiffusion3Pipeline",
        family: Family::StableDiffusion3,
        guidance_scale: Some(7.0),
        ..USUAL
    },
    PipelineClass {
        name: "FluxPipeline",
        family: Family::Flux,
        guidance_scale: Some(3.5),
        ..USUAL
    },
    PipelineClass { name: "DDIMPipeline", scheduler: Some("DDIMScheduler"), ..USUAL },
];

impl PipelineClass {
    /// By the class that `model_index.json` names.
    pub fn of(index: &Value) -> &'static Self {
        Self::named(index.get("_class_name").and_then(Value::as_str).unwrap_or_default())
    }

    pub fn named(name: &str) -> &'static Self {
        CLASSES.iter().find(|class| class.name == name).unwrap_or(&USUAL)
    }

    /// Whether the network of this pipeline is told how beautiful a picture is.
    pub fn is_scored(&self, index: &Value) -> bool {
        let says = index.get("requires_aesthetics_score").and_then(Value::as_bool);
        self.may_be_scored && says.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_family_is_told_by_its_class() {
        let of = |class: &str| PipelineClass::of(&json!({"_class_name": class})).family;
        assert_eq!(of("FluxPipeline"), Family::Flux);
        assert_eq!(of("StableDiffusion3Pipeline"), Family::StableDiffusion3);
        assert_eq!(of("StableDiffusionXLPipeline"), Family::StableDiffusion);
    }

    #[test]
    fn every_name_is_there_once_and_known() {
        for (at, class) in CLASSES.iter().enumerate() {
            let is_known = |known: &crate::models::Architecture| known.model_type == class.name;
            assert!(crate::models::ARCHITECTURES.iter().any(is_known), "{}", class.name);
            assert!(CLASSES[at + 1..].iter().all(|other| other.name != class.name));
        }
    }
}

//! Stable Diffusion: pictures from texts, and after a picture where there is a ControlNet, by a U-Net on an
//! autoencoder's latents
//! (Rombach et al., 2022, <https://arxiv.org/abs/2112.10752>; Podell et al., 2023, <https://arxiv.org/abs/2307.01952>).
//!
//! Reference: `diffusers/pipelines/stable_diffusion/pipeline_stable_diffusion.py` and
//! `stable_diffusion_xl/pipeline_stable_diffusion_xl.py`.

use tch::{Device, Tensor};

use super::{
    Added, AutoencoderKl, Beside, ClipText, Condition, ControlNet, ImageGenerator, Prompt,
    SafetyChecker, Surroundings, TextLimits, Unet2dCondition, components::Components,
    embeddings::Waves,
};
use crate::{
    layers::Step,
    models::{Architecture, LoadError, Model, ModelKind, unsupported},
    weights::{Rename, Weights},
};

pub(in crate::models) const STABLE_DIFFUSION: Architecture =
    architecture("StableDiffusionPipeline");
pub(in crate::models) const STABLE_DIFFUSION_IMG2IMG: Architecture =
    architecture("StableDiffusionImg2ImgPipeline");
pub(in crate::models) const STABLE_DIFFUSION_INPAINT: Architecture =
    architecture("StableDiffusionInpaintPipeline");
pub(in crate::models) const INSTRUCT_PIX2PIX: Architecture =
    architecture("StableDiffusionInstructPix2PixPipeline");
pub(in crate::models) const STABLE_DIFFUSION_UPSCALE: Architecture =
    architecture("StableDiffusionUpscalePipeline");
pub(in crate::models) const STABLE_DIFFUSION_XL: Architecture =
    architecture("StableDiffusionXLPipeline");
pub(in crate::models) const CONTROL_NET: Architecture =
    architecture("StableDiffusionControlNetPipeline");
pub(in crate::models) const CONTROL_NET_IMG2IMG: Architecture =
    architecture("StableDiffusionControlNetImg2ImgPipeline");
pub(in crate::models) const CONTROL_NET_INPAINT: Architecture =
    architecture("StableDiffusionControlNetInpaintPipeline");
pub(in crate::models) const STABLE_DIFFUSION_XL_IMG2IMG: Architecture =
    architecture("StableDiffusionXLImg2ImgPipeline");
pub(in crate::models) const STABLE_DIFFUSION_XL_INPAINT: Architecture =
    architecture("StableDiffusionXLInpaintPipeline");

/// Old spellings of the components' tensors: what holds a text encoder together, and attention in an autoencoder.
pub(super) const RENAMES: &[Rename] = &[
    Rename::Part { from: ".text_model.", to: "." },
    Rename::Part { from: "vision_model.vision_model.", to: "vision_model." },
    Rename::Part { from: ".query.", to: ".to_q." },
    Rename::Part { from: ".key.", to: ".to_k." },
    Rename::Part { from: ".value.", to: ".to_v." },
    Rename::Part { from: ".proj_attn.", to: ".to_out.0." },
];

const fn architecture(class: &'static str) -> Architecture {
    Architecture {
        model_type: class,
        kinds: &[ModelKind::ImageGenerator],
        renames: RENAMES,
        ignored: &["embeddings.position_ids"],
        load,
    }
}

fn load(config: &str, _kind: ModelKind, weights: &Weights) -> Result<Model, LoadError> {
    Ok(Model::ImageGenerator(Box::new(StableDiffusion::load(config, weights)?)))
}

/// Networks that a pipeline may have.
const COMPONENTS: &[&str] =
    &["controlnet", "safety_checker", "text_encoder", "text_encoder_2", "unet", "vae"];

/// A text encoder of CLIP's, and whether it projects what it makes of a whole text.
const TEXT_ENCODERS: [(&str, bool); 2] =
    [("CLIPTextModel", false), ("CLIPTextModelWithProjection", true)];

/// How finely a network that was distilled reads the strength of guidance.
const GUIDANCE_UNITS: f64 = 1000.0;

pub struct StableDiffusion {
    text_encoders: Vec<ClipText>,
    unet: Unet2dCondition,
    control_net: Option<ControlNet>,
    vae: AutoencoderKl,
    safety_checker: Option<SafetyChecker>,
    beside: Beside,
    wants_score: bool,
}

impl StableDiffusion {
    /// `config` is the document of the whole pipeline, and tensors begin with the names of their components.
    pub fn load(config: &str, weights: &Weights) -> Result<Self, LoadError> {
        let components = Components::parse(config)?;
        components.refuse_others(COMPONENTS)?;
        let mut text_encoders = Vec::new();
        for name in ["text_encoder", "text_encoder_2"] {
            if !components.has(name) {
                continue;
            }
            let encoder = components.load(name, |class, config| {
                let known = TEXT_ENCODERS.iter().find(|(known, _)| *known == class);
                let (_, projects) = known?;
                Some(ClipText::load(config, *projects, &weights.at(name)))
            })?;
            text_encoders.push(encoder);
        }
        let unet = components.load("unet", |class, config| {
            (class == "UNet2DConditionModel")
                .then(|| Unet2dCondition::load(config, &weights.at("unet")))
        })?;
        let control_net = components.has("controlnet").then(|| {
            components.load("controlnet", |class, config| {
                let weights = weights.at("controlnet").without_adapters();
                (class == "ControlNetModel").then(|| ControlNet::load(config, &weights))
            })
        });
        let vae = components.load("vae", |class, config| {
            (class == "AutoencoderKL")
                .then(|| AutoencoderKl::load(config, &weights.at("vae").without_adapters()))
        })?;
        let class = components.pipeline();
        let vae = match class.latents_scale {
            Some(scale) => vae.with_scaling_factor(scale),
            None => vae,
        };
        if text_encoders.is_empty() {
            return Err(LoadError::MissingComponent { component: "text_encoder".to_owned() });
        }
        let safety_checker = components.has("safety_checker").then(|| {
            components.load("safety_checker", |class, config| {
                let weights = weights.at("safety_checker").without_adapters();
                (class == "StableDiffusionSafetyChecker")
                    .then(|| SafetyChecker::load(config, &weights))
            })
        });
        let beside = beside(&unet, &vae)?;
        let (control_net, safety_checker) = (control_net.transpose()?, safety_checker.transpose()?);
        let wants_score = class.may_be_scored && components.flag("requires_aesthetics_score");
        let model =
            Self { text_encoders, unet, control_net, vae, safety_checker, beside, wants_score };
        model.check()?;
        model.check_control_net(class.follows)?;
        Ok(model)
    }

    /// The components must fit together.
    fn check(&self) -> Result<(), LoadError> {
        let text_dim: i64 = self.text_encoders.iter().map(ClipText::dim).sum();
        let unet = &self.unet;
        if text_dim != unet.text_dim() {
            return Err(unsupported("cross_attention_dim", unet.text_dim()));
        }
        if unet.out_channels() != self.vae.latent_channels() {
            return Err(unsupported("out_channels", unet.out_channels()));
        }
        if self.vae.in_channels() != 3 {
            return Err(unsupported("in_channels", self.vae.in_channels()));
        }
        if unet.wants_class() && self.beside != Beside::SmallPicture {
            return Err(unsupported("class_embed_type", "a class"));
        }
        if self.wants_score && !unet.wants_added() {
            return Err(unsupported("requires_aesthetics_score", true));
        }
        if unet.added_dim().is_some_and(|dim| Some(dim) != self.known_added_dim()) {
            let field = "projection_class_embeddings_input_dim";
            return Err(unsupported(field, unet.added_dim().unwrap_or_default()));
        }
        Ok(())
    }

    fn check_control_net(&self, is_expected: bool) -> Result<(), LoadError> {
        match &self.control_net {
            Some(network) => self.fits(network),
            None if is_expected => {
                Err(LoadError::MissingComponent { component: "controlnet".to_owned() })
            }
            None => Ok(()),
        }
    }

    fn known_added_dim(&self) -> Option<i64> {
        Some(self.last_encoder().pooled_dim() + self.n_numbers()? * self.unet.number_dim()?)
    }

    fn last_encoder(&self) -> &ClipText {
        self.text_encoders.last().expect("a model that was loaded has a text encoder")
    }
}

/// By the channels that the network has beside those of the latents.
fn beside(unet: &Unet2dCondition, vae: &AutoencoderKl) -> Result<Beside, LoadError> {
    let latents = vae.latent_channels();
    match unet.in_channels() - latents {
        0 => Ok(Beside::Nothing),
        more if more == latents + 1 => Ok(Beside::Mask),
        more if more == vae.in_channels() && unet.n_classes().is_some() => Ok(Beside::SmallPicture),
        more if more == latents => Ok(Beside::Picture),
        _ => Err(unsupported("in_channels", unet.in_channels())),
    }
}

impl ImageGenerator for StableDiffusion {
    fn encode(&self, ids: &[Tensor], skipped: usize, step: &Step) -> Prompt {
        // Later networks always do without the last layer, and its norm.
        let is_late = self.unet.wants_added();
        let skipped = if is_late { skipped + 1 } else { skipped };
        let encoded: Vec<_> = self
            .text_encoders
            .iter()
            .zip(ids)
            .map(|(encoder, ids)| encoder.encode(ids, skipped, step))
            .collect();
        let texts: Vec<Tensor> = encoded
            .iter()
            .zip(&self.text_encoders)
            .map(|(encoded, encoder)| match is_late {
                true => encoded.hidden.shallow_clone(),
                false => encoder.normed(&encoded.hidden, step),
            })
            .collect();
        let pooled = encoded.into_iter().next_back().expect("there is a text encoder").pooled;
        Prompt { text: Tensor::cat(&texts, -1), pooled }
    }

    fn denoise(
        &self,
        latents: &Tensor,
        times: &Tensor,
        prompt: &Prompt,
        surroundings: &Surroundings,
        step: &Step,
    ) -> Tensor {
        let added = surroundings.numbers.map(|numbers| Added { text: &prompt.pooled, numbers });
        let condition = Condition {
            text: &prompt.text,
            class: surroundings.noise_levels,
            added,
            guidance: surroundings.guidance,
        };
        self.unet.controlled(latents, times, &condition, surroundings.control, step)
    }

    fn control_net(&self) -> Option<&ControlNet> {
        self.control_net.as_ref()
    }

    fn fits(&self, network: &ControlNet) -> Result<(), LoadError> {
        let refused = |field, value: i64| {
            let source = Box::new(unsupported(field, value));
            Err(LoadError::Component { component: "controlnet".to_owned(), source })
        };
        let (unet, vae) = (&self.unet, &self.vae);
        if network.text_dim() != unet.text_dim() {
            return refused("cross_attention_dim", network.text_dim());
        }
        let sees_pictures = matches!(self.beside, Beside::Picture | Beside::SmallPicture);
        if network.in_channels() != vae.latent_channels() || sees_pictures {
            return refused("in_channels", network.in_channels());
        }
        if network.picture_channels() != 3 {
            return refused("conditioning_channels", network.picture_channels());
        }
        if network.factor() != vae.factor() {
            return refused("conditioning_embedding_out_channels", network.factor());
        }
        if network.channels() != unet.controlled_channels() {
            return refused("block_out_channels", network.channels().1.unwrap_or_default());
        }
        Ok(())
    }

    fn takes_adapters(&self) -> bool {
        true
    }

    fn text_limits(&self) -> Vec<TextLimits> {
        self.text_encoders.iter().map(TextLimits::of_clip).collect()
    }

    fn safety_checker(&self) -> Option<&SafetyChecker> {
        self.safety_checker.as_ref()
    }

    fn vae(&self) -> &AutoencoderKl {
        &self.vae
    }

    fn n_numbers(&self) -> Option<i64> {
        let n = if self.wants_score { 5 } else { 6 };
        self.unet.wants_added().then_some(n)
    }

    fn wants_score(&self) -> bool {
        self.wants_score
    }

    fn guidance(&self, scale: f64, device: Device) -> Option<Tensor> {
        let dim = self.unet.guidance_dim()?;
        let waves = Waves { dim, cos_first: false, freq_shift: 1.0 };
        let strength = (scale - 1.0) * GUIDANCE_UNITS;
        Some(waves.forward(&Tensor::from_slice(&[strength as f32]).to_device(device)))
    }

    fn layers(&self) -> usize {
        let layers = self.text_encoders.iter().map(ClipText::n_layers).min().unwrap_or(0);
        if self.unet.wants_added() { layers.saturating_sub(1) } else { layers }
    }

    fn n_noise_levels(&self) -> Option<i64> {
        self.unet.n_classes().filter(|_| self.beside == Beside::SmallPicture)
    }

    fn beside(&self) -> Beside {
        self.beside
    }

    fn in_channels(&self) -> i64 {
        self.unet.in_channels()
    }

    fn picture_size(&self) -> [i64; 2] {
        match self.unet.sample_size() {
            Some(sides) => sides.map(|side| side * self.vae.factor()),
            None => self.vae.sample_size(),
        }
    }
}

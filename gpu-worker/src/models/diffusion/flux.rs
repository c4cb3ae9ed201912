//! FLUX: pictures from texts by a transformer on an autoencoder's latents, T5 reads the text and CLIP what it is about
//! (Black Forest Labs, 2024, <https://github.com/black-forest-labs/flux>).
//!
//! Reference: `diffusers/pipelines/flux/pipeline_flux.py`.

use tch::{Device, Tensor};

use super::{
    AutoencoderKl, ClipText, FluxTransformer, ImageGenerator, Prompt, Surroundings, TextLimits,
    components::Components, flux_transformer::PACKED, stable_diffusion::RENAMES,
};
use crate::{
    layers::Step,
    models::{
        Architecture, LoadError, Model, ModelKind, TextEncoder, TextModel, check_fits,
        t5::T5Encoder,
    },
    weights::Weights,
};

pub(in crate::models) const FLUX: Architecture = Architecture {
    model_type: "FluxPipeline",
    kinds: &[ModelKind::ImageGenerator],
    renames: RENAMES,
    ignored: &["embeddings.position_ids", "shared.weight"],
    load: |config, _kind, weights| {
        Ok(Model::ImageGenerator(Box::new(Flux::load(config, weights)?)))
    },
};

/// Networks that a pipeline has.
const COMPONENTS: &[&str] = &["text_encoder", "text_encoder_2", "transformer", "vae"];

/// Latents on a side of the pictures it was trained on, which no config says.
const SAMPLE_SIZE: i64 = 128;

struct Flux {
    text_encoder: ClipText,
    text_encoder_2: T5Encoder,
    transformer: FluxTransformer,
    vae: AutoencoderKl,
}

impl Flux {
    /// `config` is the document of the whole pipeline, and tensors begin with the names of their components.
    fn load(config: &str, weights: &Weights) -> Result<Self, LoadError> {
        let components = Components::parse(config)?;
        components.refuse_others(COMPONENTS)?;
        let model = Self {
            text_encoder: components.load("text_encoder", |class, config| {
                (class == "CLIPTextModel")
                    .then(|| ClipText::load(config, false, &weights.at("text_encoder")))
            })?,
            text_encoder_2: components.load("text_encoder_2", |class, config| {
                (class == "T5EncoderModel")
                    .then(|| T5Encoder::load(config, &weights.at("text_encoder_2")))
            })?,
            transformer: components.load("transformer", |class, config| {
                (class == "FluxTransformer2DModel")
                    .then(|| FluxTransformer::load(config, &weights.at("transformer")))
            })?,
            vae: components.load("vae", |class, config| {
                (class == "AutoencoderKL").then(|| AutoencoderKl::load(config, &weights.at("vae")))
            })?,
        };
        model.check()?;
        Ok(model)
    }

    /// The components must fit together.
    fn check(&self) -> Result<(), LoadError> {
        let Self { text_encoder, text_encoder_2, transformer, vae } = self;
        check_fits("joint_attention_dim", transformer.text_dim(), text_encoder_2.dim())?;
        check_fits("pooled_projection_dim", transformer.pooled_dim(), text_encoder.pooled_dim())?;
        check_fits("latent_channels", vae.latent_channels(), transformer.latent_channels())?;
        check_fits("in_channels", vae.in_channels(), 3)
    }
}

impl ImageGenerator for Flux {
    fn text_limits(&self) -> Vec<TextLimits> {
        let t5 = TextLimits {
            vocab_size: self.text_encoder_2.vocab_size(),
            context_length: self.text_encoder_2.context_length(),
        };
        vec![TextLimits::of_clip(&self.text_encoder), t5]
    }

    /// Of CLIP only the vector of a whole text counts, which every layer has a part in.
    fn layers(&self) -> usize {
        1
    }

    fn encode(&self, ids: &[Tensor], _skipped: usize, step: &Step) -> Prompt {
        let pooled = self.text_encoder.encode(&ids[0], 0, step).pooled;
        Prompt { text: self.text_encoder_2.hidden(&ids[1], None, step), pooled }
    }

    fn denoise(
        &self,
        latents: &Tensor,
        times: &Tensor,
        prompt: &Prompt,
        surroundings: &Surroundings,
        step: &Step,
    ) -> Tensor {
        let guidance = surroundings.guidance.map(|guidance| guidance.squeeze_dim(1));
        let (text, pooled) = (&prompt.text, &prompt.pooled);
        self.transformer.forward(latents, times, text, pooled, guidance.as_ref(), step)
    }

    fn vae(&self) -> &AutoencoderKl {
        &self.vae
    }

    fn multiple(&self) -> i64 {
        self.vae.factor() * PACKED
    }

    fn picture_size(&self) -> [i64; 2] {
        [SAMPLE_SIZE * self.vae.factor(); 2]
    }

    fn guidance(&self, scale: f64, device: Device) -> Option<Tensor> {
        let scale = || Tensor::from_slice(&[scale as f32]).view([1, 1]).to_device(device);
        self.transformer.is_guided().then(scale)
    }
}

//! Stable Diffusion 3 and 3.5: pictures from texts by a transformer on an autoencoder's latents; two of CLIP's encoders and
//! T5 read the text (Esser et al., 2024, <https://arxiv.org/abs/2403.03206>).
//!
//! Reference: `diffusers/pipelines/stable_diffusion_3/pipeline_stable_diffusion_3.py`.

use tch::Tensor;

use super::{
    AutoencoderKl, ClipText, ImageGenerator, Prompt, Sd3Transformer, Surroundings, TextLimits,
    components::Components, stable_diffusion::RENAMES,
};
use crate::{
    layers::Step,
    models::{
        Architecture, LoadError, Model, ModelKind, TextEncoder, TextModel, check_fits,
        t5::T5Encoder, unsupported,
    },
    weights::Weights,
};

pub(in crate::models) const STABLE_DIFFUSION_3: Architecture = Architecture {
    model_type: "StableDiffusion3Pipeline",
    kinds: &[ModelKind::ImageGenerator],
    renames: RENAMES,
    ignored: &["embeddings.position_ids", "shared.weight"],
    load: |config, _kind, weights| {
        Ok(Model::ImageGenerator(Box::new(StableDiffusion3::load(config, weights)?)))
    },
};

/// Networks that a pipeline may have.
const COMPONENTS: &[&str] =
    &["text_encoder", "text_encoder_2", "text_encoder_3", "transformer", "vae"];

struct StableDiffusion3 {
    clip: [ClipText; 2],
    /// Where the repository has none, its tokens are zeros.
    t5: Option<T5Encoder>,
    transformer: Sd3Transformer,
    vae: AutoencoderKl,
}

impl StableDiffusion3 {
    /// `config` is the document of the whole pipeline, and tensors begin with the names of their components.
    fn load(config: &str, weights: &Weights) -> Result<Self, LoadError> {
        let components = Components::parse(config)?;
        components.refuse_others(COMPONENTS)?;
        let clip = |name| {
            components.load(name, |class, config| {
                (class == "CLIPTextModelWithProjection")
                    .then(|| ClipText::load(config, true, &weights.at(name)))
            })
        };
        let t5 = |name| {
            components.load(name, |class, config| {
                (class == "T5EncoderModel").then(|| T5Encoder::load(config, &weights.at(name)))
            })
        };
        let model = Self {
            clip: [clip("text_encoder")?, clip("text_encoder_2")?],
            t5: components.has("text_encoder_3").then(|| t5("text_encoder_3")).transpose()?,
            transformer: components.load("transformer", |class, config| {
                (class == "SD3Transformer2DModel")
                    .then(|| Sd3Transformer::load(config, &weights.at("transformer")))
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
        let Self { clip, t5, transformer, vae } = self;
        let sum = |of: fn(&ClipText) -> i64| clip.iter().map(of).sum::<i64>();
        if let Some(t5) = t5 {
            check_fits("joint_attention_dim", transformer.text_dim(), t5.dim())?;
        }
        if sum(ClipText::dim) > transformer.text_dim() {
            return Err(unsupported("joint_attention_dim", transformer.text_dim()));
        }
        check_fits("pooled_projection_dim", transformer.pooled_dim(), sum(ClipText::pooled_dim))?;
        check_fits("in_channels", transformer.in_channels(), vae.latent_channels())?;
        check_fits("out_channels", transformer.out_channels(), vae.latent_channels())?;
        check_fits("in_channels", vae.in_channels(), 3)
    }

    /// `[batch, seq, text_dim]`.
    fn read_by_t5(&self, ids: &Tensor, like: &Tensor, step: &Step) -> Tensor {
        match &self.t5 {
            Some(t5) => t5.hidden(ids, None, step),
            None => {
                let (batch, seq) = ids.size2().expect("ids are [batch, seq]");
                let options = (like.kind(), like.device());
                Tensor::zeros([batch, seq, self.transformer.text_dim()], options)
            }
        }
    }
}

impl ImageGenerator for StableDiffusion3 {
    /// Of a missing encoder only the number of tokens counts.
    fn text_limits(&self) -> Vec<TextLimits> {
        let t5 = TextLimits {
            vocab_size: self.t5.as_ref().map_or(1, T5Encoder::vocab_size),
            context_length: i64::MAX,
        };
        self.clip.iter().map(TextLimits::of_clip).chain([t5]).collect()
    }

    /// Texts always do without the last layer.
    fn layers(&self) -> usize {
        self.clip.iter().map(ClipText::n_layers).min().unwrap_or(0).saturating_sub(1)
    }

    fn encode(&self, ids: &[Tensor], skipped: usize, step: &Step) -> Prompt {
        let [first, second] = [0, 1].map(|at| self.clip[at].encode(&ids[at], skipped + 1, step));
        let of_clip = Tensor::cat(&[first.hidden, second.hidden], -1);
        let of_t5 = self.read_by_t5(&ids[2], &of_clip, step);
        let missing = self.transformer.text_dim() - of_clip.size()[2];
        let text = Tensor::cat(&[of_clip.constant_pad_nd([0, missing]), of_t5], 1);
        Prompt { text, pooled: Tensor::cat(&[first.pooled, second.pooled], -1) }
    }

    fn denoise(
        &self,
        latents: &Tensor,
        times: &Tensor,
        prompt: &Prompt,
        _surroundings: &Surroundings,
        step: &Step,
    ) -> Tensor {
        self.transformer.forward(latents, times, &prompt.text, &prompt.pooled, step)
    }

    fn vae(&self) -> &AutoencoderKl {
        &self.vae
    }

    fn multiple(&self) -> i64 {
        self.vae.factor() * self.transformer.patch_size()
    }

    fn largest(&self) -> Option<i64> {
        Some(self.vae.factor() * self.transformer.largest())
    }

    fn picture_size(&self) -> [i64; 2] {
        [self.transformer.sample_size() * self.vae.factor(); 2]
    }
}

//! What paints: it reads texts, takes noise out of latents in view of them, and knows what latents look like.

use tch::{Device, Tensor};

use super::{AutoencoderKl, ClipText, Control, ControlNet, SafetyChecker};
use crate::{layers::Step, models::LoadError};

/// What texts became, one row each.
pub struct Prompt {
    /// `[batch, seq, text_dim]`.
    pub text: Tensor,
    /// `[batch, pooled_dim]`, each text as one vector.
    pub pooled: Tensor,
}

/// What latents are denoised in view of, beside the text.
pub struct Surroundings<'a> {
    /// `[batch, n]`, where the network looks at such.
    pub numbers: Option<&'a Tensor>,
    /// `[batch, guidance_dim]`, where it was told the strength of guidance.
    pub guidance: Option<&'a Tensor>,
    /// `[batch]`, of the picture that the network looks at beside the latents; where it looks at a small one.
    pub noise_levels: Option<&'a Tensor>,
    /// What a ControlNet adds, where there is one.
    pub control: Option<&'a Control>,
}

/// What a network sees beside the latents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    Nothing,
    /// A mask that says what to fill in, and the latents of what stays.
    Mask,
    /// The latents of a picture that is to be changed, not scaled.
    Picture,
    /// A picture as large as the latents, of values -1 to 1, with noise of a level that the network is told.
    SmallPicture,
}

/// The texts that one text encoder reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextLimits {
    /// Every id is below this.
    pub vocab_size: i64,
    /// The most tokens of a text.
    pub context_length: i64,
}

impl TextLimits {
    pub(super) fn of_clip(encoder: &ClipText) -> Self {
        Self { vocab_size: encoder.vocab_size(), context_length: encoder.context_length() }
    }
}

/// Makes pictures of texts.
pub trait ImageGenerator: Send {
    /// What each text encoder reads, in the order of the ids that [`Self::encode`] takes.
    fn text_limits(&self) -> Vec<TextLimits>;

    /// How many layers of the text encoders may be skipped, exclusive.
    fn layers(&self) -> usize;

    /// `ids`: for each text encoder `[batch, seq]`, within [`Self::text_limits`]. `skipped`: how many of the last layers
    /// the texts do without, below [`Self::layers`].
    fn encode(&self, ids: &[Tensor], skipped: usize, step: &Step) -> Prompt;

    /// The noise, or whatever the network was trained to tell, in `[batch, in_channels, height, width]` latents at
    /// `times`, `[batch]`. Sides are multiples of [`Self::multiple`] in pixels.
    fn denoise(
        &self,
        latents: &Tensor,
        times: &Tensor,
        prompt: &Prompt,
        surroundings: &Surroundings,
        step: &Step,
    ) -> Tensor;

    fn vae(&self) -> &AutoencoderKl;

    /// Channels that [`Self::denoise`] takes.
    fn in_channels(&self) -> i64 {
        self.vae().latent_channels()
    }

    /// What the sides of a picture are multiples of, in pixels.
    fn multiple(&self) -> i64 {
        self.vae().factor()
    }

    /// Pixels on the longest side that it can paint, where there is one.
    fn largest(&self) -> Option<i64> {
        None
    }

    /// Pixels on a side of the pictures it was trained on: height and width.
    fn picture_size(&self) -> [i64; 2];

    /// What tells the pictures that must not be shown, where the repository has it.
    fn safety_checker(&self) -> Option<&SafetyChecker> {
        None
    }

    /// What looks at a picture that is painted after, where the pipeline has such.
    fn control_net(&self) -> Option<&ControlNet> {
        None
    }

    /// What a ControlNet tells must fit what it is told to; the error names the field of its config that does not.
    fn fits(&self, _network: &ControlNet) -> Result<(), LoadError> {
        let (component, class) = ("controlnet".to_owned(), "ControlNetModel".to_owned());
        Err(LoadError::UnknownClass { component, class })
    }

    /// Whether LoRA adapters can be added to its layers.
    fn takes_adapters(&self) -> bool {
        false
    }

    /// How many numbers the network is told of a picture, beside the whole text as one vector: height, width, top and left of
    /// the cut, and the height and width wanted, or with [`Self::wants_score`] a score.
    fn n_numbers(&self) -> Option<i64> {
        None
    }

    /// Whether the network is told how beautiful a picture is, from 0 to 10.
    fn wants_score(&self) -> bool {
        false
    }

    /// The strength of guidance as the network is told it, `[1, guidance_dim]` in float32, where it was distilled so.
    fn guidance(&self, _scale: f64, _device: Device) -> Option<Tensor> {
        None
    }

    /// The highest level of noise in a small picture, exclusive, where the network looks at one.
    fn n_noise_levels(&self) -> Option<i64> {
        None
    }

    /// What the network sees beside the latents.
    fn beside(&self) -> Beside {
        Beside::Nothing
    }
}

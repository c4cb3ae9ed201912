//! What the families of pipelines differ in beyond what their configs say, and which options each of them has no use for.

use proto::TextToImageOptions;
use serde_json::Value;

use crate::{failure::Failure, models::diffusion::Family};

/// The most tokens that T5 is asked to read, in the reference too.
const MOST_T5_TOKENS: u64 = 512;
/// Latents on a side of FLUX's pictures, which none of its configs says.
const FLUX_SIDE: usize = 128;

impl Family {
    /// The component that takes noise out of latents.
    pub(super) fn denoiser(self) -> &'static str {
        match self {
            Self::StableDiffusion => "unet",
            Self::StableDiffusion3 | Self::Flux => "transformer",
        }
    }

    /// Latents on a side of one of the denoiser's tokens.
    pub(super) fn patch(self, denoiser: &Value) -> usize {
        match self {
            Self::StableDiffusion => 1,
            Self::StableDiffusion3 => count(denoiser, "patch_size", 2),
            Self::Flux => 2,
        }
    }

    /// Latents on a side of the pictures that it was trained on, where the family or the denoiser says so.
    pub(super) fn side(self, denoiser: &Value) -> Option<usize> {
        match self {
            Self::StableDiffusion => None,
            Self::StableDiffusion3 => Some(count(denoiser, "sample_size", 128)),
            Self::Flux => Some(FLUX_SIDE),
        }
    }

    /// Latents on the longest side of a picture, where there is one.
    pub(super) fn longest(self, denoiser: &Value) -> Option<usize> {
        let positions = || count(denoiser, "pos_embed_max_size", 96);
        (self == Self::StableDiffusion3).then(|| positions() * self.patch(denoiser))
    }

    pub(super) fn steps(self) -> usize {
        match self {
            Self::StableDiffusion => 50,
            Self::StableDiffusion3 | Self::Flux => 28,
        }
    }

    /// Steps where a picture is changed.
    pub(super) fn steps_of_changes(self) -> usize {
        match self {
            Self::StableDiffusion | Self::StableDiffusion3 => 50,
            Self::Flux => 28,
        }
    }

    /// The strength of guidance that is told where a picture is changed, if it is another one.
    pub(super) fn told_for_changes(self) -> Option<f64> {
        (self == Self::Flux).then_some(7.0)
    }

    /// Tokens of a text that T5 reads where the request says nothing; `None`: there is no T5.
    pub(super) fn t5_length(self) -> Option<usize> {
        match self {
            Self::StableDiffusion => None,
            Self::StableDiffusion3 => Some(256),
            Self::Flux => Some(512),
        }
    }

    /// How many of the steps a change of that strength, above 0 and to 1, leaves out; the families round it differently.
    pub(super) fn skipped(self, steps: usize, strength: f64) -> usize {
        let taken = (steps as f64 * strength).min(steps as f64);
        match self {
            Self::StableDiffusion => steps - taken as usize,
            Self::StableDiffusion3 | Self::Flux => (steps as f64 - taken) as usize,
        }
    }

    /// How many tokens T5 reads of a text.
    pub(super) fn max_sequence_length(
        self,
        asked: &TextToImageOptions,
    ) -> Result<Option<usize>, Failure> {
        let field = "options.max_sequence_length";
        match (asked.max_sequence_length, self.t5_length()) {
            (None, length) => Ok(length),
            (Some(_), None) => Err(Failure::invalid(field, "is for models with a T5 encoder")),
            (Some(length), Some(_)) if (1..=MOST_T5_TOKENS).contains(&u64::from(length)) => {
                Ok(Some(length as usize))
            }
            (Some(length), Some(_)) => {
                let message = format!("is {length}, expected 1 to {MOST_T5_TOKENS}");
                Err(Failure::invalid(field, message).number("limit", MOST_T5_TOKENS))
            }
        }
    }

    /// Refuses what the family would not look at.
    pub(super) fn check(self, asked: &TextToImageOptions) -> Result<(), Failure> {
        let refuse = |name: &str, why| Err(Failure::invalid(&format!("options.{name}"), why));
        if self != Self::Flux && asked.true_cfg_scale.is_some() {
            let why =
                "is for FLUX; here options.guidance_scale leads away from the negative prompt";
            return refuse("true_cfg_scale", why);
        }
        if self == Self::Flux && asked.clip_skip.is_some_and(|layers| layers > 0) {
            return refuse("clip_skip", "is not for FLUX, which needs all layers of CLIP's");
        }
        if self != Self::StableDiffusion && asked.guidance_rescale.is_some_and(|share| share > 0.0)
        {
            return refuse(
                "guidance_rescale",
                "is for models with a U-Net, which this one has not",
            );
        }
        if self != Self::StableDiffusion && asked.eta.is_some_and(|eta| eta > 0.0) {
            return refuse("eta", "is for schedulers of the class DDIM, which this model has not");
        }
        Ok(())
    }

    /// Refuses a negative text that nobody would look at, and a look at one that is not there. `guides`: every step
    /// looks at it.
    pub(super) fn check_negative(self, text: Option<&str>, guides: bool) -> Result<(), Failure> {
        if self != Self::Flux {
            return Ok(());
        }
        match (text, guides) {
            (None, true) => {
                let why = "leads away from inputs.negative_prompt, which is missing";
                Err(Failure::invalid("options.true_cfg_scale", why))
            }
            (Some(text), false) if !text.is_empty() => {
                let why = "is looked at only with options.true_cfg_scale above 1";
                Err(Failure::invalid("inputs.negative_prompt", why))
            }
            _ => Ok(()),
        }
    }
}

fn count(config: &Value, field: &str, default: usize) -> usize {
    const MOST: u64 = 1 << 16;
    let found = config.get(field).and_then(Value::as_u64);
    found.map_or(default, |count| count.clamp(1, MOST) as usize)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_strength_between_two_steps_is_rounded_as_each_family_does() {
        for (steps, strength, sd, flow) in
            [(5, 0.5, 3, 2), (4, 0.5, 2, 2), (5, 1.0, 0, 0), (5, 0.1, 5, 4), (28, 0.6, 12, 11)]
        {
            assert_eq!(Family::StableDiffusion.skipped(steps, strength), sd);
            assert_eq!(Family::Flux.skipped(steps, strength), flow);
            assert_eq!(Family::StableDiffusion3.skipped(steps, strength), flow);
        }
    }

    #[test]
    fn a_family_has_its_sizes() {
        let medium = json!({"sample_size": 64, "patch_size": 2, "pos_embed_max_size": 192});
        let sd3 = Family::StableDiffusion3;
        assert_eq!(
            (sd3.side(&medium), sd3.longest(&medium), sd3.patch(&medium)),
            (Some(64), Some(384), 2)
        );
        assert_eq!((sd3.side(&json!({})), sd3.longest(&json!({}))), (Some(128), Some(192)));
    }

    #[test]
    fn what_a_family_does_not_look_at_is_refused_by_its_field() {
        let none = TextToImageOptions::default;
        let (sd, sd3, flux) = (Family::StableDiffusion, Family::StableDiffusion3, Family::Flux);
        for (family, asked, field) in [
            (sd, TextToImageOptions { true_cfg_scale: Some(2.0), ..none() }, "true_cfg_scale"),
            (sd3, TextToImageOptions { true_cfg_scale: Some(1.0), ..none() }, "true_cfg_scale"),
            (sd3, TextToImageOptions { eta: Some(0.5), ..none() }, "eta"),
            (
                flux,
                TextToImageOptions { guidance_rescale: Some(0.7), ..none() },
                "guidance_rescale",
            ),
            (flux, TextToImageOptions { clip_skip: Some(1), ..none() }, "clip_skip"),
        ] {
            let failure = family.check(&asked).unwrap_err();
            assert_eq!(failure.field, format!("options.{field}"));
        }
        for (family, length) in [(sd, 77), (sd3, 0), (flux, 513)] {
            let asked = TextToImageOptions { max_sequence_length: Some(length), ..none() };
            let failure = family.max_sequence_length(&asked).unwrap_err();
            assert_eq!(failure.field, "options.max_sequence_length");
        }
        let unseen = flux.check_negative(Some("a square"), false).unwrap_err();
        assert_eq!(unseen.field, "inputs.negative_prompt");
        let missing = flux.check_negative(None, true).unwrap_err();
        assert_eq!(missing.field, "options.true_cfg_scale");
        assert!(flux.check_negative(Some(""), false).is_ok());
        assert!(sd.check_negative(Some("a square"), false).is_ok());
    }
}

//! What a pipeline does with a picture that it is given, as its files say.

use serde_json::Value;

use crate::failure::{Code, Failure};

const UPSCALE: &str = "StableDiffusionUpscalePipeline";
const XL_IMG2IMG: &str = "StableDiffusionXLImg2ImgPipeline";
const XL_INPAINT: &str = "StableDiffusionXLInpaintPipeline";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Paints out of noise, or begins with a picture.
    Paints,
    /// Fills in what a mask says.
    Fills,
    /// Makes a picture larger, and looks at the small one all the while.
    Enlarges,
    /// Makes a picture better, as beautiful as is wanted.
    Refines,
    /// Changes a picture as a text says, and looks at it all the while.
    Edits,
}

impl Role {
    /// By the channels of the network beside those of the latents, and by what the index says.
    pub(super) fn of(index: &Value, unet: &Value, vae: &Value) -> Self {
        if class(index) == UPSCALE {
            return Self::Enlarges;
        }
        let channels = |config: &Value, name| config.get(name).and_then(Value::as_u64).unwrap_or(4);
        let latents = channels(vae, "latent_channels");
        let beside = channels(unet, "in_channels").saturating_sub(latents);
        match beside {
            0 if is_scored(index) => Self::Refines,
            0 => Self::Paints,
            beside if beside == latents => Self::Edits,
            _ => Self::Fills,
        }
    }

    /// Steps from noise to a picture where the request does not say it; `None`: as many as are usual.
    pub(super) fn n_steps(self) -> Option<usize> {
        match self {
            Self::Edits => Some(100),
            Self::Enlarges => Some(75),
            Self::Paints | Self::Fills | Self::Refines => None,
        }
    }

    /// Why a text alone is not enough.
    pub(super) fn refuse_text_alone(self) -> Result<(), Failure> {
        let message = match self {
            Self::Paints => return Ok(()),
            Self::Fills => {
                "this model only fills in pictures: ask it for image-to-image with a mask"
            }
            Self::Edits => "this model only changes pictures: ask it for image-to-image",
            Self::Enlarges => {
                "this model only enlarges pictures: ask it for image-super-resolution"
            }
            Self::Refines => "this model only refines pictures: ask it for image-to-image",
        };
        Err(Failure::new(Code::TaskNotSupported, message).at("task"))
    }
}

/// The class of a pipeline.
fn class(index: &Value) -> &str {
    index.get("_class_name").and_then(Value::as_str).unwrap_or_default()
}

/// Whether the network is told how beautiful pictures are; only these pipelines ever tell it.
pub(super) fn is_scored(index: &Value) -> bool {
    let may = [XL_IMG2IMG, XL_INPAINT].contains(&class(index));
    may && index.get("requires_aesthetics_score").and_then(Value::as_bool).unwrap_or(false)
}

/// How much is changed where the request does not say it, without a mask.
pub(super) fn strength(index: &Value) -> f64 {
    if class(index) == XL_IMG2IMG { 0.3 } else { 0.75 }
}

/// How closely the text is followed where the request does not say it.
pub(super) fn guidance_scale(index: &Value, is_late: bool) -> f64 {
    match class(index) {
        UPSCALE => 9.0,
        XL_INPAINT => 7.5,
        _ if is_late => 5.0,
        _ => 7.5,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_channels_of_the_network_tell_what_it_is_for() {
        let role = |in_channels: u64, latents: u64| {
            let (unet, vae) =
                (json!({"in_channels": in_channels}), json!({"latent_channels": latents}));
            Role::of(&json!({}), &unet, &vae)
        };
        assert_eq!(
            [role(4, 4), role(8, 4), role(9, 4), role(16, 16)],
            [Role::Paints, Role::Edits, Role::Fills, Role::Paints]
        );
        assert_eq!(Role::of(&json!({}), &json!({}), &json!({})), Role::Paints);
    }

    #[test]
    fn only_pipelines_that_are_given_pictures_refine_them() {
        let role = |class: &str, scored: bool| {
            let index = json!({"_class_name": class, "requires_aesthetics_score": scored});
            Role::of(&index, &json!({}), &json!({}))
        };
        assert_eq!(role(XL_IMG2IMG, true), Role::Refines);
        assert_eq!(role(XL_IMG2IMG, false), Role::Paints);
        assert_eq!(role("StableDiffusionXLPipeline", true), Role::Paints);
    }
}

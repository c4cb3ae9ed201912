//! What a pipeline does with a picture that it is given, as its files say.

use serde_json::Value;

use crate::{
    failure::{Code, Failure},
    models::diffusion::PipelineClass,
};

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
        let class = PipelineClass::of(index);
        if class.enlarges {
            return Self::Enlarges;
        }
        let channels = |config: &Value, name| config.get(name).and_then(Value::as_u64).unwrap_or(4);
        let latents = channels(vae, "latent_channels");
        let beside = channels(unet, "in_channels").saturating_sub(latents);
        match beside {
            0 if class.is_scored(index) => Self::Refines,
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
        assert_eq!(role("StableDiffusionXLImg2ImgPipeline", true), Role::Refines);
        assert_eq!(role("StableDiffusionXLImg2ImgPipeline", false), Role::Paints);
        assert_eq!(role("StableDiffusionXLPipeline", true), Role::Paints);
    }
}

//! The picture that a ControlNet paints after, and how closely: what a request says of them.

use proto::{Media, TextToImageOptions};

use super::{given, options::Defaults};
use crate::{
    failure::{Code, Failure},
    media::{Picture, Resample, resize_like_pillow},
};

const FIELD: &str = "inputs.control_image_base64";
const MOST_SCALE: f64 = 10.0;

/// What is painted after.
pub struct ControlPicture {
    /// Of the size of what is painted.
    pub picture: Picture,
    /// How much of what the network tells is added.
    pub scale: f64,
    /// Of all steps, as a share, those before are done without it …
    pub start: f64,
    /// … and those that end after.
    pub end: f64,
    /// See [`crate::models::diffusion::Conditioning`].
    pub guesses: bool,
}

/// The picture as it was sent. It must be there where a ControlNet is, and only there.
pub(super) fn sent(media: Option<&Media>, follows: bool) -> Result<Option<Picture>, Failure> {
    let picture = given::picture(media, FIELD)?;
    match (&picture, follows) {
        (None, true) => Err(Failure::invalid(FIELD, "is missing, and a ControlNet looks at one")),
        (Some(_), false) => {
            let message =
                "is there, and this model has no controlnet: options.controlnet names one";
            Err(Failure::invalid(FIELD, message))
        }
        _ => Ok(picture),
    }
}

/// A picture is painted in the size of what it is painted after, unless the request says otherwise.
pub(super) fn size_by(
    picture: &Picture,
    asked: &mut TextToImageOptions,
    defaults: &Defaults,
) -> Result<(), Failure> {
    let [height, width] = multiples(picture, defaults.factor);
    if (asked.height.is_none() && height == 0) || (asked.width.is_none() && width == 0) {
        let message = format!(
            "{FIELD} has {} × {} pixels, each side needs at least {}",
            picture.width, picture.height, defaults.factor
        );
        return Err(Failure::new(Code::InvalidMedia, message).at(FIELD));
    }
    asked.height.get_or_insert(height);
    asked.width.get_or_insert(width);
    Ok(())
}

/// Refuses a picture of another size than the one that is begun with.
pub(super) fn check_beside(
    picture: &Picture,
    begun: &Picture,
    defaults: &Defaults,
) -> Result<(), Failure> {
    let [height, width] = multiples(picture, defaults.factor);
    if (width, height) == (begun.width, begun.height) {
        return Ok(());
    }
    let message = format!(
        "has {} × {} pixels, the picture that is begun with has {} × {}",
        picture.width, picture.height, begun.width, begun.height
    );
    Err(Failure::invalid(FIELD, message))
}

/// The picture in the size, height and width, of what is painted, and how closely it is followed. `usual`: the scale where
/// the request says none.
pub(super) fn read(
    sent: Option<Picture>,
    asked: &TextToImageOptions,
    [height, width]: [usize; 2],
    usual: f64,
) -> Result<Option<ControlPicture>, Failure> {
    let fields = [
        ("controlnet_conditioning_scale", asked.controlnet_conditioning_scale.is_some()),
        ("control_guidance_start", asked.control_guidance_start.is_some()),
        ("control_guidance_end", asked.control_guidance_end.is_some()),
        ("guess_mode", asked.guess_mode.is_some()),
    ];
    let Some(picture) = sent else {
        let said = fields.into_iter().find(|(_, is_said)| *is_said);
        return match said {
            Some((name, _)) => {
                let message = "is for models with a controlnet, and this one has none";
                Err(Failure::invalid(&format!("options.{name}"), message))
            }
            None => Ok(None),
        };
    };
    let scale = asked.controlnet_conditioning_scale.unwrap_or(usual);
    if !(0.0..=MOST_SCALE).contains(&scale) {
        let message = format!("is {scale}, expected 0 to {MOST_SCALE}");
        return Err(Failure::invalid("options.controlnet_conditioning_scale", message));
    }
    let end = asked.control_guidance_end.unwrap_or(1.0);
    if !(end > 0.0 && end <= 1.0) {
        let message = format!("is {end}, expected above 0, to 1");
        return Err(Failure::invalid("options.control_guidance_end", message));
    }
    let start = asked.control_guidance_start.unwrap_or(0.0);
    if !(start >= 0.0 && start < end) {
        let message = format!("is {start}, expected 0 to below control_guidance_end, {end}");
        return Err(Failure::invalid("options.control_guidance_start", message));
    }
    let picture = resize_like_pillow(&picture, width as u32, height as u32, Resample::Lanczos);
    let guesses = asked.guess_mode.unwrap_or(false);
    Ok(Some(ControlPicture { picture, scale, start, end, guesses }))
}

/// Height and width without what is over a multiple.
fn multiples(picture: &Picture, factor: usize) -> [u32; 2] {
    [picture.height, picture.width].map(|side| side - side % factor as u32)
}

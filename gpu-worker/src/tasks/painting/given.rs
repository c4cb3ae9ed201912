//! The picture that a request brings, and the part of it that is to be painted anew.

use proto::{ImageToImageInputs, ImageToImageOptions, Media, TextToImageOptions, media::Content};

use super::{
    super::{Given, Manner},
    options::{Defaults, Options, guidance},
    role::Role,
};
use crate::{
    failure::{Code, Failure},
    media::{Limits, Picture, Resample, decode, resize_like_pillow},
    schedulers::Steps,
};

const IMAGE_GUIDANCE: f64 = 1.5;
const MOST_BEAUTIFUL: f64 = 10.0;
/// From this level on a mask is white.
const WHITE: u8 = 128;

/// The options, and the picture that is begun with; its size is that of the pictures that are made.
pub(super) fn read(
    inputs: &ImageToImageInputs,
    asked: &ImageToImageOptions,
    defaults: &Defaults,
) -> Result<(Options, Given), Failure> {
    let (image, mask) = ("inputs.image_base64", "inputs.mask_base64");
    let picture = picture(inputs.image.as_ref(), image)?;
    let picture = picture.ok_or_else(|| Failure::invalid(image, "is missing"))?;
    let sides = (picture.width, picture.height);
    let picture = fitted(&picture, defaults.factor, Resample::Lanczos, image)?;
    let manner = if defaults.is_scored {
        refined(asked)?
    } else {
        refuse_scores(asked)?;
        Manner::Begun
    };
    if let Role::Edits = defaults.role {
        return edited(inputs, asked, defaults, picture);
    }
    if asked.image_guidance_scale.is_some() {
        let message = "is only for models that look at the picture all the while";
        return Err(Failure::invalid("options.image_guidance_scale", message));
    }
    let mask = match self::picture(inputs.mask.as_ref(), mask)? {
        Some(given) if (given.width, given.height) != sides => {
            let message = format!(
                "has {} × {} pixels, the picture has {} × {}",
                given.width, given.height, sides.0, sides.1
            );
            return Err(Failure::invalid(mask, message));
        }
        Some(given) => Some(whites(&fitted(&given, defaults.factor, Resample::Lanczos, mask)?)),
        None if defaults.role == Role::Fills => {
            return Err(Failure::invalid(mask, "is missing, and this model only fills in"));
        }
        None => None,
    };
    let strength = asked.strength.unwrap_or(if mask.is_some() { 1.0 } else { defaults.strength });
    if !(strength > 0.0 && strength <= 1.0) {
        let message = format!("is {strength}, expected above 0, to 1");
        return Err(Failure::invalid("options.strength", message));
    }
    let mut options = Options::read(&as_text_to_image(asked, defaults), defaults)?;
    if let (None, Some(told)) = (asked.guidance_scale, defaults.family.told_for_changes()) {
        options.told_guidance = told;
    }
    options.size = [picture.height as usize, picture.width as usize];
    defaults.check_longest(options.size, [image; 2])?;
    let Steps::Count(steps) = options.schedule.steps else {
        return Err(Failure::invalid("options.num_inference_steps", "is no count"));
    };
    let skipped_steps = defaults.family.skipped(steps, strength);
    if skipped_steps >= steps {
        let message = format!("is {strength}, which leaves none of {steps} steps");
        return Err(Failure::invalid("options.strength", message));
    }
    // The reference knows pure noise only where it fills in.
    let is_anew = mask.is_some() && strength == 1.0;
    Ok((options, Given { picture, mask, skipped_steps, is_anew, manner }))
}

/// For a model that is told how beautiful a picture should be.
fn refined(asked: &ImageToImageOptions) -> Result<Manner, Failure> {
    let [score, negative_score] = scores(asked).map(|(field, score, usual)| {
        let score = score.unwrap_or(usual);
        if !(0.0..=MOST_BEAUTIFUL).contains(&score) {
            let message = format!("is {score}, expected 0 to {MOST_BEAUTIFUL}");
            return Err(Failure::invalid(field, message));
        }
        Ok(score)
    });
    Ok(Manner::Refined { score: score?, negative_score: negative_score? })
}

fn refuse_scores(asked: &ImageToImageOptions) -> Result<(), Failure> {
    match scores(asked).into_iter().find(|(_, score, _)| score.is_some()) {
        Some((field, ..)) => {
            let message = "is only for models that are told one, such as SDXL's refiner";
            Err(Failure::invalid(field, message))
        }
        None => Ok(()),
    }
}

/// What is asked for, and what is usual.
fn scores(asked: &ImageToImageOptions) -> [(&'static str, Option<f64>, f64); 2] {
    [
        ("options.aesthetic_score", asked.aesthetic_score, 6.0),
        ("options.negative_aesthetic_score", asked.negative_aesthetic_score, 2.5),
    ]
}

/// For a model that changes pictures as a text says.
fn edited(
    inputs: &ImageToImageInputs,
    asked: &ImageToImageOptions,
    defaults: &Defaults,
    picture: Picture,
) -> Result<(Options, Given), Failure> {
    let message = "is not for this model, which changes a picture as the text says";
    if inputs.mask.is_some() {
        return Err(Failure::invalid("inputs.mask_base64", message));
    }
    if asked.strength.is_some() {
        return Err(Failure::invalid("options.strength", message));
    }
    if asked.guidance_rescale.is_some_and(|share| share > 0.0) {
        return Err(Failure::invalid("options.guidance_rescale", message));
    }
    let field = "options.image_guidance_scale";
    let guidance_scale = guidance(field, asked.image_guidance_scale, IMAGE_GUIDANCE)?;
    let mut options = Options::read(&as_text_to_image(asked, defaults), defaults)?;
    options.size = [picture.height as usize, picture.width as usize];
    let manner = Manner::Edited { guidance_scale };
    Ok((options, Given { picture, mask: None, skipped_steps: 0, is_anew: true, manner }))
}

/// The options that both tasks have.
pub(super) fn as_text_to_image(
    asked: &ImageToImageOptions,
    defaults: &Defaults,
) -> TextToImageOptions {
    let usual = defaults.steps_of_changes() as u32;
    TextToImageOptions {
        num_inference_steps: asked.num_inference_steps.or(Some(usual)),
        guidance_scale: asked.guidance_scale,
        width: None,
        height: None,
        seed: asked.seed,
        num_images: asked.num_images,
        preview_every: asked.preview_every,
        clip_skip: asked.clip_skip,
        eta: asked.eta,
        truncate: asked.truncate,
        format: asked.format.clone(),
        quality: asked.quality,
        scheduler: asked.scheduler.clone(),
        max_sequence_length: asked.max_sequence_length,
        true_cfg_scale: asked.true_cfg_scale,
        guidance_rescale: asked.guidance_rescale,
        adapter: asked.adapter.clone(),
        adapter_scale: asked.adapter_scale,
        controlnet_conditioning_scale: asked.controlnet_conditioning_scale,
        control_guidance_start: asked.control_guidance_start,
        control_guidance_end: asked.control_guidance_end,
        guess_mode: asked.guess_mode,
        controlnet: asked.controlnet.clone(),
    }
}

pub(super) fn picture(media: Option<&Media>, field: &str) -> Result<Option<Picture>, Failure> {
    let Some(media) = media else { return Ok(None) };
    let Some(Content::Inline(bytes)) = &media.content else {
        return Err(Failure::invalid(field, "has no bytes"));
    };
    decode(bytes, &Limits::default()).map(Some).map_err(|error| Failure::from(error).at(field))
}

/// With sides that are multiples of `factor`: what is over is squeezed in, as the reference does.
pub(super) fn fitted(
    picture: &Picture,
    factor: usize,
    resample: Resample,
    field: &str,
) -> Result<Picture, Failure> {
    let side = |side: u32| side - side % factor as u32;
    let (width, height) = (side(picture.width), side(picture.height));
    if width == 0 || height == 0 {
        let message = format!(
            "has {} × {} pixels, each side needs at least {factor}",
            picture.width, picture.height
        );
        return Err(Failure::new(Code::InvalidMedia, format!("{field} {message}")).at(field));
    }
    Ok(resize_like_pillow(picture, width, height, resample))
}

/// Where the picture is more white than black, as Pillow's greys have it.
fn whites(picture: &Picture) -> Vec<bool> {
    let grey = |rgb: &[u8]| {
        let [red, green, blue] = [rgb[0], rgb[1], rgb[2]].map(u32::from);
        ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16) as u8
    };
    picture.rgb.chunks_exact(3).map(|rgb| grey(rgb) >= WHITE).collect()
}

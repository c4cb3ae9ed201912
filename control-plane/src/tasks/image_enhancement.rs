//! `image-super-resolution` and `image-restoration`: a larger picture, or a better one.

use proto::{
    ImageEnhancementInputs, ImageEnhancementOptions, ImageRestorationRequest,
    ImageSuperResolutionRequest, ImagesOutput, infer_request::Input,
};
use serde_json::Value;

use super::{Named, Schemas, Sent, Task, read};
use crate::failure::Failure;

// A picture of eight by eight red points.
const EXAMPLE: &str = r#"{"inputs": {"image_base64": "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEklEQVR4nGP8z4AdMOEQH6QSAM1BAQ/oQeJvAAAAAElFTkSuQmCC"}, "options": {"format": "png"}}"#;

const SCHEMAS: Schemas = Schemas {
    inputs: Named::of::<ImageEnhancementInputs>(),
    options: Named::of::<ImageEnhancementOptions>(),
    output: Named::of::<ImagesOutput>(),
};

pub(super) const SUPER_RESOLUTION: Task = Task {
    id: "image-super-resolution",
    aliases: &[],
    summary: "Makes a picture larger by the model's own factor.",
    takes: &["image", "text"],
    makes: &["image"],
    streams: &["progress"],
    required: &[&["image_base64"]],
    example: EXAMPLE,
    read: |inputs, options| {
        let (inputs, options) = parts(&SUPER_RESOLUTION, inputs, options)?;
        let request = ImageSuperResolutionRequest { inputs: Some(inputs), options: Some(options) };
        Ok(Input::ImageSuperResolution(request))
    },
    schemas: SCHEMAS,
};

pub(super) const RESTORATION: Task = Task {
    id: "image-restoration",
    summary: "Repairs a picture, such as one that was compressed too much, at its own size.",
    takes: &["image"],
    read: |inputs, options| {
        let (inputs, options) = parts(&RESTORATION, inputs, options)?;
        let request = ImageRestorationRequest { inputs: Some(inputs), options: Some(options) };
        Ok(Input::ImageRestoration(request))
    },
    ..SUPER_RESOLUTION
};

fn parts(
    task: &Task,
    inputs: Sent,
    options: Option<Value>,
) -> Result<(ImageEnhancementInputs, ImageEnhancementOptions), Failure> {
    let inputs: ImageEnhancementInputs = read::inputs(inputs)?;
    if inputs.image.is_none() {
        return Err(task.missing(&["image_base64"]));
    }
    Ok((inputs, read::options(options)?))
}

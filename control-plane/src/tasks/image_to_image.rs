//! `image-to-image`: another picture of a picture, as a whole or where a mask says so.

use proto::{
    ImageToImageInputs, ImageToImageOptions, ImageToImageRequest, ImagesOutput,
    infer_request::Input,
};
use serde_json::Value;

use super::{Named, Schemas, Sent, Task, read};
use crate::failure::Failure;

pub(super) const TASK: Task = Task {
    id: "image-to-image",
    aliases: &["inpainting"],
    summary: "Changes a picture to what a text says, as a whole or where a mask is white.",
    takes: &["image", "text"],
    makes: &["image"],
    streams: &["progress"],
    required: &[&["image_base64"], &["text"]],
    // A picture of eight by eight red points.
    example: r#"{"inputs": {"image_base64": "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEklEQVR4nGP8z4AdMOEQH6QSAM1BAQ/oQeJvAAAAAElFTkSuQmCC", "text": "a small blue circle"}, "options": {"strength": 0.6, "num_inference_steps": 20}}"#,
    read: read_request,
    schemas: Schemas {
        inputs: Named::of::<ImageToImageInputs>(),
        options: Named::of::<ImageToImageOptions>(),
        output: Named::of::<ImagesOutput>(),
    },
};

fn read_request(inputs: Sent, options: Option<Value>) -> Result<Input, Failure> {
    let inputs: ImageToImageInputs = read::inputs(inputs)?;
    let missing: Vec<&str> =
        [inputs.image.is_none().then_some("image_base64"), inputs.text.is_none().then_some("text")]
            .into_iter()
            .flatten()
            .collect();
    if !missing.is_empty() {
        return Err(TASK.missing(&missing));
    }
    let options: ImageToImageOptions = read::options(options)?;
    Ok(Input::ImageToImage(ImageToImageRequest { inputs: Some(inputs), options: Some(options) }))
}

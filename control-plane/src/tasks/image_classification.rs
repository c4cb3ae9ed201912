//! `image-classification`: what a picture shows.

use proto::{
    ImageClassificationInputs, ImageClassificationOptions, ImageClassificationRequest,
    http::LabelsAnswer, infer_request::Input,
};
use serde_json::Value;

use super::{Named, Schemas, Sent, Task, read};
use crate::failure::Failure;

pub(super) const TASK: Task = Task {
    id: "image-classification",
    aliases: &[],
    summary: "Says what a picture shows, as labels with scores.",
    takes: &["image"],
    makes: &["labels"],
    streams: &[],
    required: &[&["image_base64"]],
    // A picture of eight by eight red points.
    example: r#"{"inputs": {"image_base64": "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEklEQVR4nGP8z4AdMOEQH6QSAM1BAQ/oQeJvAAAAAElFTkSuQmCC"}, "options": {"top_k": 3}}"#,
    read: read_request,
    schemas: Schemas {
        inputs: Named::of::<ImageClassificationInputs>(),
        options: Named::of::<ImageClassificationOptions>(),
        output: Named::of::<LabelsAnswer>(),
    },
};

fn read_request(inputs: Sent, options: Option<Value>) -> Result<Input, Failure> {
    let inputs: ImageClassificationInputs = read::inputs(inputs)?;
    if inputs.image.is_none() {
        return Err(TASK.missing(&["image_base64"]));
    }
    let options: ImageClassificationOptions = read::options(options)?;
    let request = ImageClassificationRequest { inputs: Some(inputs), options: Some(options) };
    Ok(Input::ImageClassification(request))
}

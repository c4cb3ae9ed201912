//! `text-to-image`: a picture of what a text says.

use proto::{
    ImagesOutput, TextToImageInputs, TextToImageOptions, TextToImageRequest, infer_request::Input,
};
use serde_json::Value;

use super::{Named, Schemas, Sent, Task, read};
use crate::failure::Failure;

pub(super) const TASK: Task = Task {
    id: "text-to-image",
    aliases: &[],
    summary: "Makes pictures of what a text says, out of noise.",
    takes: &["text"],
    makes: &["image"],
    streams: &["progress"],
    required: &[&["text"]],
    example: r#"{"inputs": {"text": "a small red circle on blue"}, "options": {"num_inference_steps": 20, "seed": 7}}"#,
    read: read_request,
    schemas: Schemas {
        inputs: Named::of::<TextToImageInputs>(),
        options: Named::of::<TextToImageOptions>(),
        output: Named::of::<ImagesOutput>(),
    },
};

fn read_request(inputs: Sent, options: Option<Value>) -> Result<Input, Failure> {
    let inputs: TextToImageInputs = read::inputs(inputs)?;
    if inputs.text.is_none() {
        return Err(TASK.missing(&["text"]));
    }
    let options: TextToImageOptions = read::options(options)?;
    Ok(Input::TextToImage(TextToImageRequest { inputs: Some(inputs), options: Some(options) }))
}

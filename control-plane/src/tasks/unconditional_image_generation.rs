//! `unconditional-image-generation`: pictures like those that a model has seen.

use proto::{
    ImagesOutput, UnconditionalImageGenerationInputs, UnconditionalImageGenerationOptions,
    UnconditionalImageGenerationRequest, infer_request::Input,
};
use serde_json::Value;

use super::{Named, Schemas, Sent, Task, read};
use crate::failure::Failure;

pub(super) const TASK: Task = Task {
    id: "unconditional-image-generation",
    aliases: &[],
    summary: "Makes pictures like those that the model has seen, out of noise and nothing else.",
    takes: &[],
    makes: &["image"],
    streams: &["progress"],
    required: &[],
    example: r#"{"inputs": {}, "options": {"num_inference_steps": 50, "scheduler": "ddim", "seed": 7}}"#,
    read: read_request,
    schemas: Schemas {
        inputs: Named::of::<UnconditionalImageGenerationInputs>(),
        options: Named::of::<UnconditionalImageGenerationOptions>(),
        output: Named::of::<ImagesOutput>(),
    },
};

fn read_request(inputs: Sent, options: Option<Value>) -> Result<Input, Failure> {
    let inputs: UnconditionalImageGenerationInputs = read::inputs(inputs)?;
    let options: UnconditionalImageGenerationOptions = read::options(options)?;
    let request =
        UnconditionalImageGenerationRequest { inputs: Some(inputs), options: Some(options) };
    Ok(Input::UnconditionalImageGeneration(request))
}

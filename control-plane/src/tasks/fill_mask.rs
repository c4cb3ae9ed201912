//! `fill-mask`: what fits into the gaps of a text.

use proto::{
    FillMaskInputs, FillMaskOptions, FillMaskOutput, FillMaskRequest, infer_request::Input,
};
use serde_json::Value;

use super::{Named, Schemas, Sent, Task, read};
use crate::failure::Failure;

pub(super) const TASK: Task = Task {
    id: "fill-mask",
    aliases: &[],
    summary: "Says which tokens fit into the gaps of a text; a gap is the model's own mask token.",
    takes: &["text"],
    makes: &["text"],
    streams: &[],
    required: &[&["text"]],
    example: r#"{"inputs": {"text": "The boat is [MASK]."}, "options": {"top_k": 3}}"#,
    read: read_request,
    schemas: Schemas {
        inputs: Named::of::<FillMaskInputs>(),
        options: Named::of::<FillMaskOptions>(),
        output: Named::of::<FillMaskOutput>(),
    },
};

fn read_request(inputs: Sent, options: Option<Value>) -> Result<Input, Failure> {
    let inputs: FillMaskInputs = read::inputs(inputs)?;
    if inputs.text.is_none() {
        return Err(TASK.missing(&["text"]));
    }
    let options: FillMaskOptions = read::options(options)?;
    let request = FillMaskRequest { inputs: Some(inputs), options: Some(options) };
    Ok(Input::FillMask(request))
}

//! `zero-shot-classification`: which of the given labels fit a text.

use proto::{
    ZeroShotClassificationInputs, ZeroShotClassificationOptions, ZeroShotClassificationRequest,
    http::LabelsAnswer, infer_request::Input,
};
use serde_json::Value;

use super::{Named, Schemas, Sent, Task, read};
use crate::failure::Failure;

pub(super) const TASK: Task = Task {
    id: "zero-shot-classification",
    aliases: &[],
    summary: "Chooses among labels that the request names, with a model of what follows from what.",
    takes: &["text"],
    makes: &["label"],
    streams: &[],
    required: &[&["text"], &["labels"]],
    example: r#"{"inputs": {"text": "The boat left at noon.", "labels": ["travel", "cooking"]}, "options": {"multi_label": false}}"#,
    read: read_request,
    schemas: Schemas {
        inputs: Named::of::<ZeroShotClassificationInputs>(),
        options: Named::of::<ZeroShotClassificationOptions>(),
        output: Named::of::<LabelsAnswer>(),
    },
};

fn read_request(inputs: Sent, options: Option<Value>) -> Result<Input, Failure> {
    let inputs: ZeroShotClassificationInputs = read::inputs(inputs)?;
    let mut missing = Vec::new();
    let has_text = inputs.text.as_ref().is_some_and(|texts| !texts.items.is_empty());
    missing.extend((!has_text).then_some("text"));
    missing.extend(inputs.labels.is_empty().then_some("labels"));
    if !missing.is_empty() {
        return Err(TASK.missing(&missing));
    }
    let options: ZeroShotClassificationOptions = read::options(options)?;
    let request = ZeroShotClassificationRequest { inputs: Some(inputs), options: Some(options) };
    Ok(Input::ZeroShotClassification(request))
}

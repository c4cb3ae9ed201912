//! `feature-extraction`: texts as vectors.

use proto::{
    FeatureExtractionInputs, FeatureExtractionOptions, FeatureExtractionRequest,
    http::EmbeddingAnswer, infer_request::Input,
};
use serde_json::Value;

use super::{Named, Schemas, Sent, Task, read};
use crate::failure::Failure;

pub(super) const TASK: Task = Task {
    id: "feature-extraction",
    aliases: &["embedding"],
    summary: "Turns texts into vectors, one per text or one per token.",
    takes: &["text"],
    makes: &["vector"],
    streams: &[],
    required: &[&["text"]],
    example: r#"{"inputs": {"text": ["a small boat", "a little ship"]}, "options": {"normalize": true}}"#,
    read: read_request,
    schemas: Schemas {
        inputs: Named::of::<FeatureExtractionInputs>(),
        options: Named::of::<FeatureExtractionOptions>(),
        output: Named::of::<EmbeddingAnswer>(),
    },
};

fn read_request(inputs: Sent, options: Option<Value>) -> Result<Input, Failure> {
    let inputs: FeatureExtractionInputs = read::inputs(inputs)?;
    if inputs.text.as_ref().is_none_or(|texts| texts.items.is_empty()) {
        return Err(TASK.missing(&["text"]));
    }
    let options: FeatureExtractionOptions = read::options(options)?;
    let request = FeatureExtractionRequest { inputs: Some(inputs), options: Some(options) };
    Ok(Input::FeatureExtraction(request))
}

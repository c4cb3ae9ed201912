//! `text-generation`: a text continued, or the next message of a conversation.

use proto::{
    TextGenerationInputs, TextGenerationOptions, TextGenerationRequest, http::TextAnswer,
    infer_request::Input,
};
use serde_json::Value;

use super::{Named, Schemas, Sent, Task, read};
use crate::failure::Failure;

pub(super) const TASK: Task = Task {
    id: "text-generation",
    aliases: &["conversational"],
    summary: "Continues a text, or answers the messages of a conversation.",
    takes: &["text"],
    makes: &["text"],
    streams: &["token", "progress"],
    required: &[&["text", "messages"]],
    example: r#"{"inputs": {"text": "Once upon a time"}, "options": {"max_new_tokens": 32}}"#,
    read: read_request,
    schemas: Schemas {
        inputs: Named::of::<TextGenerationInputs>(),
        options: Named::of::<TextGenerationOptions>(),
        output: Named::of::<TextAnswer>(),
    },
};

fn read_request(inputs: Sent, options: Option<Value>) -> Result<Input, Failure> {
    let inputs: TextGenerationInputs = read::inputs(inputs)?;
    match (&inputs.text, inputs.messages.is_empty()) {
        (None, true) => return Err(TASK.missing(&["text"])),
        (Some(_), false) => {
            return Err(Failure::invalid(
                "inputs.messages",
                "give either text or messages, not both",
            ));
        }
        (Some(_), true) | (None, false) => {}
    }
    let options: TextGenerationOptions = read::options(options)?;
    Ok(Input::TextGeneration(TextGenerationRequest {
        inputs: Some(inputs),
        options: Some(options),
    }))
}

//! `question-answering`: the parts of a text that answer a question.

use proto::{
    QuestionAnsweringInputs, QuestionAnsweringOptions, QuestionAnsweringRequest,
    http::QuestionAnswer, infer_request::Input,
};
use serde_json::Value;

use super::{Named, Schemas, Sent, Task, read};
use crate::failure::Failure;

pub(super) const TASK: Task = Task {
    id: "question-answering",
    aliases: &[],
    summary: "Answers a question with a part of a text.",
    takes: &["text"],
    makes: &["answers"],
    streams: &[],
    required: &[&["question"], &["context"]],
    example: r#"{"inputs": {"question": "Where was she born?", "context": "Ada Lovelace was born in London."}}"#,
    read: read_request,
    schemas: Schemas {
        inputs: Named::of::<QuestionAnsweringInputs>(),
        options: Named::of::<QuestionAnsweringOptions>(),
        output: Named::of::<QuestionAnswer>(),
    },
};

fn read_request(inputs: Sent, options: Option<Value>) -> Result<Input, Failure> {
    let inputs: QuestionAnsweringInputs = read::inputs(inputs)?;
    let mut missing = Vec::new();
    missing.extend(inputs.question.is_none().then_some("question"));
    missing.extend(inputs.context.is_none().then_some("context"));
    if !missing.is_empty() {
        return Err(TASK.missing(&missing));
    }
    let options: QuestionAnsweringOptions = read::options(options)?;
    let request = QuestionAnsweringRequest { inputs: Some(inputs), options: Some(options) };
    Ok(Input::QuestionAnswering(request))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_question_without_a_text_names_the_text() {
        let failure = read_request(Some(json!({"question": "Why?"})).into(), None).unwrap_err();
        assert_eq!(failure.details["missing"], json!(["context"]));
    }
}

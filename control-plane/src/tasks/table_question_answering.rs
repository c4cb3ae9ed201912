//! `table-question-answering`: the cells of a table that answer a question, or a text that does.

use proto::{
    TableQuestionAnsweringInputs, TableQuestionAnsweringOptions, TableQuestionAnsweringRequest,
    http::TableAnswer, infer_request::Input,
};
use serde_json::Value;

use super::{Named, Schemas, Sent, Task, read};
use crate::failure::Failure;

pub(super) const TASK: Task = Task {
    id: "table-question-answering",
    aliases: &[],
    summary: "Answers a question from a table.",
    takes: &["text", "table"],
    makes: &["answer"],
    streams: &["token", "progress"],
    required: &[&["question"], &["table"]],
    example: r#"{"inputs": {"question": "How many stars do Rust and Go have?", "table": {"Language": ["Rust", "Go", "C"], "Stars": ["3", "2", "1"]}}}"#,
    read: read_request,
    schemas: Schemas {
        inputs: Named::of::<TableQuestionAnsweringInputs>(),
        options: Named::of::<TableQuestionAnsweringOptions>(),
        output: Named::of::<TableAnswer>(),
    },
};

fn read_request(inputs: Sent, options: Option<Value>) -> Result<Input, Failure> {
    let inputs: TableQuestionAnsweringInputs = read::inputs(inputs)?;
    let mut missing = Vec::new();
    missing.extend(inputs.question.is_none().then_some("question"));
    missing.extend(inputs.table.is_none().then_some("table"));
    if !missing.is_empty() {
        return Err(TASK.missing(&missing));
    }
    let options: TableQuestionAnsweringOptions = read::options(options)?;
    let request = TableQuestionAnsweringRequest { inputs: Some(inputs), options: Some(options) };
    Ok(Input::TableQuestionAnswering(request))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::failure::Code;

    #[test]
    fn a_table_that_is_none_names_the_place() {
        let inputs = json!({"question": "Why?", "table": [{"a": "1"}, {"a": [2]}]});
        let failure = read_request(Some(inputs).into(), None).unwrap_err();
        assert_eq!(
            (failure.code, &failure.details["field"]),
            (Code::InvalidRequest, &json!("inputs.table"))
        );
        assert!(failure.message.contains("[1].a is a list"), "{failure}");
    }

    #[test]
    fn a_query_is_a_question() {
        let inputs = json!({"query": "Why?", "table": {"a": [1]}});
        let Ok(Input::TableQuestionAnswering(request)) = read_request(Some(inputs).into(), None)
        else {
            panic!("it is refused")
        };
        assert_eq!(request.inputs.unwrap().question.as_deref(), Some("Why?"));
    }
}

//! `token-classification`: the parts of a text that have a label.

use proto::{
    TokenClassificationInputs, TokenClassificationOptions, TokenClassificationRequest,
    http::EntitiesAnswer, infer_request::Input,
};
use serde_json::Value;

use super::{Named, Schemas, Sent, Task, read};
use crate::failure::Failure;

pub(super) const TASK: Task = Task {
    id: "token-classification",
    aliases: &["ner"],
    summary: "Finds names, terms or parts of speech in texts, with where they stand.",
    takes: &["text"],
    makes: &["entities"],
    streams: &[],
    required: &[&["text"]],
    example: r#"{"inputs": {"text": "Ada Lovelace was born in London."}, "options": {"aggregation_strategy": "simple"}}"#,
    read: read_request,
    schemas: Schemas {
        inputs: Named::of::<TokenClassificationInputs>(),
        options: Named::of::<TokenClassificationOptions>(),
        output: Named::of::<EntitiesAnswer>(),
    },
};

fn read_request(inputs: Sent, options: Option<Value>) -> Result<Input, Failure> {
    let inputs: TokenClassificationInputs = read::inputs(inputs)?;
    if inputs.text.as_ref().is_none_or(|texts| texts.items.is_empty()) {
        return Err(TASK.missing(&["text"]));
    }
    let options: TokenClassificationOptions = read::options(options)?;
    let request = TokenClassificationRequest { inputs: Some(inputs), options: Some(options) };
    Ok(Input::TokenClassification(request))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_empty_list_of_labels_is_told_from_none() {
        let ignored = |options: Value| {
            let inputs = json!({"text": "a"});
            let Ok(Input::TokenClassification(request)) =
                read_request(Some(inputs).into(), Some(options))
            else {
                panic!("not read")
            };
            request.options.unwrap().ignore_labels.map(|labels| labels.items)
        };
        assert_eq!(ignored(json!({})), None);
        assert_eq!(ignored(json!({"ignore_labels": []})), Some(Vec::new()));
        assert_eq!(ignored(json!({"ignore_labels": ["O"]})), Some(vec!["O".to_owned()]));
    }
}

//! `text-classification`: what a model says of texts or of pairs of texts.

use proto::{
    TextClassificationInputs, TextClassificationOptions, TextClassificationRequest,
    http::LabelsAnswer, infer_request::Input,
};
use serde_json::Value;

use super::{Named, Schemas, Sent, Task, read};
use crate::failure::Failure;

pub(super) const TASK: Task = Task {
    id: "text-classification",
    aliases: &["sentiment-analysis"],
    summary: "Sorts texts, or pairs of texts, into the classes that a model was trained for.",
    takes: &["text"],
    makes: &["label"],
    streams: &[],
    required: &[&["text"]],
    example: r#"{"inputs": {"text": ["a lovely small boat", "it sank at once"]}, "options": {"top_k": 2}}"#,
    read: read_request,
    schemas: Schemas {
        inputs: Named::of::<TextClassificationInputs>(),
        options: Named::of::<TextClassificationOptions>(),
        output: Named::of::<LabelsAnswer>(),
    },
};

fn read_request(inputs: Sent, options: Option<Value>) -> Result<Input, Failure> {
    let inputs: TextClassificationInputs = read::inputs(inputs)?;
    let Some(text) = inputs.text.as_ref().filter(|texts| !texts.items.is_empty()) else {
        return Err(TASK.missing(&["text"]));
    };
    if let Some(pair) = &inputs.text_pair
        && (pair.is_list != text.is_list || pair.items.len() != text.items.len())
    {
        let found = if pair.is_list { pair.items.len().to_string() } else { "no list".to_owned() };
        let wanted = if text.is_list {
            format!("a list of {}, as inputs.text has", text.items.len())
        } else {
            "one text, as inputs.text is".to_owned()
        };
        let message = format!("expected {wanted}; found {found}");
        return Err(Failure::invalid("inputs.text_pair", message));
    }
    let options: TextClassificationOptions = read::options(options)?;
    let request = TextClassificationRequest { inputs: Some(inputs), options: Some(options) };
    Ok(Input::TextClassification(request))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pair_has_the_shape_of_its_text() {
        let read = |inputs: Value| read_request(Some(inputs).into(), None);
        for inputs in [
            json!({"text": "a", "text_pair": "b"}),
            json!({"text": ["a", "b"], "text_pair": ["c", "d"]}),
        ] {
            assert!(read(inputs).is_ok());
        }
        for inputs in [
            json!({"text": "a", "text_pair": ["b"]}),
            json!({"text": ["a"], "text_pair": "b"}),
            json!({"text": ["a", "b"], "text_pair": ["c"]}),
        ] {
            let failure = read(inputs).unwrap_err();
            assert_eq!(failure.details["field"], "inputs.text_pair", "{failure}");
        }
    }
}

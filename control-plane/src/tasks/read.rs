//! Inputs and options as typed messages.

use proto::http::fields_of;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Sent;
use crate::{
    failure::{Code, Failure},
    strict,
};

/// Longest text of one input, in bytes.
const MAX_TEXT_BYTES: usize = 1 << 20;

pub(super) fn inputs<T: DeserializeOwned>(mut sent: Sent) -> Result<T, Failure> {
    sent.check(fields_of::<T>())?;
    let files = sent.files.into_iter().map(|file| (file.input(), file.bytes)).collect();
    strict::read_with_files("inputs", Code::InvalidRequest, sent.json, files)
}

pub(super) fn options<T: DeserializeOwned>(value: Option<Value>) -> Result<T, Failure> {
    strict::read("options", Code::UnknownOption, value)
}

/// Refuses texts that are larger than any model could read.
pub fn check_text_sizes(inputs: Option<&Value>) -> Result<(), Failure> {
    let Some(Value::Object(fields)) = inputs else { return Ok(()) };
    for (name, value) in fields.iter().filter(|(name, _)| !name.ends_with("_base64")) {
        let bytes = text_bytes(value);
        if bytes > MAX_TEXT_BYTES {
            let message =
                format!("inputs.{name} has {bytes} bytes of text, the limit is {MAX_TEXT_BYTES}");
            return Err(Failure::new(Code::PayloadTooLarge, message)
                .with("field", format!("inputs.{name}"))
                .with("limit", MAX_TEXT_BYTES)
                .with("size", bytes));
        }
    }
    Ok(())
}

fn text_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(text_bytes).sum(),
        Value::Object(fields) => fields.values().map(text_bytes).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use proto::{
        ImageClassificationInputs, TextGenerationInputs, TextGenerationOptions, media::Content,
    };
    use serde_json::json;

    use super::*;
    use crate::tasks::File;

    #[test]
    fn an_unknown_option_is_named_together_with_the_known_ones() {
        let failure =
            super::options::<TextGenerationOptions>(Some(json!({"warmth": 1}))).unwrap_err();
        assert_eq!(failure.code, Code::UnknownOption);
        assert_eq!(failure.details["field"], "options.warmth");
        assert!(failure.details["options"].as_array().unwrap().contains(&json!("temperature")));
    }

    #[test]
    fn a_wrong_type_or_range_names_its_field() {
        for (options, field) in [
            (json!({"top_k": -1}), "options.top_k"),
            (json!({"max_new_tokens": 99_999_999_999_u64}), "options.max_new_tokens"),
            (json!({"seed": 1, "temperature": "hot"}), "options.temperature"),
            (json!({"stop": "x"}), "options.stop"),
        ] {
            let failure = super::options::<TextGenerationOptions>(Some(options)).unwrap_err();
            assert_eq!(failure.code, Code::InvalidRequest);
            assert_eq!(failure.details["field"], field, "{failure}");
        }
    }

    #[test]
    fn an_error_deep_inside_names_the_input() {
        let inputs = json!({"messages": [{"role": "user"}]});
        let failure = super::inputs::<TextGenerationInputs>(Some(inputs).into()).unwrap_err();
        assert_eq!(failure.details["field"], "inputs.messages");
        assert!(failure.message.contains("content"), "{failure}");
    }

    #[test]
    fn bytes_that_are_no_base64_are_invalid_media() {
        let inputs = json!({"image_base64": "not base64!"});
        let failure = super::inputs::<ImageClassificationInputs>(Some(inputs).into()).unwrap_err();
        assert_eq!(failure.code, Code::InvalidMedia);
        let inputs = json!({"image_base64": 7});
        let failure = super::inputs::<ImageClassificationInputs>(Some(inputs).into()).unwrap_err();
        assert_eq!(failure.code, Code::InvalidRequest);
    }

    fn with_image(json: Value) -> Sent {
        let mut image = File::named("image").unwrap();
        image.bytes = b"hi".to_vec();
        Sent { json: Some(json), files: vec![image] }
    }

    #[test]
    fn a_file_is_its_input_without_a_copy() {
        for json in [json!({}), json!({"image_base64": null})] {
            let sent = with_image(json);
            let place = sent.files[0].bytes.as_ptr();
            let inputs: ImageClassificationInputs = super::inputs(sent).unwrap();
            let Some(Content::Inline(bytes)) = inputs.image.unwrap().content else {
                panic!("not inline")
            };
            assert_eq!((bytes.as_slice(), bytes.as_ptr()), (&b"hi"[..], place));
        }
    }

    #[test]
    fn a_file_that_the_task_does_not_take_or_that_came_twice_is_named() {
        let failure = super::inputs::<TextGenerationInputs>(with_image(json!({"text": "a"})));
        let failure = failure.unwrap_err();
        assert_eq!(
            (failure.code, &failure.details["field"]),
            (Code::InvalidRequest, &"image".into())
        );
        let twice = with_image(json!({"image_base64": "aGk="}));
        let failure = super::inputs::<ImageClassificationInputs>(twice).unwrap_err();
        assert_eq!(failure.details["field"], "inputs.image_base64");
    }

    #[test]
    fn an_error_in_the_json_beside_a_file_names_its_field() {
        let failure = super::inputs::<ImageClassificationInputs>(with_image(json!({"text": "a"})))
            .unwrap_err();
        assert_eq!(failure.details["field"], "inputs.text");
    }

    #[test]
    fn inputs_that_are_no_object_are_refused() {
        let failure = super::inputs::<TextGenerationInputs>(Some(json!("hi")).into()).unwrap_err();
        assert!(failure.message.contains("found a string"), "{failure}");
    }

    #[test]
    fn a_text_of_two_megabytes_is_too_large_but_a_picture_is_not() {
        let long = "x".repeat(2 << 20);
        assert!(check_text_sizes(Some(&json!({"text": long}))).is_err());
        assert!(check_text_sizes(Some(&json!({"messages": [{"content": long}]}))).is_err());
        assert!(check_text_sizes(Some(&json!({"image_base64": long}))).is_ok());
    }
}

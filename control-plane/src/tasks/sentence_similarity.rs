//! `sentence-similarity`: how near the meanings of sentences are.

use proto::{
    SentenceSimilarityInputs, SentenceSimilarityOptions, SentenceSimilarityRequest,
    http::SimilarityAnswer, infer_request::Input,
};
use serde_json::Value;

use super::{Named, Schemas, Sent, Task, read};
use crate::failure::Failure;

pub(super) const TASK: Task = Task {
    id: "sentence-similarity",
    aliases: &[],
    summary: "Compares a sentence with others, or the two of a pair.",
    takes: &["text"],
    makes: &["score"],
    streams: &[],
    required: &[&["source_sentence", "text"], &["sentences", "text_pair"]],
    example: r#"{"inputs": {"source_sentence": "a small boat", "sentences": ["a little ship", "a red house"]}}"#,
    read: read_request,
    schemas: Schemas {
        inputs: Named::of::<SentenceSimilarityInputs>(),
        options: Named::of::<SentenceSimilarityOptions>(),
        output: Named::of::<SimilarityAnswer>(),
    },
};

fn read_request(inputs: Sent, options: Option<Value>) -> Result<Input, Failure> {
    let inputs: SentenceSimilarityInputs = read::inputs(inputs)?;
    check(&inputs)?;
    let options: SentenceSimilarityOptions = read::options(options)?;
    let request = SentenceSimilarityRequest { inputs: Some(inputs), options: Some(options) };
    Ok(Input::SentenceSimilarity(request))
}

/// Either `source_sentence` with `sentences`, or `text` with `text_pair`.
fn check(inputs: &SentenceSimilarityInputs) -> Result<(), Failure> {
    let is_list = inputs.source_sentence.is_some() || !inputs.sentences.is_empty();
    let is_pair = inputs.text.is_some() || inputs.text_pair.is_some();
    if is_list && is_pair {
        let message = "give either source_sentence and sentences, or text and text_pair";
        return Err(Failure::invalid("inputs.text", message));
    }
    let mut missing = Vec::new();
    if is_pair {
        missing.extend(inputs.text.is_none().then_some("text"));
        missing.extend(inputs.text_pair.is_none().then_some("text_pair"));
    } else {
        missing.extend(inputs.source_sentence.is_none().then_some("source_sentence"));
        missing.extend(inputs.sentences.is_empty().then_some("sentences"));
    }
    if missing.is_empty() { Ok(()) } else { Err(TASK.missing(&missing)) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::failure::Code;

    #[test]
    fn half_a_pair_names_the_other_half() {
        let failure = read_request(Some(json!({"text": "a"})).into(), None).unwrap_err();
        assert_eq!(failure.details["missing"], json!(["text_pair"]));
    }

    #[test]
    fn a_pair_and_a_list_at_once_are_refused() {
        let inputs = json!({"text": "a", "text_pair": "b", "sentences": ["c"]});
        assert_eq!(read_request(Some(inputs).into(), None).unwrap_err().code, Code::InvalidRequest);
    }
}

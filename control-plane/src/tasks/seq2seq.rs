//! `text2text-generation`, `summarization`, `translation`: texts in, a text for each out.

use proto::{
    Seq2SeqInputs, Seq2SeqOptions, SummarizationRequest, Text2TextGenerationRequest, Texts,
    TranslationInputs, TranslationRequest, http::WrittenAnswer, infer_request::Input,
};
use serde_json::Value;

use super::{Named, Schemas, Sent, Task, read};
use crate::failure::Failure;

pub(super) const TEXT2TEXT_GENERATION: Task = Task {
    id: "text2text-generation",
    aliases: &[],
    summary: "Answers a text with another, as its instruction says.",
    example: r#"{"inputs": {"text": "Is a boat larger than a ship?"}, "options": {"max_new_tokens": 32}}"#,
    read: read_text2text_generation,
    schemas: schemas::<Seq2SeqInputs>(),
    ..WRITES_TEXT
};

pub(super) const SUMMARIZATION: Task = Task {
    id: "summarization",
    aliases: &[],
    summary: "Says in few words what a text says in many.",
    example: r#"{"inputs": {"text": "The boat left at noon. At night it had not come back."}, "options": {"num_beams": 4}}"#,
    read: read_summarization,
    schemas: schemas::<Seq2SeqInputs>(),
    ..WRITES_TEXT
};

pub(super) const TRANSLATION: Task = Task {
    id: "translation",
    aliases: &[],
    summary: "Translates texts from one language into another.",
    example: r#"{"inputs": {"text": "A small boat.", "src_lang": "eng_Latn", "tgt_lang": "fra_Latn"}}"#,
    read: read_translation,
    schemas: schemas::<TranslationInputs>(),
    ..WRITES_TEXT
};

/// What the three have in common.
const WRITES_TEXT: Task = Task {
    id: "",
    aliases: &[],
    summary: "",
    takes: &["text"],
    makes: &["text"],
    streams: &["token", "progress"],
    required: &[&["text"]],
    example: "",
    read: read_text2text_generation,
    schemas: schemas::<Seq2SeqInputs>(),
};

const fn schemas<T: utoipa::ToSchema>() -> Schemas {
    Schemas {
        inputs: Named::of::<T>(),
        options: Named::of::<Seq2SeqOptions>(),
        output: Named::of::<WrittenAnswer>(),
    }
}

fn read_text2text_generation(inputs: Sent, options: Option<Value>) -> Result<Input, Failure> {
    let inputs: Seq2SeqInputs = read::inputs(inputs)?;
    check(&TEXT2TEXT_GENERATION, inputs.text.as_ref())?;
    let options: Seq2SeqOptions = read::options(options)?;
    let request = Text2TextGenerationRequest { inputs: Some(inputs), options: Some(options) };
    Ok(Input::Text2textGeneration(request))
}

fn read_summarization(inputs: Sent, options: Option<Value>) -> Result<Input, Failure> {
    let inputs: Seq2SeqInputs = read::inputs(inputs)?;
    check(&SUMMARIZATION, inputs.text.as_ref())?;
    let options: Seq2SeqOptions = read::options(options)?;
    let request = SummarizationRequest { inputs: Some(inputs), options: Some(options) };
    Ok(Input::Summarization(request))
}

fn read_translation(inputs: Sent, options: Option<Value>) -> Result<Input, Failure> {
    let inputs: TranslationInputs = read::inputs(inputs)?;
    check(&TRANSLATION, inputs.text.as_ref())?;
    let options: Seq2SeqOptions = read::options(options)?;
    let request = TranslationRequest { inputs: Some(inputs), options: Some(options) };
    Ok(Input::Translation(request))
}

fn check(task: &Task, text: Option<&Texts>) -> Result<(), Failure> {
    if text.is_none_or(|texts| texts.items.is_empty()) {
        return Err(task.missing(&["text"]));
    }
    Ok(())
}

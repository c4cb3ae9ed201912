//! The task table: everything that lists tasks reads it.
//!
//! Adding a task: a file with its `TASK`, one line in [`TASKS`].

mod feature_extraction;
mod files;
mod fill_mask;
mod image_classification;
mod image_enhancement;
mod image_to_image;
mod intents;
mod planned;
mod question_answering;
mod read;
mod sentence_similarity;
mod seq2seq;
mod table_question_answering;
mod text_classification;
mod text_generation;
mod text_ranking;
mod text_to_image;
mod token_classification;
mod unconditional_image_generation;
mod zero_shot_classification;

pub use files::{File, Sent};
pub use intents::{INTENTS, Intent};
pub use planned::is_planned;
pub use read::check_text_sizes;

use proto::infer_request::Input;
use serde_json::Value;
use utoipa::openapi::{RefOr, Schema};

use crate::failure::{Code, Failure};

/// Tasks that this server speaks, in the order in which they are listed.
pub const TASKS: &[Task] = &[
    text_generation::TASK,
    seq2seq::TEXT2TEXT_GENERATION,
    seq2seq::SUMMARIZATION,
    seq2seq::TRANSLATION,
    token_classification::TASK,
    question_answering::TASK,
    table_question_answering::TASK,
    fill_mask::TASK,
    feature_extraction::TASK,
    sentence_similarity::TASK,
    text_classification::TASK,
    zero_shot_classification::TASK,
    text_ranking::TEXT_RANKING,
    text_ranking::TEXT_RETRIEVAL,
    image_classification::TASK,
    text_to_image::TASK,
    image_to_image::TASK,
    unconditional_image_generation::TASK,
    image_enhancement::SUPER_RESOLUTION,
    image_enhancement::RESTORATION,
];

/// One task.
pub struct Task {
    pub id: &'static str,
    /// Other names under which requests may ask for it.
    pub aliases: &'static [&'static str],
    pub summary: &'static str,
    /// What it takes: `text`, `image`, `audio`, `video` …
    pub takes: &'static [&'static str],
    /// What it makes.
    pub makes: &'static [&'static str],
    /// Kinds of stream events beside those that every task has.
    pub streams: &'static [&'static str],
    /// Inputs that must be there; each entry lists alternatives.
    pub required: &'static [&'static [&'static str]],
    /// Inputs and options as JSON text, ready to be sent.
    pub example: &'static str,
    /// Reads the typed request.
    pub read: fn(Sent, Option<Value>) -> Result<Input, Failure>,
    /// Names of the schemas of inputs, options and output in the OpenAPI document.
    pub schemas: Schemas,
}

/// Schemas of a task's messages.
pub struct Schemas {
    pub inputs: Named,
    pub options: Named,
    pub output: Named,
}

/// A schema and its name.
#[derive(Clone, Copy)]
pub struct Named {
    pub name: fn() -> std::borrow::Cow<'static, str>,
    pub schema: fn() -> RefOr<Schema>,
    /// Adds what the schema refers to.
    pub others: fn(&mut Vec<(String, RefOr<Schema>)>),
}

impl Named {
    pub(crate) const fn of<T: utoipa::ToSchema>() -> Self {
        Self { name: T::name, schema: T::schema, others: T::schemas }
    }
}

impl Task {
    /// `{"inputs": …, "options": …}`, ready to be sent with a model id.
    pub fn example(&self) -> Value {
        serde_json::from_str(self.example).unwrap_or(Value::Null)
    }

    /// The failure for inputs that lack `missing`.
    pub(crate) fn missing(&self, missing: &[&str]) -> Failure {
        let message = format!("{} needs inputs.{}", self.id, missing.join(", inputs."));
        Failure::new(Code::MissingInputs, message)
            .with("missing", missing)
            .with("example", self.example())
    }
}

/// The task with this id or alias.
pub fn find(name: &str) -> Result<&'static Task, Failure> {
    let named = |task: &&Task| task.id == name || task.aliases.contains(&name);
    if let Some(task) = TASKS.iter().find(named) {
        return Ok(task);
    }
    let supported: Vec<&str> = TASKS.iter().map(|task| task.id).collect();
    let failure = if is_planned(name) {
        Failure::new(Code::TaskNotSupported, format!("{name} is not supported yet"))
    } else {
        Failure::new(Code::UnknownTask, format!("there is no task {name:?}"))
    };
    Err(failure.with("field", "task").with("supported", supported))
}

/// The seed that the request asks for, in tasks that draw random numbers.
pub fn seed(input: &Input) -> Option<u64> {
    match input {
        Input::TextGeneration(request) => request.options.as_ref()?.seed,
        Input::Text2textGeneration(request) => request.options.as_ref()?.seed,
        Input::Summarization(request) => request.options.as_ref()?.seed,
        Input::Translation(request) => request.options.as_ref()?.seed,
        Input::TextToImage(request) => request.options.as_ref()?.seed,
        Input::ImageToImage(request) => request.options.as_ref()?.seed,
        Input::UnconditionalImageGeneration(request) => request.options.as_ref()?.seed,
        Input::ImageSuperResolution(request) => request.options.as_ref()?.seed,
        Input::FeatureExtraction(_)
        | Input::SentenceSimilarity(_)
        | Input::TokenClassification(_)
        | Input::QuestionAnswering(_)
        | Input::FillMask(_)
        | Input::TableQuestionAnswering(_)
        | Input::TextClassification(_)
        | Input::ZeroShotClassification(_)
        | Input::TextRanking(_)
        | Input::TextRetrieval(_)
        | Input::ImageClassification(_)
        | Input::ImageRestoration(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_aliases_are_unique() {
        let mut names: Vec<&str> =
            TASKS.iter().flat_map(|task| task.aliases.iter().chain([&task.id])).copied().collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn every_example_is_read_by_its_own_task() {
        for task in TASKS {
            let example = task.example();
            let inputs = Sent::from(example.get("inputs").cloned());
            let read = (task.read)(inputs, example.get("options").cloned());
            assert!(read.is_ok(), "{}: {read:?}", task.id);
        }
    }

    #[test]
    fn every_task_names_the_inputs_that_are_missing() {
        for task in TASKS.iter().filter(|task| !task.required.is_empty()) {
            for inputs in [None, Some(serde_json::json!({}))] {
                let failure = (task.read)(inputs.into(), None).unwrap_err();
                assert_eq!(failure.code, Code::MissingInputs, "{}", task.id);
                assert!(
                    failure.details["missing"].as_array().is_some_and(|names| !names.is_empty())
                );
                assert!(failure.details["example"]["inputs"].is_object());
            }
        }
    }

    #[test]
    fn a_task_of_the_hub_that_is_not_there_yet_is_told_from_a_made_up_one() {
        assert_eq!(
            find("text-to-3d").err().map(|failure| failure.code),
            Some(Code::TaskNotSupported)
        );
        assert_eq!(find("tea-making").err().map(|failure| failure.code), Some(Code::UnknownTask));
        assert_eq!(find("conversational").map(|task| task.id).ok(), Some("text-generation"));
    }
}

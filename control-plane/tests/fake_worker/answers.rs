//! Events, results and errors as a worker sends them.

use prost::Message;
use proto::{
    Embedding, EmbeddingOutput, ErrorDetail, ErrorFact, GeneratedText, InferResult, LabelScore,
    Labels, LabelsOutput, ResultMetadata, SimilarityOutput, StartedEvent, TextOutput, TokenEvent,
    error_fact::Fact, infer_event::Event, infer_result::Output,
};
use tonic::{Code, Status};

use super::Step;

pub fn event(event: Event) -> Step {
    Step::Send(Box::new(event))
}

pub fn started() -> Step {
    event(Event::Started(StartedEvent {
        model_id: "org/model".into(),
        task: "text-generation".into(),
        worker: "fake".into(),
        device: "cpu".into(),
        dtype: "float32".into(),
        ..Default::default()
    }))
}

pub fn token(index: u32, text: &str) -> Step {
    event(Event::Token(TokenEvent {
        index,
        text: text.into(),
        token_id: index,
        ..Default::default()
    }))
}

fn result(task: &str, output: Output) -> Step {
    let metadata = ResultMetadata {
        task: task.into(),
        backend: "torch".into(),
        device: "cpu".into(),
        dtype: "float32".into(),
        resolved_model_id: "org/model".into(),
        revision: "c0ffee".into(),
        architecture: "gpt2".into(),
        tokens_per_second: Some(50.0),
        ..Default::default()
    };
    event(Event::Result(InferResult { metadata: Some(metadata), output: Some(output) }))
}

pub fn text(text: &str) -> Step {
    let text = GeneratedText {
        text: text.into(),
        finish_reason: "length".into(),
        prompt_tokens: 3,
        generated_tokens: 2,
        ..GeneratedText::default()
    };
    result("text-generation", Output::Text(TextOutput { choices: vec![text], is_chat: false }))
}

pub fn embedding(values: Vec<f32>) -> Step {
    let item = Embedding { dim: values.len() as u32, values, tokens: 0 };
    result(
        "feature-extraction",
        Output::Embeddings(EmbeddingOutput { items: vec![item], is_list: false }),
    )
}

pub fn similarity(scores: Vec<f64>) -> Step {
    result("sentence-similarity", Output::Similarity(SimilarityOutput { scores, is_pair: false }))
}

pub fn labels() -> Step {
    let label = LabelScore { label: "red circle".into(), score: 0.75 };
    let items = vec![Labels { predictions: vec![label] }];
    result("image-classification", Output::Labels(LabelsOutput { items, is_list: false }))
}

/// A status with the detail that workers attach.
pub fn detail(grpc: Code, code: &str, field: &str, message: &str) -> Status {
    let fact = ErrorFact { name: "limit".into(), fact: Some(Fact::Number(9)) };
    let detail = ErrorDetail {
        code: code.into(),
        field: field.into(),
        facts: vec![fact],
        message: message.into(),
        ..Default::default()
    };
    let any = prost_types::Any {
        type_url: "type.googleapis.com/anymodel.v1.ErrorDetail".into(),
        value: detail.encode_to_vec(),
    };
    let packed =
        tonic_types::pb::Status { code: grpc as i32, message: message.into(), details: vec![any] };
    Status::with_details(grpc, message, packed.encode_to_vec().into())
}

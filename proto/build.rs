//! Compiles the contract without `protoc`, and writes the descriptor set that reflection serves.
//!
//! With the feature `http` the messages that cross the HTTP edge also get serde and OpenAPI derives, chosen by rule:
//! `…Inputs` and `…Options` are read strictly, the messages in [`ANSWERS`] are written.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};
use tonic_prost_build::Builder;

/// Messages inside inputs, beside every `…Inputs` and `…Options`.
const REQUEST_PARTS: &[&str] = &["ChatMessage"];

/// Messages that HTTP answers carry as they are. Those of another shape in JSON have their serde in `src/http`.
const ANSWERS: &[&str] = &[
    "AudioEvent",
    "ContextAnswer",
    "Device",
    "DeviceBudget",
    "DeviceBytes",
    "Entities",
    "Entity",
    "Eviction",
    "FillMaskOutput",
    "FilledMask",
    "FilledToken",
    "GeneratedText",
    "ImagesOutput",
    "LabelScore",
    "Labels",
    "LearnedCost",
    "LoadingEvent",
    "MadeImage",
    "PartialEvent",
    "ProgressEvent",
    "QueuedEvent",
    "RankedText",
    "RankingOutput",
    "Regret",
    "RequestLimits",
    "ResidentAdapter",
    "ResultMetadata",
    "StartedEvent",
    "StepWorkspace",
    "TaskSupport",
    "TokenEvent",
    "TokenLogprob",
    "TopToken",
    "Unloaded",
];

/// Lists of answers that are left out when empty, since they exist only when asked for.
const OPTIONAL_LISTS: &[&str] =
    &["GeneratedText.logprobs", "ImagesOutput.notices", "TokenEvent.top"];

/// Answers whose absence is said with `null`, since it means something.
const NULLABLE: &[&str] = &["ResultMetadata.load_ms"];

const REQUEST_DERIVES: &str = "#[derive(serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
    #[serde(deny_unknown_fields)]";
const ANSWER_DERIVES: &str = "#[derive(serde::Serialize, utoipa::ToSchema)]";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(["anymodel/v1/worker.proto"], ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;

    // A snapshot and a result are large, and sent rarely.
    let mut builder = tonic_prost_build::configure();
    for large in ["StatusEvent.change", "InferEvent.event"] {
        builder = builder.enum_attribute(large, "#[allow(clippy::large_enum_variant)]");
    }
    if env::var_os("CARGO_FEATURE_HTTP").is_some() {
        builder = with_http(builder, &descriptors);
    }
    builder.compile_fds(descriptors)?;
    Ok(())
}

fn with_http(mut builder: Builder, descriptors: &FileDescriptorSet) -> Builder {
    for message in descriptors.file.iter().flat_map(|file| &file.message_type) {
        let name = message.name();
        if name.ends_with("Inputs") || name.ends_with("Options") || REQUEST_PARTS.contains(&name) {
            builder = builder.message_attribute(name, REQUEST_DERIVES);
            builder = with_fields(builder, message, request_attribute);
        } else if ANSWERS.contains(&name) {
            builder = builder.message_attribute(name, ANSWER_DERIVES);
            builder = with_fields(builder, message, answer_attribute);
        }
    }
    builder
}

fn with_fields(
    mut builder: Builder,
    message: &DescriptorProto,
    attribute: fn(&str, &FieldDescriptorProto) -> Option<&'static str>,
) -> Builder {
    for field in &message.field {
        let path = format!("{}.{}", message.name(), field.name());
        if let Some(attribute) = attribute(&path, field) {
            builder = builder.field_attribute(&path, attribute);
        }
        // Media are text in JSON, and their names say so.
        if field.type_name().ends_with(".Media") {
            let rename = format!("#[serde(rename = \"{}_base64\")]", field.name());
            builder = builder.field_attribute(&path, rename);
        }
    }
    builder
}

fn request_attribute(path: &str, field: &FieldDescriptorProto) -> Option<&'static str> {
    if path == "TableQuestionAnsweringInputs.question" {
        // Clients of the Hub's own API call it so.
        return Some(
            "#[serde(default, alias = \"query\", skip_serializing_if = \"Option::is_none\")]",
        );
    }
    if field.label() == Label::Repeated {
        return Some("#[serde(default, skip_serializing_if = \"Vec::is_empty\")]");
    }
    is_option(field).then_some("#[serde(default, skip_serializing_if = \"Option::is_none\")]")
}

fn answer_attribute(path: &str, field: &FieldDescriptorProto) -> Option<&'static str> {
    if OPTIONAL_LISTS.contains(&path) {
        return Some("#[serde(default, skip_serializing_if = \"Vec::is_empty\")]");
    }
    if field.label() == Label::Repeated || NULLABLE.contains(&path) {
        return None;
    }
    is_option(field).then_some("#[serde(skip_serializing_if = \"Option::is_none\")]")
}

/// Whether prost makes the field an `Option`.
fn is_option(field: &FieldDescriptorProto) -> bool {
    field.proto3_optional() || field.r#type() == Type::Message
}

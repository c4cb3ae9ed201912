//! `/openapi.json` and the rendered reference at `/docs`.

use std::{borrow::Cow, sync::LazyLock};

use axum::{Router, body::Bytes, http::header::CONTENT_TYPE, response::IntoResponse, routing::get};
use serde_json::{Map, Value};
use utoipa::{
    OpenApi, PartialSchema, ToSchema,
    openapi::{
        ObjectBuilder, OneOfBuilder, Ref, RefOr, Schema,
        schema::{AdditionalProperties, SchemaType, Type},
    },
};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::{
    catalogue, envelope::RunOptions, evictions, explain, form::InferenceForm, health, inference,
    load, policy, sse, status, stream, tasks as tasks_resource, unload, workers,
};
use crate::tasks::{Named, TASKS, Task};

#[derive(OpenApi)]
#[openapi(
    info(title = "anymodel", description = "Any Hugging Face model of any task, over HTTP."),
    paths(
        inference::infer,
        stream::post,
        stream::get,
        catalogue::list,
        status::status,
        status::stream,
        load::load,
        unload::unload,
        unload::delete,
        policy::patch,
        evictions::list,
        explain::explain,
        tasks_resource::list,
        tasks_resource::one,
        tasks_resource::intents,
        workers::list,
        workers::patch,
        workers::drain,
        workers::restart,
        health::alive,
        health::ready,
        health::metrics,
    ),
    components(schemas(
        InferenceForm,
        InferenceRequest,
        sse::StreamEvent,
        sse::LoadStreamEvent,
        status::StatusStreamEvent
    ))
)]
struct Document;

/// The document as JSON text.
///
/// # Panics
/// Never: the document has only text keys.
pub fn openapi_json() -> String {
    Document::openapi().to_pretty_json().expect("the document is plain JSON")
}

/// The document as it is served. Made when it is first asked for: it takes megabytes to make, and few ask.
static SERVED: LazyLock<Bytes> =
    LazyLock::new(|| Document::openapi().to_json().expect("the document is plain JSON").into());

async fn served() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], SERVED.clone())
}

/// `/openapi.json` and `/docs`; nothing is loaded from elsewhere.
pub(super) fn docs() -> Router {
    let page = SwaggerUi::new("/docs").config(Config::from("/openapi.json"));
    Router::from(page).route("/openapi.json", get(served))
}

/// A prediction of any task: one branch per task.
pub(super) struct InferenceRequest;

impl PartialSchema for InferenceRequest {
    fn schema() -> RefOr<Schema> {
        let branches =
            TASKS.iter().fold(OneOfBuilder::new(), |one_of, task| one_of.item(branch(task)));
        branches
            .description(Some(
                "A prediction. `task` may be left out where the repository tells it.",
            ))
            .into()
    }
}

impl ToSchema for InferenceRequest {
    fn name() -> Cow<'static, str> {
        "InferenceRequest".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((RunOptions::name().into_owned(), RunOptions::schema()));
        RunOptions::schemas(schemas);
        for part in TASKS.iter().flat_map(|task| [&task.schemas.inputs, &task.schemas.options]) {
            schemas.push(((part.name)().into_owned(), (part.schema)()));
            (part.others)(schemas);
        }
    }
}

fn branch(task: &Task) -> Schema {
    let text = || ObjectBuilder::new().schema_type(SchemaType::new(Type::String));
    let refer = |named: &Named| Ref::from_schema_name((named.name)());
    let names = std::iter::once(task.id).chain(task.aliases.iter().copied());
    ObjectBuilder::new()
        .title(Some(task.id))
        .description(Some(task.summary))
        .property("model_id", text().description(Some("`org/name[@revision]`")))
        .required("model_id")
        .property("task", text().enum_values(Some(names)))
        .property("inputs", refer(&task.schemas.inputs))
        .required("inputs")
        .property("options", refer(&task.schemas.options))
        .property("run", Ref::from_schema_name(RunOptions::name()))
        .property("input_type", text().description(Some("Given back in `echo`.")))
        .property("intent_id", text().description(Some("Given back in `echo`.")))
        .additional_properties(Some(AdditionalProperties::FreeForm(false)))
        .examples([example(task)])
        .into()
}

fn example(task: &Task) -> Value {
    let mut request = Map::from_iter([
        ("model_id".to_owned(), "org/name".into()),
        ("task".to_owned(), task.id.into()),
    ]);
    if let Value::Object(example) = task.example() {
        request.extend(example);
    }
    request.into()
}

/// The schema with everything it refers to put in its place.
pub(super) fn standalone_schema(named: &Named) -> Value {
    let mut others = Vec::new();
    (named.others)(&mut others);
    let others = others.into_iter().map(|(name, schema)| (name, to_json(&schema))).collect();
    inline(to_json(&(named.schema)()), &others)
}

fn to_json(schema: &RefOr<Schema>) -> Value {
    serde_json::to_value(schema).unwrap_or(Value::Null)
}

fn inline(value: Value, others: &Map<String, Value>) -> Value {
    match value {
        Value::Object(fields) => {
            let name =
                fields.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next());
            match name.and_then(|name| others.get(name)) {
                Some(schema) => inline(schema.clone(), others),
                None => {
                    fields.into_iter().map(|(name, value)| (name, inline(value, others))).collect()
                }
            }
        }
        Value::Array(items) => items.into_iter().map(|item| inline(item, others)).collect(),
        plain => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frontends_copy_of_the_document_is_current() {
        let copy = include_str!("../../../frontend/openapi.json");
        assert!(
            copy.trim_end() == openapi_json(),
            "frontend/openapi.json is old: run `make openapi`"
        );
    }

    #[test]
    fn every_operation_has_a_name_of_its_own() {
        let document: Value = serde_json::from_str(&openapi_json()).expect("it is JSON");
        let operations = document["paths"].as_object().expect("paths").values();
        let names = operations.flat_map(|path| path.as_object().into_iter().flatten());
        let mut names: Vec<&str> =
            names.filter_map(|(_, operation)| operation["operationId"].as_str()).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_of_the_document_has_its_schema() {
        let document: Value = serde_json::from_str(&openapi_json()).unwrap();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 50);
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn the_request_has_a_branch_per_task_and_knows_every_option() {
        let document: Value = serde_json::from_str(&openapi_json()).unwrap();
        let branches = &document["components"]["schemas"]["InferenceRequest"]["oneOf"];
        assert_eq!(branches.as_array().map(Vec::len), Some(TASKS.len()));
        let options = &document["components"]["schemas"]["TextGenerationOptions"]["properties"];
        for option in proto::http::fields_of::<proto::TextGenerationOptions>() {
            assert!(options.get(option).is_some(), "{option}");
        }
    }

    #[test]
    fn a_prediction_is_sent_as_json_or_as_a_form_with_files() {
        let document: Value = serde_json::from_str(&openapi_json()).unwrap();
        for path in ["/api/inference", "/api/inference/stream"] {
            let content = &document["paths"][path]["post"]["requestBody"]["content"];
            let schema = |kind: &str| content[kind]["schema"]["$ref"].as_str();
            assert_eq!(
                (schema("application/json"), schema("multipart/form-data")),
                (
                    Some("#/components/schemas/InferenceRequest"),
                    Some("#/components/schemas/InferenceForm")
                )
            );
        }
        let form = &document["components"]["schemas"]["InferenceForm"];
        assert_eq!(form["required"], serde_json::json!(["spec"]));
        assert_eq!(form["properties"]["image"]["format"], "binary");
    }

    #[test]
    fn schemas_of_tasks_stand_alone() {
        for task in TASKS {
            for part in [&task.schemas.inputs, &task.schemas.options, &task.schemas.output] {
                let schema = standalone_schema(part);
                assert!(!schema.to_string().contains("$ref"), "{}: {schema}", task.id);
            }
        }
    }
}

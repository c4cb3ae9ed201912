//! A prediction as `multipart/form-data`: the part `spec` is the JSON body, the other parts are its files.

use std::{borrow::Cow, sync::atomic::Ordering};

use axum::{
    body::Body,
    http::{HeaderMap, header::CONTENT_TYPE},
};
use multer::{Field, Multipart};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ObjectBuilder, Ref, RefOr, Schema, SchemaFormat,
        schema::{AdditionalProperties, KnownFormat, SchemaType, Type},
    },
};

use super::{
    body::{self, JsonBody},
    openapi::InferenceRequest,
    upload::{Upload, too_large},
};
use crate::{
    config::Config,
    failure::{Code, Failure},
    tasks::File,
};

/// Name of the part with the JSON body.
const SPEC: &str = "spec";

/// The parts; `spec` still unread.
#[derive(Default)]
struct Form {
    spec: Option<Vec<u8>>,
    files: Vec<File>,
}

/// Reads the parts in any order; each is held once, as it came.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    config: &Config,
) -> Result<JsonBody, Failure> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let boundary =
        content_type.and_then(|given| multer::parse_boundary(given).ok()).ok_or_else(|| {
            let message = "multipart/form-data must come with a boundary";
            Failure::new(Code::UnsupportedMediaType, message)
        })?;
    let mut upload = Upload::new(headers, body, config.multipart_limit, config);
    let form = match parts(&mut upload, boundary, config.body_limit).await {
        Ok(form) => form,
        Err(failure) => return Err(upload.refuse(failure).await),
    };
    let spec = form.spec.ok_or_else(|| {
        Failure::invalid(SPEC, "is missing: the part with the JSON of the request")
    })?;
    let is_large = spec.len() > body::LARGE;
    let value = body::value_of(spec.into(), SPEC).await.map_err(|failure| {
        let names_field = failure.details.contains_key("field");
        if names_field { failure } else { failure.with("field", SPEC) }
    })?;
    Ok(JsonBody { value, is_large, files: form.files })
}

async fn parts(upload: &mut Upload, boundary: String, spec_limit: u64) -> Result<Form, Failure> {
    let unread = upload.unread();
    let mut multipart = Multipart::new(upload, boundary);
    let mut form = Form::default();
    while let Some(field) = multipart.next_field().await.map_err(broken)? {
        unread.store(0, Ordering::Relaxed);
        let name = field.name().map(str::to_owned);
        let name = name.ok_or_else(|| Failure::invalid("body", "a part has no name"))?;
        if name == SPEC {
            refuse_twice(SPEC, form.spec.is_some())?;
            form.spec = Some(gather(field, &unread, Some(spec_limit)).await?);
        } else {
            let mut file = File::named(&name).ok_or_else(|| unknown(&name))?;
            refuse_twice(&name, form.files.iter().any(|known| known.name() == name))?;
            file.bytes = gather(field, &unread, None).await?;
            if file.bytes.is_empty() {
                let failure =
                    Failure::new(Code::InvalidMedia, format!("{name}: the file has no bytes"));
                return Err(failure.with("field", name));
            }
            form.files.push(file);
        }
    }
    Ok(form)
}

async fn gather(
    mut field: Field<'_>,
    unread: &std::sync::atomic::AtomicU64,
    limit: Option<u64>,
) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(broken)? {
        unread.store(0, Ordering::Relaxed);
        bytes.extend_from_slice(&chunk);
        if let Some(limit) = limit.filter(|limit| bytes.len() as u64 > *limit) {
            return Err(too_large(SPEC, bytes.len() as u64, limit).with("field", SPEC));
        }
    }
    Ok(bytes)
}

fn refuse_twice(name: &str, is_there: bool) -> Result<(), Failure> {
    if is_there { Err(Failure::invalid(name, "there are two parts of this name")) } else { Ok(()) }
}

fn unknown(name: &str) -> Failure {
    let known = [&[SPEC], File::NAMES].concat();
    Failure::invalid(name, format!("there is no such part; there are: {}", known.join(", ")))
        .with("known", known)
}

/// What ended the body, or why it cannot be taken apart.
fn broken(error: multer::Error) -> Failure {
    match error {
        multer::Error::StreamReadFailed(cause) => match cause.downcast::<Failure>() {
            Ok(failure) => *failure,
            Err(_) => Failure::invalid("body", "the body ended too early"),
        },
        multer::Error::IncompleteStream
        | multer::Error::IncompleteHeaders
        | multer::Error::IncompleteFieldData { .. } => {
            Failure::invalid("body", "the body ended before the last boundary")
        }
        other => Failure::invalid("body", format!("cannot be taken apart: {other}")),
    }
}

/// A prediction with its media as files, without base64.
pub(super) struct InferenceForm;

impl PartialSchema for InferenceForm {
    fn schema() -> RefOr<Schema> {
        let form = ObjectBuilder::new()
            .description(Some(
                "The JSON of the request as the part `spec`, and the files of its inputs. Parts come in any order.",
            ))
            .property(SPEC, Ref::from_schema_name(InferenceRequest::name()))
            .required(SPEC);
        let file = |name: &str| {
            ObjectBuilder::new()
                .schema_type(SchemaType::new(Type::String))
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)))
                .description(Some(format!("The bytes of `inputs.{name}_base64`.")))
        };
        File::NAMES
            .iter()
            .fold(form, |form, name| form.property(*name, file(name)))
            .additional_properties(Some(AdditionalProperties::FreeForm(false)))
            .into()
    }
}

impl ToSchema for InferenceForm {
    fn name() -> Cow<'static, str> {
        "InferenceForm".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((InferenceRequest::name().into_owned(), InferenceRequest::schema()));
        InferenceRequest::schemas(schemas);
    }
}

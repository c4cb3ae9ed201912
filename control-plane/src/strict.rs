//! Reads JSON objects as typed messages, strictly: what is wrong is named by its field.

use proto::http::fields_of;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::failure::{Code, Failure};

/// The message in `value`; absent and `null` are the empty message.
///
/// `path` is where the object stands in the request (empty: it is the request), `unknown` the code for fields that don't exist.
pub fn read<T: DeserializeOwned>(
    path: &str,
    unknown: Code,
    value: Option<Value>,
) -> Result<T, Failure> {
    let fields = match value {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(fields)) => fields,
        Some(other) => {
            let path = if path.is_empty() { "body" } else { path };
            return Err(Failure::invalid(
                path,
                format!("expected an object, found {}", kind_of(&other)),
            ));
        }
    };
    let known = fields_of::<T>();
    if let Some(name) = fields.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(unknown_field(unknown, &join(path, name), known));
    }
    let value = Value::Object(fields);
    T::deserialize(&value).map_err(|error| wrong_field::<T>(path, &value, &error))
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn unknown_field(code: Code, field: &str, known: &[&str]) -> Failure {
    let message = format!("there is no {field}; there are: {}", known.join(", "));
    let list = if code == Code::UnknownOption { "options" } else { "known" };
    Failure::new(code, message).with("field", field).with(list, known)
}

/// Finds the field at fault by reading each one alone.
fn wrong_field<T: DeserializeOwned>(
    path: &str,
    value: &Value,
    error: &serde_json::Error,
) -> Failure {
    for (name, field_value) in value.as_object().into_iter().flatten() {
        let alone = Value::Object(Map::from_iter([(name.clone(), field_value.clone())]));
        let Err(reason) = T::deserialize(&alone) else { continue };
        let field = join(path, name);
        // Bytes that aren't base64 are bad media; anything but a string is a bad request.
        if name.ends_with("_base64") && field_value.is_string() {
            return Failure::new(Code::InvalidMedia, format!("{field}: {reason}"))
                .with("field", field);
        }
        return Failure::invalid(field, reason.to_string());
    }
    Failure::invalid(if path.is_empty() { "body" } else { path }, error.to_string())
}

/// What a value is, for messages.
fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

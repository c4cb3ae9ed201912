//! Reads JSON objects as typed messages, strictly: what is wrong is named by its field.

use proto::http::fields_of;
use serde::{
    Deserializer,
    de::{DeserializeOwned, IntoDeserializer, Visitor, value::MapDeserializer},
    forward_to_deserialize_any,
};
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
    read_with_files(path, unknown, value, Vec::new())
}

/// As [`read`], with fields that came as bytes beside the JSON; their names are known to be fields, and not in the JSON.
pub fn read_with_files<T: DeserializeOwned>(
    path: &str,
    unknown: Code,
    value: Option<Value>,
    files: Vec<(String, Vec<u8>)>,
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
    let plain = fields.iter().map(|(name, value)| (name.clone(), Field::Json(value)));
    let files = files.into_iter().map(|(name, bytes)| (name, Field::File(bytes)));
    T::deserialize(MapDeserializer::new(plain.chain(files)))
        .map_err(|error| wrong_field::<T>(path, &fields, &error))
}

/// The value of one field.
enum Field<'a> {
    Json(&'a Value),
    File(Vec<u8>),
}

impl<'de> IntoDeserializer<'de, serde_json::Error> for Field<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Field<'de> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self {
            Self::Json(value) => value.deserialize_any(visitor),
            Self::File(bytes) => visitor.visit_byte_buf(bytes),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self {
            Self::Json(value) => value.deserialize_option(visitor),
            file @ Self::File(_) => visitor.visit_some(file),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        match self {
            Self::Json(value) => value.deserialize_enum(name, variants, visitor),
            Self::File(bytes) => visitor.visit_byte_buf(bytes),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        match self {
            Self::Json(value) => value.deserialize_newtype_struct(name, visitor),
            file @ Self::File(_) => visitor.visit_newtype_struct(file),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
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
    fields: &Map<String, Value>,
    error: &serde_json::Error,
) -> Failure {
    for (name, field_value) in fields {
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

//! Reads a request's body as JSON: type, encoding and syntax, each with its own error.

use std::sync::atomic::Ordering;

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, header::ACCEPT, header::CONTENT_TYPE},
};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use serde_json::Value;

use super::{App, form, upload::Upload};
use crate::{
    config::Config,
    failure::{Code, Failure},
    tasks::File,
};

const JSON: &str = "application/json";
const FORM: &str = "multipart/form-data";

/// From here on parsing takes too long for the async threads.
pub(super) const LARGE: usize = 128 << 10;

/// A body that parsed, whether it was large, and the files that came with it.
pub(super) struct JsonBody {
    pub(super) value: Value,
    pub(super) is_large: bool,
    pub(super) files: Vec<File>,
}

pub(super) async fn json(request: Request, app: &App) -> Result<JsonBody, Failure> {
    let (parts, body) = request.into_parts();
    if !is_json(&parts.headers) {
        return Err(wrong_type(&parts.headers, &[JSON]));
    }
    read(&parts.headers, body, &app.config).await
}

/// A prediction: as JSON, or as a form with files.
pub(super) async fn prediction(request: Request, app: &App) -> Result<JsonBody, Failure> {
    let (parts, body) = request.into_parts();
    if is_json(&parts.headers) {
        read(&parts.headers, body, &app.config).await
    } else if essence(&parts.headers).eq_ignore_ascii_case(FORM) {
        form::read(&parts.headers, body, &app.config).await
    } else {
        Err(wrong_type(&parts.headers, &[JSON, FORM]))
    }
}

/// The type without its parameters; empty when there is none.
fn essence(headers: &HeaderMap) -> &str {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    given.split(';').next().unwrap_or_default().trim()
}

fn is_json(headers: &HeaderMap) -> bool {
    let essence = essence(headers).to_ascii_lowercase();
    essence == JSON || essence.starts_with("application/") && essence.ends_with("+json")
}

fn wrong_type(headers: &HeaderMap, supported: &[&str]) -> Failure {
    let given = headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or("unreadable"));
    let message = format!(
        "the body must be {}, not {}",
        supported.join(" or "),
        given.unwrap_or("of no type")
    );
    Failure::new(Code::UnsupportedMediaType, message).with("supported", supported)
}

async fn read(headers: &HeaderMap, body: Body, config: &Config) -> Result<JsonBody, Failure> {
    let mut upload = Upload::new(headers, body, config.body_limit, config);
    let unread = upload.unread();
    let mut bytes = BytesMut::with_capacity(upload.expected());
    while let Some(frame) = upload.next().await {
        match frame {
            Ok(frame) => bytes.extend_from_slice(&frame),
            Err(failure) => {
                // What was read so far is of no use any more.
                drop(bytes);
                return Err(upload.refuse(failure).await);
            }
        }
        unread.store(0, Ordering::Relaxed);
    }
    let is_large = bytes.len() > LARGE;
    let value = value_of(bytes.freeze(), "the body").await?;
    Ok(JsonBody { value, is_large, files: Vec::new() })
}

/// The JSON in `bytes`; `what` names them in failures.
pub(super) async fn value_of(bytes: Bytes, what: &'static str) -> Result<Value, Failure> {
    if bytes.len() <= LARGE {
        return parse(&bytes, what);
    }
    let parsed = tokio::task::spawn_blocking(move || parse(&bytes, what)).await;
    parsed.unwrap_or_else(|_| {
        Err(Failure::new(Code::InvalidJson, format!("{what} cannot be read as JSON")))
    })
}

fn parse(bytes: &[u8], what: &str) -> Result<Value, Failure> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let message = format!("{what} is not UTF-8 at byte {}", error.valid_up_to());
        Failure::new(Code::InvalidJson, message).with("byte", error.valid_up_to())
    })?;
    serde_json::from_str(text).map_err(|error| {
        if let Some((field, number)) = unspeakable_number(text, &error) {
            return Failure::invalid(field, format!("{number} is no number that JSON can carry"));
        }
        Failure::new(Code::InvalidJson, format!("{what} is not JSON: {error}"))
            .with("line", error.line())
            .with("column", error.column())
    })
}

/// `NaN`, `Infinity` or a number out of range where parsing stopped, with the key in front of it.
fn unspeakable_number<'a>(
    text: &'a str,
    error: &serde_json::Error,
) -> Option<(&'a str, &'static str)> {
    let line_start: usize =
        text.split_inclusive('\n').take(error.line().checked_sub(1)?).map(str::len).sum();
    let stop = (line_start + error.column()).min(text.len());
    let before = text.get(..stop)?;
    let start = before.rfind([':', ',', '[']).map_or(0, |place| place + 1);
    let token = text.get(start..)?.trim_start();
    let number = if token.starts_with("NaN") {
        "NaN"
    } else if token.starts_with("Infinity") || token.starts_with("-Infinity") {
        "Infinity"
    } else if error.to_string().contains("number out of range") {
        "so large a value"
    } else {
        return None;
    };
    let key_end = before.get(..start)?.rfind("\":")?;
    let key_start = text.get(..key_end)?.rfind('"')? + 1;
    Some((&text[key_start..key_end], number))
}

/// Whether the client takes this type, by its `Accept`.
///
/// # Errors
/// `not_acceptable`, with the type there is.
pub(super) fn accepts(headers: &HeaderMap, offered: &'static str) -> Result<(), Failure> {
    let mut ranges = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|range| range.split(';').next().unwrap_or_default().trim())
        .filter(|range| !range.is_empty())
        .peekable();
    let family = offered.split('/').next().unwrap_or_default();
    let takes = |range: &str| {
        range == "*/*"
            || range.eq_ignore_ascii_case(offered)
            || range.strip_suffix("/*") == Some(family)
    };
    if ranges.peek().is_none() || ranges.any(takes) {
        return Ok(());
    }
    let message = format!("the answer is {offered}, which the request does not accept");
    Err(Failure::new(Code::NotAcceptable, message).with("supported", vec![offered]))
}

/// Whether the client asks for an event stream.
pub(super) fn wants_events(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|range| range.trim().starts_with("text/event-stream"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_json_cannot_carry_name_their_field() {
        for (body, field) in [
            (r#"{"options": {"temperature": NaN}}"#, "temperature"),
            ("{\"options\": {\n\"top_p\": -Infinity}}", "top_p"),
            (r#"{"options": {"top_p": 1, "min_p": 1e999}}"#, "min_p"),
        ] {
            let failure = parse(body.as_bytes(), "the body").unwrap_err();
            assert_eq!(failure.code, Code::InvalidRequest, "{body}: {failure}");
            assert_eq!(failure.details["field"], field);
        }
    }

    #[test]
    fn broken_json_and_broken_text_say_where() {
        let failure = parse(b"{\"a\": }", "the body").unwrap_err();
        assert_eq!((failure.code, &failure.details["line"]), (Code::InvalidJson, &1.into()));
        assert_eq!(parse(b"", "the body").unwrap_err().code, Code::InvalidJson);
        assert_eq!(parse(b"{\"a\": \"\xff\"}", "the body").unwrap_err().details["byte"], 7);
        let deep = "[".repeat(100_000);
        assert_eq!(parse(deep.as_bytes(), "the body").unwrap_err().code, Code::InvalidJson);
    }

    #[test]
    fn accept_decides_by_type_family_or_anything() {
        let headers = |value: &str| HeaderMap::from_iter([(ACCEPT, value.parse().unwrap())]);
        for fine in
            ["*/*", "application/*", "application/json;q=0.5", "text/html, application/json"]
        {
            assert!(accepts(&headers(fine), "application/json").is_ok(), "{fine}");
        }
        assert!(accepts(&HeaderMap::new(), "application/json").is_ok());
        assert_eq!(
            accepts(&headers("image/png"), "application/json").unwrap_err().code,
            Code::NotAcceptable
        );
    }
}

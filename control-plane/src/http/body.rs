//! Reads a request's body as JSON: type, size, encoding and syntax, each with its own error.

use std::time::Duration;

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, header::ACCEPT, header::CONTENT_LENGTH, header::CONTENT_TYPE},
};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::App;
use crate::failure::{Code, Failure};

/// From here on parsing takes too long for the async threads.
pub(super) const LARGE: usize = 128 << 10;
/// A body over the limit is still read to this multiple, so that the client hears the answer.
const PATIENCE: u64 = 4;

/// A body that parsed, and whether it was large.
pub(super) struct JsonBody {
    pub(super) value: Value,
    pub(super) is_large: bool,
}

pub(super) async fn json(request: Request, app: &App) -> Result<JsonBody, Failure> {
    let (parts, body) = request.into_parts();
    check_type(&parts.headers)?;
    let bytes = read(&parts.headers, body, app.config.body_limit, app.config.body_timeout).await?;
    let is_large = bytes.len() > LARGE;
    let value = if is_large {
        match tokio::task::spawn_blocking(move || parse(&bytes)).await {
            Ok(parsed) => parsed?,
            Err(_) => {
                return Err(Failure::new(Code::InvalidJson, "the body cannot be read as JSON"));
            }
        }
    } else {
        parse(&bytes)?
    };
    Ok(JsonBody { value, is_large })
}

fn check_type(headers: &HeaderMap) -> Result<(), Failure> {
    let given = headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or("unreadable"));
    let essence = given.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let is_json = essence.eq_ignore_ascii_case("application/json")
        || essence.to_ascii_lowercase().starts_with("application/") && essence.ends_with("+json");
    if is_json {
        return Ok(());
    }
    let message =
        format!("the body must be application/json, not {}", given.unwrap_or("of no type"));
    Err(Failure::new(Code::UnsupportedMediaType, message)
        .with("supported", vec!["application/json"]))
}

async fn read(
    headers: &HeaderMap,
    body: Body,
    limit: u64,
    patience: Duration,
) -> Result<Bytes, Failure> {
    let declared =
        headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let deadline = Instant::now() + patience;
    let mut frames = body.into_data_stream();
    let mut bytes = BytesMut::with_capacity(declared.unwrap_or(0).min(limit) as usize);
    let mut size = 0_u64;
    loop {
        let Ok(frame) = timeout_at(deadline, frames.next()).await else {
            return Err(Failure::new(Code::DeadlineExceeded, "the body took too long to arrive"));
        };
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|_| Failure::invalid("body", "the body ended too early"))?;
        size += frame.len() as u64;
        if size <= limit {
            bytes.extend_from_slice(&frame);
        } else if size > limit.saturating_mul(PATIENCE) {
            break;
        } else {
            // What was read so far is of no use any more.
            bytes = BytesMut::new();
        }
    }
    if size > limit {
        let size = declared.unwrap_or(size);
        let message = format!("the body has {size} bytes, the limit is {limit}");
        return Err(Failure::new(Code::PayloadTooLarge, message)
            .with("limit", limit)
            .with("size", size));
    }
    Ok(bytes.freeze())
}

fn parse(bytes: &[u8]) -> Result<Value, Failure> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let message = format!("the body is not UTF-8 at byte {}", error.valid_up_to());
        Failure::new(Code::InvalidJson, message).with("byte", error.valid_up_to())
    })?;
    serde_json::from_str(text).map_err(|error| {
        if let Some((field, number)) = unspeakable_number(text, &error) {
            return Failure::invalid(field, format!("{number} is no number that JSON can carry"));
        }
        Failure::new(Code::InvalidJson, format!("the body is not JSON: {error}"))
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
            let failure = parse(body.as_bytes()).unwrap_err();
            assert_eq!(failure.code, Code::InvalidRequest, "{body}: {failure}");
            assert_eq!(failure.details["field"], field);
        }
    }

    #[test]
    fn broken_json_and_broken_text_say_where() {
        let failure = parse(b"{\"a\": }").unwrap_err();
        assert_eq!((failure.code, &failure.details["line"]), (Code::InvalidJson, &1.into()));
        assert_eq!(parse(b"").unwrap_err().code, Code::InvalidJson);
        assert_eq!(parse(b"{\"a\": \"\xff\"}").unwrap_err().details["byte"], 7);
        let deep = "[".repeat(100_000);
        assert_eq!(parse(deep.as_bytes()).unwrap_err().code, Code::InvalidJson);
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

//! Python's methods on strings, lists and dicts inside templates.
//!
//! `minijinja-contrib` has most of them; here is what it lacks, and what it does otherwise: Python's idea of white
//! space includes four control characters that Unicode's property does not.

use minijinja::{
    Error, ErrorKind, State, Value,
    value::{Tuple, ValueKind, from_args},
};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::is_python_space as is_space;

/// The fallback for every method call.
pub(super) fn call(
    state: &mut State<'_, '_>,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    if value.kind() == ValueKind::String
        && let Some(text) = value.as_str()
        && let Some(result) = on_string(text, method, args)?
    {
        return Ok(result);
    }
    unknown_method_callback(state, value, method, args)
}

fn on_string(text: &str, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    let result = match method {
        "strip" | "lstrip" | "rstrip" => {
            let (chars,): (Option<&str>,) = from_args(args)?;
            let cut = |c: char| chars.map_or_else(|| is_space(c), |chars| chars.contains(c));
            Value::from(match method {
                "strip" => text.trim_matches(cut),
                "lstrip" => text.trim_start_matches(cut),
                _ => text.trim_end_matches(cut),
            })
        }
        "split" if args.is_empty() => {
            text.split(is_space).filter(|word| !word.is_empty()).map(Value::from).collect()
        }
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            Value::from(text.strip_prefix(prefix).unwrap_or(text))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            Value::from(text.strip_suffix(suffix).unwrap_or(text))
        }
        "rsplit" => {
            let (separator, most): (&str, Option<i64>) = from_args(args)?;
            not_empty(separator)?;
            let most = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
            let mut parts: Vec<&str> = text.rsplitn(most.saturating_add(1), separator).collect();
            parts.reverse();
            parts.into_iter().map(Value::from).collect()
        }
        "zfill" => {
            let (width,): (usize,) = from_args(args)?;
            let (sign, digits) = match text.strip_prefix(['+', '-']) {
                Some(digits) => (&text[..1], digits),
                None => ("", text),
            };
            let missing = missing(text, width)?;
            Value::from(format!("{sign}{}{digits}", "0".repeat(missing)))
        }
        "ljust" | "rjust" | "center" => {
            let (width, fill): (usize, Option<&str>) = from_args(args)?;
            let fill = fill.unwrap_or(" ");
            if fill.chars().count() != 1 {
                let message = "the fill character must be exactly one character long";
                return Err(Error::new(ErrorKind::InvalidOperation, message));
            }
            let missing = missing(text, width)?;
            // Where the two sides differ, the left one is longer if the width is odd.
            let left = match method {
                "ljust" => 0,
                "rjust" => missing,
                _ => missing / 2 + (missing & width & 1),
            };
            Value::from(format!("{}{text}{}", fill.repeat(left), fill.repeat(missing - left)))
        }
        "partition" | "rpartition" => {
            let (separator,): (&str,) = from_args(args)?;
            not_empty(separator)?;
            let (parts, absent) = if method == "partition" {
                (text.split_once(separator), [text, "", ""])
            } else {
                (text.rsplit_once(separator), ["", "", text])
            };
            let parts = parts.map_or(absent, |(before, after)| [before, separator, after]);
            Value::from(Tuple::from(parts.map(Value::from)))
        }
        _ => return Ok(None),
    };
    Ok(Some(result))
}

/// Characters that a text lacks to a width.
fn missing(text: &str, width: usize) -> Result<usize, Error> {
    const WIDEST: usize = 1 << 16;
    if width > WIDEST {
        return Err(Error::new(ErrorKind::InvalidOperation, "the width is too large"));
    }
    Ok(width.saturating_sub(text.chars().count()))
}

fn not_empty(separator: &str) -> Result<(), Error> {
    if separator.is_empty() {
        return Err(Error::new(ErrorKind::InvalidOperation, "empty separator"));
    }
    Ok(())
}

/// The filter: as `strip`, of whatever the value reads as.
pub(super) fn trim(value: &Value, chars: Option<&str>) -> Result<String, Error> {
    let text = super::python_json::text(value)?;
    let cut = |c: char| chars.map_or_else(|| is_space(c), |chars| chars.contains(c));
    Ok(text.trim_matches(cut).to_owned())
}

//! Jinja as the reference sets it up for chat templates: its whitespace rules, its functions, Python's way of writing
//! values and of testing them.

use minijinja::{
    Environment, Error, ErrorKind, Value,
    syntax::SyntaxConfig,
    value::{Kwargs, Rest, ValueKind},
};
use serde_json::Value as Json;
use time::PrimitiveDateTime;

use super::{
    python_json::{self, Style},
    strftime, template_methods,
};

/// Instructions, or 64 bytes of text each; a long conversation takes some hundred thousand.
const FUEL: u64 = 2_000_000;

/// What a template said with `raise_exception`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Raised(pub String);

pub(super) fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true);
    environment.set_syntax(syntax.build().expect("the delimiters are Jinja's own"));
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    environment.set_debug(false);
    environment.set_unknown_method_callback(template_methods::call);
    environment.set_formatter(|out, _, value| {
        out.write_str(&python_json::text(value)?).map_err(Error::from)
    });
    environment.add_filter("tojson", to_json);
    environment.add_filter("string", |value: &Value| python_json::text(value));
    environment.add_filter("trim", template_methods::trim);
    environment.add_filter("wordcount", |value: &Value| {
        python_json::text(value)
            .map(|text| text.split(super::is_python_space).filter(|word| !word.is_empty()).count())
    });
    environment
        .add_function("cycler", |items: Rest<Value>| minijinja_contrib::globals::cycler(items.0));
    environment.add_function("joiner", minijinja_contrib::globals::joiner);
    environment.add_function("raise_exception", raise);
    environment.add_test("sequence", has_items);
    environment.add_test("iterable", |value: &Value| {
        has_items(value) || value.kind() == ValueKind::Iterable
    });
    environment
}

/// The same environment, where `strftime_now` tells this time.
pub(super) fn with_clock(
    environment: &Environment<'static>,
    now: PrimitiveDateTime,
) -> Environment<'static> {
    let mut environment = environment.clone();
    environment.add_function("strftime_now", move |format: &str| {
        strftime::format(now, format)
            .map_err(|message| Error::new(ErrorKind::InvalidOperation, message))
    });
    environment
}

/// Strings, maps and what is undefined count, as in the reference.
fn has_items(value: &Value) -> bool {
    matches!(
        value.kind(),
        ValueKind::Seq | ValueKind::String | ValueKind::Map | ValueKind::Undefined
    )
}

fn raise(message: &Value) -> Result<Value, Error> {
    let message = python_json::text(message)?;
    Err(Error::new(ErrorKind::InvalidOperation, message.clone()).with_source(Raised(message)))
}

/// `json.dumps` with the reference's defaults.
#[expect(
    clippy::needless_pass_by_value,
    reason = "minijinja's functions take their arguments by value"
)]
fn to_json(value: &Value, positional: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    let given = |idx: usize, name: &str| -> Result<Option<Value>, Error> {
        let value = match positional.get(idx) {
            Some(value) => Some(value.clone()),
            None => named.get::<Option<Value>>(name)?,
        };
        Ok(value.filter(|value| !value.is_none() && !value.is_undefined()))
    };
    let truth = |value: Option<Value>| value.is_some_and(|value| value.is_true());
    let mut style = Style { ensure_ascii: truth(given(0, "ensure_ascii")?), ..Style::default() };
    if let Some(indent) = given(1, "indent")? {
        style.indent = Some(match indent.as_str() {
            Some(text) => text.to_owned(),
            None => " ".repeat(usize::try_from(i64::try_from(indent)?.clamp(0, 64)).unwrap_or(0)),
        });
        style.item_separator = ",".to_owned();
    }
    if let Some(separators) = given(2, "separators")? {
        style.item_separator = separators.get_item_by_index(0)?.to_string();
        style.key_separator = separators.get_item_by_index(1)?.to_string();
    }
    style.sort_keys = truth(given(3, "sort_keys")?);
    named.assert_all_used()?;
    Ok(Value::from(python_json::dumps(value, &style)?))
}

/// Plain JSON as a template's value. Objects keep their order.
pub(super) fn from_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(value) => Value::from(*value),
        Json::String(text) => Value::from(text.as_str()),
        Json::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(whole), _, _) => Value::from(whole),
            (None, Some(whole), _) => Value::from(whole),
            (None, None, real) => Value::from(real.unwrap_or(f64::NAN)),
        },
        Json::Array(items) => items.iter().map(from_json).collect(),
        Json::Object(fields) => {
            Value::from_pairs(fields.iter().map(|(name, value)| (name.clone(), from_json(value))))
        }
    }
}

/// `{% generation %}` marks what an assistant said, for training; here it is only the scope that it opens.
pub(super) fn without_generation_tags(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start);
        text.push_str(before);
        let Some(end) = tag.find("%}").map(|end| end + 2) else {
            rest = tag;
            break;
        };
        let word =
            tag[2..end - 2].trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+');
        match word {
            "generation" => text.push_str(&tag[..end].replace("generation", "with")),
            "endgeneration" => text.push_str(&tag[..end].replace("endgeneration", "endwith")),
            _ => text.push_str(&tag[..end]),
        }
        rest = &tag[end..];
    }
    text.push_str(rest);
    text
}

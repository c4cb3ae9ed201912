//! How an adapter's config names layers: by the ends of their paths, or by a regular expression in Python's dialect.

use fancy_regex::Regex;
use serde_json::Value;

use super::PeftError;

/// Layers that `target_modules` or `exclude_modules` names.
#[derive(Clone, Debug)]
pub(super) enum Names {
    /// The whole path, or its end behind a dot.
    Ends(Vec<String>),
    /// The whole path.
    Expression(Regex),
}

impl Names {
    pub(super) fn parse(field: &str, value: &Value) -> Result<Self, PeftError> {
        match value {
            Value::String(text) => Ok(Self::Expression(regex(field, &format!(r"\A(?:{text})\z"))?)),
            Value::Array(items) => {
                let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
                let ends = texts.collect::<Option<Vec<String>>>();
                ends.map(Self::Ends).ok_or_else(|| invalid(field, "must hold texts only"))
            }
            _ => Err(invalid(field, "must be a text or a list of texts")),
        }
    }

    pub(super) fn match_path(&self, field: &str, path: &str) -> Result<bool, PeftError> {
        match self {
            Self::Ends(ends) => Ok(ends.iter().any(|end| is_end(path, end))),
            Self::Expression(expression) => matches(field, expression, path),
        }
    }
}

/// What `rank_pattern` or `alpha_pattern` says: the value of the first expression that the end of a path matches.
#[derive(Clone, Debug, Default)]
pub(super) struct Overrides(Vec<(Regex, f64)>);

impl Overrides {
    pub(super) fn parse(field: &str, value: &Value) -> Result<Self, PeftError> {
        let Value::Object(entries) = value else { return Err(invalid(field, "must be an object")) };
        let entries = entries.iter().map(|(text, value)| {
            let value = value.as_f64().filter(|value| value.is_finite());
            let value = value.ok_or_else(|| invalid(field, "must hold numbers"))?;
            Ok((regex(field, &format!(r"\A(?:.*\.)?(?:{text})\z"))?, value))
        });
        Ok(Self(entries.collect::<Result<_, PeftError>>()?))
    }

    pub(super) fn of(&self, field: &str, path: &str) -> Result<Option<f64>, PeftError> {
        for (expression, value) in &self.0 {
            if matches(field, expression, path)? {
                return Ok(Some(*value));
            }
        }
        Ok(None)
    }
}

/// The path, or its end behind a dot.
fn is_end(path: &str, end: &str) -> bool {
    path.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn regex(field: &str, text: &str) -> Result<Regex, PeftError> {
    Regex::new(text).map_err(|error| invalid(field, format!("is no regular expression: {error}")))
}

/// An expression that searches without end is an error of its own.
fn matches(field: &str, expression: &Regex, path: &str) -> Result<bool, PeftError> {
    expression.is_match(path).map_err(|error| invalid(field, format!("cannot be matched: {error}")))
}

pub(super) fn invalid(field: &str, why: impl Into<String>) -> PeftError {
    PeftError::Invalid { field: field.to_owned(), why: why.into() }
}

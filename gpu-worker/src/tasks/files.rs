//! What a task reads of a repository.

use std::collections::HashMap;

use crate::failure::{Code, Failure};

/// The small files of a repository (everything but weights), by path.
pub struct Files(HashMap<String, Vec<u8>>);

impl Files {
    pub fn new(files: HashMap<String, Vec<u8>>) -> Self {
        Self(files)
    }

    pub fn bytes(&self, path: &str) -> Option<&[u8]> {
        self.0.get(path).map(Vec::as_slice)
    }

    /// Adds a file that the repository does not have.
    pub fn insert(&mut self, path: &str, bytes: Vec<u8>) {
        self.0.insert(path.to_owned(), bytes);
    }

    pub fn text(&self, path: &str) -> Option<&str> {
        self.bytes(path).and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// The chat templates of the folder for further ones, with their names, sorted.
    pub fn named_templates(&self) -> Vec<(&str, &str)> {
        const FOLDER: &str = "additional_chat_templates/";
        let named = self.0.keys().filter_map(|path| {
            let name = path.strip_prefix(FOLDER)?.strip_suffix(".jinja")?;
            Some((name, self.text(path)?))
        });
        let mut templates: Vec<(&str, &str)> = named.collect();
        templates.sort_unstable();
        templates
    }

    /// The parsed file; `None` when it isn't there, an error when it isn't JSON. Numbers that are not finite, which Python
    /// writes although JSON has none, are null.
    pub fn json(&self, path: &str) -> Result<Option<serde_json::Value>, Failure> {
        let Some(bytes) = self.bytes(path) else { return Ok(None) };
        let parsed = serde_json::from_slice(bytes)
            .or_else(|error| serde_json::from_slice(&without_infinities(bytes)).map_err(|_| error));
        parsed.map(Some).map_err(|error| {
            Failure::new(Code::CorruptCheckpoint, format!("{path} is not valid JSON: {error}"))
        })
    }
}

/// The same with `null` for `NaN`, `Infinity` and `-Infinity` outside of texts.
fn without_infinities(json: &[u8]) -> Vec<u8> {
    const NAMES: [&[u8]; 3] = [b"-Infinity", b"Infinity", b"NaN"];
    let mut plain = Vec::with_capacity(json.len());
    let (mut rest, mut is_text) = (json, false);
    while let [first, after @ ..] = rest {
        let name = NAMES.iter().find(|name| !is_text && rest.starts_with(name));
        match (first, name) {
            (_, Some(name)) => {
                plain.extend(b"null");
                rest = &rest[name.len()..];
                continue;
            }
            (b'\\', None) if is_text => {
                plain.push(*first);
                plain.extend(after.first());
                rest = after.get(1..).unwrap_or_default();
                continue;
            }
            (b'"', None) => is_text = !is_text,
            _ => {}
        }
        plain.push(*first);
        rest = after;
    }
    plain
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(content: &str) -> Result<Option<serde_json::Value>, Failure> {
        let files = [("a.json".to_owned(), content.as_bytes().to_vec())];
        Files::new(files.into()).json("a.json")
    }

    #[test]
    fn numbers_that_are_not_finite_are_null_and_texts_stay() {
        let python = r#"{"a": -Infinity, "b": [NaN, Infinity, 1.5], "Infinity": "x \" NaN \\", "c": "-Infinity"}"#;
        let expected =
            json!({"a": null, "b": [null, null, 1.5], "Infinity": "x \" NaN \\", "c": "-Infinity"});
        assert_eq!(read(python).unwrap(), Some(expected));
    }

    #[test]
    fn what_is_no_json_is_an_error_that_names_the_file() {
        for content in ["", "{", "{\"a\": -Infinit}", "\"\\", "[Infinity"] {
            let failure = read(content).unwrap_err();
            assert_eq!(failure.code, Code::CorruptCheckpoint, "{content}");
            assert!(failure.to_string().contains("a.json"), "{failure}");
        }
        assert_eq!(Files::new(HashMap::new()).json("a.json").unwrap(), None);
    }
}

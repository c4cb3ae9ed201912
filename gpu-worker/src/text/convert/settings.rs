//! What a repository says of its tokenizer beside the vocabulary: `tokenizer_config.json`, and the older
//! `special_tokens_map.json` and `added_tokens.json`, which count only where the first doesn't list added tokens.
//!
//! Reference: `_from_pretrained` in `transformers/tokenization_utils_base.py`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tokenizers::AddedToken;

use super::{Files, text_of};
use crate::text::{
    TextError,
    special_tokens::{ROLES, object},
};

pub(super) const CONFIG: &str = "tokenizer_config.json";
const ADDED: &str = "added_tokens.json";
const MAP: &str = "special_tokens_map.json";

/// A special token as it was given: how it is matched is decided by its class where only its text is known.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::text) enum Given {
    Text(String),
    Token(AddedToken),
}

impl Given {
    pub(in crate::text) fn content(&self) -> &str {
        match self {
            Self::Text(content) => content,
            Self::Token(token) => &token.content,
        }
    }

    /// The token to add; one that is known by its text only is special and matched as it is written.
    pub(in crate::text) fn token(&self) -> AddedToken {
        match self {
            Self::Text(content) => AddedToken::from(content, true),
            Self::Token(token) => token.clone(),
        }
    }
}

/// The settings of one repository.
pub(in crate::text) struct Settings {
    config: Map<String, Value>,
    /// By id.
    added: BTreeMap<u64, AddedToken>,
    /// Whether the list of further special tokens came under the name that takes part in every class.
    extra: Option<Vec<Given>>,
    /// The list under its older name, from the file that is read last.
    additional: Option<Vec<Given>>,
}

impl Settings {
    pub(in crate::text) fn read(files: Files<'_>) -> Result<Self, TextError> {
        let mut config = object(CONFIG, text_of(files, CONFIG)?)?;
        // A list under the old name becomes one under the new name, unless there is one already.
        if let Some(old) = config.remove("additional_special_tokens") {
            let has_new = config.get("extra_special_tokens").is_some_and(|new| !is_empty(new));
            if !has_new {
                config.insert("extra_special_tokens".to_owned(), old);
            }
        }
        let mut additional = None;
        let mut added = BTreeMap::new();
        if let Some(decoder) = config.get("added_tokens_decoder") {
            for (id, token) in decoder.as_object().ok_or_else(|| wrong("added_tokens_decoder"))? {
                let id = id.parse().map_err(|_| wrong("added_tokens_decoder"))?;
                let token = token_of(token).ok_or_else(|| wrong("added_tokens_decoder"))?;
                added.insert(id, token);
            }
        } else {
            for (name, value) in object(MAP, text_of(files, MAP)?)? {
                if name == "additional_special_tokens" {
                    additional = Some(list(MAP, &name, &value)?);
                } else {
                    config.insert(name, always_special(value));
                }
            }
        }
        let extra = match config.get("extra_special_tokens") {
            None | Some(Value::Object(_)) => None,
            Some(Value::Null) => Some(Vec::new()),
            Some(value) => Some(list(CONFIG, "extra_special_tokens", value)?),
        };
        let mut settings = Self { config, added, extra, additional };
        if !settings.config.contains_key("added_tokens_decoder") {
            settings.read_added(&object(ADDED, text_of(files, ADDED)?)?)?;
        }
        Ok(settings)
    }

    /// `added_tokens.json`: texts with their ids.
    fn read_added(&mut self, ids: &Map<String, Value>) -> Result<(), TextError> {
        let mut special: Vec<String> = Vec::new();
        for role in ROLES {
            special.extend(self.role(role, None)?.map(|given| given.content().to_owned()));
        }
        special.extend(self.extra.iter().flatten().map(|given| given.content().to_owned()));
        for (content, id) in ids {
            let id = id.as_u64().ok_or_else(|| TextError::Field {
                file: ADDED,
                field: content.clone(),
                expected: "an id",
            })?;
            self.added.insert(id, AddedToken::from(content, special.contains(content)));
        }
        Ok(())
    }

    /// Tokens beside the vocabulary, by rising id.
    pub(in crate::text) fn added(&self) -> impl Iterator<Item = &AddedToken> {
        self.added.values()
    }

    /// Tokens beside the vocabulary with the ids they are said to have.
    pub(in crate::text) fn added_ids(&self) -> impl Iterator<Item = (u64, &AddedToken)> {
        self.added.iter().map(|(&id, token)| (id, token))
    }

    /// The token of a role; `default` is its class's, where nothing is said.
    pub(in crate::text) fn role(
        &self,
        role: &'static str,
        default: Option<&str>,
    ) -> Result<Option<Given>, TextError> {
        let Some(value) = self.config.get(role) else {
            return Ok(default.map(|content| Given::Text(content.to_owned())));
        };
        if value.is_null() {
            return Ok(None);
        }
        let given = given_of(value).ok_or(TextError::Field {
            file: CONFIG,
            field: role.to_owned(),
            expected: "a token",
        })?;
        // How it is matched stands with the added tokens, where it is among them.
        let known = self.added.values().rev().find(|token| token.content == given.content());
        Ok(Some(known.map_or(given, |token| Given::Token(token.clone()))))
    }

    /// The text of a role's token, which its class cannot do without.
    pub(in crate::text) fn content(
        &self,
        role: &'static str,
        default: &str,
    ) -> Result<String, TextError> {
        let given = self.role(role, Some(default))?;
        given.map(|given| given.content().to_owned()).ok_or(TextError::Field {
            file: CONFIG,
            field: role.to_owned(),
            expected: "a token",
        })
    }

    /// Tokens under names of the model's own (`image_token`), which are special too.
    pub(in crate::text) fn named(&self) -> Vec<Given> {
        let own = self
            .config
            .iter()
            .filter(|(name, _)| name.ends_with("_token") && !ROLES.contains(&name.as_str()));
        let extra = self.config.get("extra_special_tokens").and_then(Value::as_object);
        let own = own.filter_map(|(_, value)| given_of(value));
        own.chain(extra.into_iter().flatten().filter_map(|(_, value)| given_of(value))).collect()
    }

    /// Further special tokens; `default` are the class's, which a list under the new name displaces.
    pub(in crate::text) fn extra(&self, default: Vec<Given>) -> Vec<Given> {
        self.extra.clone().unwrap_or(default)
    }

    /// The list under its old name, for the classes that read it.
    pub(in crate::text) fn additional(&self) -> Option<Vec<Given>> {
        self.additional.clone()
    }

    pub(in crate::text) fn flag(&self, name: &str) -> Result<Option<bool>, TextError> {
        match self.config.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(TextError::Field {
                file: CONFIG,
                field: name.to_owned(),
                expected: "true or false",
            }),
        }
    }

    pub(in crate::text) fn count(&self, name: &str) -> Result<Option<usize>, TextError> {
        let wrong = || TextError::Field {
            file: CONFIG,
            field: name.to_owned(),
            expected: "a count below 100,000",
        };
        match self.config.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value
                .as_u64()
                .and_then(|count| usize::try_from(count).ok())
                .filter(|&count| count < 100_000)
                .map(Some)
                .ok_or_else(wrong),
        }
    }

    pub(in crate::text) fn text(&self, name: &str) -> Result<Option<&str>, TextError> {
        match self.config.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => {
                Err(TextError::Field { file: CONFIG, field: name.to_owned(), expected: "a text" })
            }
        }
    }

    /// Refuses settings that change the result and that nothing here does.
    pub(in crate::text) fn refuse(&self, fields: &[&str]) -> Result<(), TextError> {
        let is_set = |name: &&&str| {
            let value = self.config.get(**name);
            value.is_some_and(|value| !is_empty(value) && *value != Value::Bool(false))
        };
        match fields.iter().find(is_set) {
            Some(name) => Err(TextError::Unsupported {
                file: CONFIG,
                field: (*name).to_owned(),
                value: self.config[*name].to_string().chars().take(80).collect(),
            }),
            None => Ok(()),
        }
    }

    pub(in crate::text) fn config(&self) -> &Map<String, Value> {
        &self.config
    }
}

fn wrong(field: &str) -> TextError {
    TextError::Field { file: CONFIG, field: field.to_owned(), expected: "a token for every id" }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn always_special(mut value: Value) -> Value {
    if let Value::Object(fields) = &mut value {
        fields.insert("special".to_owned(), Value::Bool(true));
    }
    value
}

fn given_of(value: &Value) -> Option<Given> {
    match value {
        Value::String(content) => Some(Given::Text(content.clone())),
        Value::Object(_) => token_of(value).map(Given::Token),
        _ => None,
    }
}

fn token_of(value: &Value) -> Option<AddedToken> {
    let flag = |name| value.get(name).and_then(Value::as_bool);
    let token = AddedToken::from(value.get("content")?.as_str()?, flag("special").unwrap_or(false));
    let normalized = flag("normalized").unwrap_or(token.normalized);
    Some(
        token
            .lstrip(flag("lstrip").unwrap_or(false))
            .rstrip(flag("rstrip").unwrap_or(false))
            .single_word(flag("single_word").unwrap_or(false))
            .normalized(normalized),
    )
}

fn list(file: &'static str, field: &str, value: &Value) -> Result<Vec<Given>, TextError> {
    let items = value.as_array().map(|items| items.iter().map(given_of).collect::<Option<_>>());
    items.flatten().ok_or_else(|| TextError::Field {
        file,
        field: field.to_owned(),
        expected: "a list of tokens",
    })
}

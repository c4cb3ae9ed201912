//! The tokens with a role, from `tokenizer_config.json` with `special_tokens_map.json` behind it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tokenizers::AddedToken;

use super::TextError;

/// Roles in the order the reference adds them.
pub(super) const ROLES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// Texts of the special tokens, by role (`bos_token` …). A role that is not given has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    by_role: BTreeMap<&'static str, String>,
}

impl SpecialTokens {
    /// Reads both files; the first that gives a role decides.
    pub fn from_files(
        tokenizer_config: Option<&str>,
        special_tokens_map: Option<&str>,
    ) -> Result<Self, TextError> {
        let config = object("tokenizer_config.json", tokenizer_config)?;
        let map = object("special_tokens_map.json", special_tokens_map)?;
        let mut by_role = BTreeMap::new();
        for role in ROLES {
            for (file, fields) in
                [("tokenizer_config.json", &config), ("special_tokens_map.json", &map)]
            {
                if let Some(content) = content(file, role, fields.get(role))? {
                    by_role.entry(role).or_insert(content);
                }
            }
        }
        Ok(Self { by_role })
    }

    pub(super) fn new(roles: impl Iterator<Item = (&'static str, String)>) -> Self {
        Self { by_role: roles.collect() }
    }

    /// The token's text; `role` as in the files (`eos_token`).
    pub fn get(&self, role: &str) -> Option<&str> {
        self.by_role.get(role).map(String::as_str)
    }

    /// Role and text of all that are given.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.by_role.iter().map(|(&role, content)| (role, content.as_str()))
    }
}

pub(super) fn object(
    file: &'static str,
    text: Option<&str>,
) -> Result<Map<String, Value>, TextError> {
    let read = |text| serde_json::from_str(text).map_err(|source| TextError::Json { file, source });
    text.map(read).transpose().map(Option::unwrap_or_default)
}

/// A token is written as its text or as an object with its text in `content`.
fn content(
    file: &'static str,
    role: &str,
    value: Option<&Value>,
) -> Result<Option<String>, TextError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(content)) => Ok(Some(content.clone())),
        Some(Value::Object(token)) if token.get("content").is_some_and(Value::is_string) => {
            content(file, role, token.get("content"))
        }
        Some(_) => Err(TextError::Field { file, field: role.to_owned(), expected: "a token" }),
    }
}

/// The tokens of `added_tokens_decoder` in `tokenizer_config.json`, by rising id.
pub(super) fn added_tokens(config: &Map<String, Value>) -> Vec<AddedToken> {
    let Some(Value::Object(decoder)) = config.get("added_tokens_decoder") else {
        return Vec::new();
    };
    let mut tokens: Vec<(u64, AddedToken)> = decoder
        .iter()
        .filter_map(|(id, token)| {
            let flag = |name| token.get(name).and_then(Value::as_bool).unwrap_or(false);
            let added = AddedToken::from(token.get("content")?.as_str()?, flag("special"))
                .lstrip(flag("lstrip"))
                .rstrip(flag("rstrip"))
                .single_word(flag("single_word"))
                .normalized(flag("normalized"));
            Some((id.parse().ok()?, added))
        })
        .collect();
    tokens.sort_by_key(|(id, _)| *id);
    tokens.into_iter().map(|(_, token)| token).collect()
}

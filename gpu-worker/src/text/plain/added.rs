//! Tokens beside a vocabulary, which are found in a text before anything else.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use tokenizers::AddedToken;

use crate::text::{
    TextError,
    convert::{Given, Settings},
    is_python_space,
};

#[derive(Clone, Debug, Default)]
pub(super) struct Added {
    by_content: HashMap<String, (u32, AddedToken)>,
    by_id: HashMap<u32, String>,
    special: HashSet<String>,
    /// First characters of the tokens, with those tokens, the longest first.
    by_first: HashMap<char, Vec<String>>,
}

impl Added {
    /// The settings' own tokens with their ids, and the special ones that are not among them: those that the vocabulary
    /// doesn't know get the next free ids.
    pub(super) fn new(
        settings: &Settings,
        special: &[Given],
        vocab: &HashMap<String, u32>,
    ) -> Result<Self, TextError> {
        let mut added = Self {
            special: special.iter().map(|given| given.content().to_owned()).collect(),
            ..Self::default()
        };
        for (id, token) in settings.added_ids() {
            let id = u32::try_from(id).map_err(|_| TextError::Vocabulary {
                message: format!("the token {:?} has the id {id}", token.content),
            })?;
            if token.single_word {
                return Err(TextError::Unsupported {
                    file: "tokenizer_config.json",
                    field: format!("single_word of {:?}", token.content),
                    value: "true".to_owned(),
                });
            }
            added.insert(id, token.clone());
        }
        let beside = added.by_content.keys().filter(|token| !vocab.contains_key(*token)).count();
        let mut next = u32::try_from(vocab.len() + beside).unwrap_or(u32::MAX);
        for given in special {
            let content = given.content();
            if content.is_empty() || added.by_content.contains_key(content) {
                continue;
            }
            let id = vocab.get(content).copied().unwrap_or(next);
            next = next.saturating_add(u32::from(id == next));
            added.insert(id, AddedToken::from(content, true));
        }
        Ok(added)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = u32> {
        self.by_id.keys().copied()
    }

    fn insert(&mut self, id: u32, token: AddedToken) {
        let Some(first) = token.content.chars().next() else { return };
        let tokens = self.by_first.entry(first).or_default();
        if !tokens.contains(&token.content) {
            tokens.push(token.content.clone());
            tokens.sort_by_key(|token| std::cmp::Reverse(token.len()));
        }
        self.by_id.insert(id, token.content.clone());
        self.by_content.insert(token.content.clone(), (id, token));
    }

    /// Forgets those that a vocabulary knows.
    pub(super) fn without(mut self, vocab: &HashMap<String, u32>) -> Self {
        self.by_content.retain(|content, _| !vocab.contains_key(content));
        self.by_id.retain(|_, content| !vocab.contains_key(content));
        for tokens in self.by_first.values_mut() {
            tokens.retain(|content| !vocab.contains_key(content));
        }
        self
    }

    pub(super) fn id(&self, token: &str) -> Option<u32> {
        self.by_content.get(token).map(|(id, _)| *id)
    }

    pub(super) fn token(&self, id: u32) -> Option<&str> {
        self.by_id.get(&id).map(String::as_str)
    }

    pub(super) fn is_special(&self, token: &str) -> bool {
        self.special.contains(token)
    }

    pub(super) fn special(&self) -> &HashSet<String> {
        &self.special
    }

    pub(super) fn tokens(&self) -> impl Iterator<Item = &str> {
        self.by_content.keys().map(String::as_str)
    }

    /// A text in parts, and whether each is an added token. Those that say so take white space beside them along.
    pub(super) fn split(&self, text: &str) -> Vec<(Range<usize>, bool)> {
        let mut parts: Vec<(Range<usize>, bool)> = Vec::new();
        let (mut plain, mut at) = (0, 0);
        while let Some(c) = text[at..].chars().next() {
            let starts = |token: &&String| text[at..].starts_with(token.as_str());
            let found = self.by_first.get(&c).and_then(|tokens| tokens.iter().find(starts));
            let Some(token) = found else {
                at += c.len_utf8();
                continue;
            };
            parts.push((plain..at, false));
            parts.push((at..at + token.len(), true));
            at += token.len();
            plain = at;
        }
        parts.push((plain..text.len(), false));
        for idx in (1..parts.len()).step_by(2) {
            let token = &text[parts[idx].0.clone()];
            let Some((_, token)) = self.by_content.get(token) else { continue };
            if token.rstrip {
                let after = &mut parts[idx + 1].0;
                let rest = text[after.clone()].trim_start_matches(is_python_space);
                after.start = after.end - rest.len();
            }
            if token.lstrip {
                let before = &mut parts[idx - 1].0;
                let rest = text[before.clone()].trim_end_matches(is_python_space);
                before.end = before.start + rest.len();
            }
        }
        parts.retain(|(range, _)| !range.is_empty());
        parts
    }
}

//! A text as the pieces see it: characters replaced, spaces made visible, and where each byte came from.
//!
//! Reference: `src/normalizer.cc` of SentencePiece.

use super::{charsmap::Charsmap, proto::ModelProto};
use crate::text::TextError;

/// How a space is written in pieces.
pub const SPACE: &str = "▁";

#[derive(Clone, Debug)]
pub struct Normalizer {
    charsmap: Option<Charsmap>,
    pub add_dummy_prefix: bool,
    pub remove_extra_whitespaces: bool,
    escape_whitespaces: bool,
    whitespace_is_suffix: bool,
    /// Pieces that are taken as they are, the longest first.
    untouched: Vec<String>,
}

/// A normalised text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Normalized {
    pub text: String,
    /// For every byte the byte of the original it came from; one more for the end.
    pub origins: Vec<usize>,
}

impl Normalized {
    fn push(&mut self, text: &str, origin: usize) {
        self.text.push_str(text);
        self.origins.resize(self.text.len(), origin);
    }
}

impl Normalizer {
    pub fn new(proto: &ModelProto, mut untouched: Vec<String>) -> Result<Self, TextError> {
        let spec = proto.normalizer();
        untouched.retain(|piece| !piece.is_empty());
        untouched.sort_by_key(|piece| std::cmp::Reverse(piece.len()));
        Ok(Self {
            charsmap: proto.charsmap().map(Charsmap::read).transpose()?,
            add_dummy_prefix: spec.add_dummy_prefix(),
            remove_extra_whitespaces: spec.remove_extra_whitespaces(),
            escape_whitespaces: spec.escape_whitespaces(),
            whitespace_is_suffix: proto.trainer().treat_whitespace_as_suffix(),
            untouched,
        })
    }

    /// The piece that is taken as it is at the beginning of a text, where there is one.
    pub fn untouched<'a>(&self, text: &'a str) -> Option<&'a str> {
        let piece = self.untouched.iter().find(|piece| text.starts_with(piece.as_str()))?;
        text.get(..piece.len())
    }

    /// What the beginning of a text becomes, and its length.
    fn prefix<'a>(&'a self, text: &'a str) -> (&'a str, usize) {
        if let Some(piece) = self.untouched(text) {
            return (piece, piece.len());
        }
        if let Some((length, replacement)) =
            self.charsmap.as_ref().and_then(|charsmap| charsmap.longest(text))
        {
            // A rule ends where a character does; one that doesn't is none.
            if text.is_char_boundary(length) {
                return (replacement, length);
            }
        }
        let length = text.chars().next().map_or(0, char::len_utf8);
        (&text[..length], length)
    }

    pub fn normalize(&self, original: &str) -> Normalized {
        let mut normalized = Normalized::default();
        let mut rest = original;
        let consumed = |rest: &str| original.len() - rest.len();
        if self.remove_extra_whitespaces {
            while !rest.is_empty() {
                let (becomes, length) = self.prefix(rest);
                if becomes != " " {
                    break;
                }
                rest = &rest[length..];
            }
        }
        if rest.is_empty() {
            return normalized;
        }
        let space = if self.escape_whitespaces { SPACE } else { " " };
        if !self.whitespace_is_suffix && self.add_dummy_prefix {
            normalized.push(space, consumed(rest));
        }
        let mut after_space = self.remove_extra_whitespaces;
        while !rest.is_empty() {
            let (becomes, length) = self.prefix(rest);
            let becomes = if after_space { becomes.trim_start_matches(' ') } else { becomes };
            if !becomes.is_empty() {
                for c in becomes.chars() {
                    let mut buffer = [0; 4];
                    let c = if c == ' ' { space } else { &*c.encode_utf8(&mut buffer) };
                    normalized.push(c, consumed(rest));
                }
                after_space = becomes.ends_with(' ');
            }
            rest = &rest[length..];
            after_space &= self.remove_extra_whitespaces;
        }
        let mut end = original.len();
        if self.remove_extra_whitespaces {
            while let Some(length) = normalized.text.strip_suffix(space).map(str::len) {
                end = normalized.origins[length];
                normalized.text.truncate(length);
                normalized.origins.truncate(length);
            }
        }
        if self.whitespace_is_suffix && self.add_dummy_prefix {
            normalized.push(space, end);
        }
        normalized.origins.push(end);
        normalized
    }
}

//! Words and their parts, as BERT's Python tokenizer cuts them: text is cleaned and put into composed form first, and a
//! word is lowercased as a whole.
//!
//! Reference: `BasicTokenizer` and `WordpieceTokenizer` in `transformers/models/tapas/tokenization_tapas.py`.

use std::{collections::HashSet, ops::Range};

use unicode_general_category::{GeneralCategory, get_general_category};
use unicode_normalization::UnicodeNormalization;

use crate::text::characters::{is_python_alphanumeric, is_python_space};

/// Longer words are unknown.
const LONGEST_WORD: usize = 100;

#[derive(Clone, Debug)]
pub(super) struct Words {
    pub vocab: HashSet<String>,
    /// Bytes of the longest piece.
    pub longest: usize,
    pub unk_token: String,
    /// Stands for a text that says nothing.
    pub empty_token: String,
    /// Words that are taken as they are.
    pub whole: HashSet<String>,
    pub lowercase: bool,
    pub chinese: bool,
    /// `None`: when words are lowercased.
    pub strip_accents: Option<bool>,
}

impl Words {
    /// Pieces with the bytes of the word they came from.
    pub(super) fn cut(&self, text: &str) -> Vec<(String, Range<usize>)> {
        if says_nothing(text) {
            return vec![(self.empty_token.clone(), 0..text.len())];
        }
        let mut found = Vec::new();
        for (word, range) in self.words(text) {
            for part in self.parts(&word) {
                self.pieces(&part, &range, &mut found);
            }
        }
        found
    }

    /// Words by white space, cleaned.
    fn words(&self, text: &str) -> Vec<(String, Range<usize>)> {
        let mut words: Vec<(String, Range<usize>)> = Vec::new();
        let mut is_inside = false;
        for (at, c) in text.char_indices() {
            let is_space = is_space(c);
            if !is_space && (c == '\0' || c == '\u{fffd}' || is_control(c)) {
                continue;
            }
            let alone = self.chinese && is_chinese(c);
            if is_space || is_python_space(c) {
                is_inside = false;
                continue;
            }
            let end = at + c.len_utf8();
            match words.last_mut().filter(|_| is_inside && !alone) {
                Some((word, range)) => {
                    word.push(c);
                    range.end = end;
                }
                None => words.push((c.to_string(), at..end)),
            }
            is_inside = !alone;
        }
        for (word, _) in &mut words {
            *word = word.nfc().collect();
        }
        words
    }

    /// A word without accents and capitals, cut at punctuation.
    fn parts(&self, word: &str) -> Vec<String> {
        let mut word = word.to_owned();
        if self.whole.contains(&word) {
            return vec![word];
        }
        if self.lowercase {
            word = word.to_lowercase();
        }
        if self.strip_accents.unwrap_or(self.lowercase) {
            let is_mark = |c: &char| get_general_category(*c) == GeneralCategory::NonspacingMark;
            word = word.nfd().filter(|c| !is_mark(c)).collect();
        }
        if self.whole.contains(&word) {
            return vec![word];
        }
        let mut parts: Vec<String> = Vec::new();
        let mut is_inside = false;
        for c in word.chars() {
            if is_punctuation(c) {
                parts.push(c.to_string());
                is_inside = false;
            } else if let Some(part) = parts.last_mut().filter(|_| is_inside) {
                part.push(c);
            } else {
                parts.push(c.to_string());
                is_inside = true;
            }
        }
        parts
    }

    /// The longest known beginning again and again.
    fn pieces(&self, word: &str, range: &Range<usize>, found: &mut Vec<(String, Range<usize>)>) {
        for word in word.split(is_python_space).filter(|word| !word.is_empty()) {
            let ends: Vec<usize> = word.char_indices().map(|(at, c)| at + c.len_utf8()).collect();
            let before = found.len();
            let mut start = 0;
            while start < word.len() && ends.len() <= LONGEST_WORD {
                let piece = ends.iter().rev().take_while(|&&end| end > start).find_map(|&end| {
                    if end - start > self.longest {
                        return None;
                    }
                    let mark = if start > 0 { "##" } else { "" };
                    let piece = format!("{mark}{}", &word[start..end]);
                    self.vocab.contains(&piece).then_some((piece, end))
                });
                let Some((piece, end)) = piece else { break };
                found.push((piece, range.clone()));
                start = end;
            }
            if start < word.len() {
                found.truncate(before);
                found.push((self.unk_token.clone(), range.clone()));
            }
        }
    }
}

/// Punctuation only, or a word for nothing.
fn says_nothing(text: &str) -> bool {
    let lower = text.to_lowercase();
    let lower = lower.trim_matches(is_python_space);
    matches!(lower, "n/a" | "?" | "nan") || !lower.chars().any(is_python_alphanumeric)
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
        || get_general_category(c) == GeneralCategory::SpaceSeparator
}

fn is_control(c: char) -> bool {
    use GeneralCategory::{Control, Format, PrivateUse, Surrogate, Unassigned};
    !matches!(c, '\t' | '\n' | '\r')
        && matches!(get_general_category(c), Control | Format | PrivateUse | Surrogate | Unassigned)
}

fn is_punctuation(c: char) -> bool {
    use GeneralCategory::{
        ClosePunctuation, ConnectorPunctuation, DashPunctuation, FinalPunctuation,
        InitialPunctuation, OpenPunctuation, OtherPunctuation,
    };
    c.is_ascii_punctuation()
        || matches!(
            get_general_category(c),
            ClosePunctuation
                | ConnectorPunctuation
                | DashPunctuation
                | FinalPunctuation
                | InitialPunctuation
                | OpenPunctuation
                | OtherPunctuation
        )
}

fn is_chinese(c: char) -> bool {
    matches!(u32::from(c),
        0x4E00..=0x9FFF | 0x3400..=0x4DBF | 0x20000..=0x2A6DF | 0x2A700..=0x2B73F
        | 0x2B740..=0x2B81F | 0x2B820..=0x2CEAF | 0xF900..=0xFAFF | 0x2F800..=0x2FA1F)
}

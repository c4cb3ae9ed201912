//! A compiled table of replacements: a double array over the bytes of what is replaced, and the replacements.
//!
//! Format: `Builder::CompileCharsMap` of SentencePiece and the units of Darts-clone. Everything the array can lead to is
//! checked when it is read, because the `tokenizers` library walks the same bytes without looking.

use crate::text::TextError;

/// The replacements of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charsmap {
    units: Vec<u32>,
    /// Each ends with a zero.
    replacements: String,
}

impl Charsmap {
    pub fn read(bytes: &[u8]) -> Result<Self, TextError> {
        let wrong = |message: &str| TextError::Vocabulary {
            message: format!("the precompiled_charsmap {message}"),
        };
        let (size, rest) = bytes.split_first_chunk().ok_or_else(|| wrong("is cut off"))?;
        let size = u32::from_le_bytes(*size) as usize;
        let (units, replacements) =
            rest.split_at_checked(size / 4 * 4).ok_or_else(|| wrong("is cut off"))?;
        let units = units.chunks_exact(4);
        let units: Vec<u32> =
            units.map(|unit| u32::from_le_bytes([unit[0], unit[1], unit[2], unit[3]])).collect();
        let replacements =
            std::str::from_utf8(replacements).map_err(|_| wrong("holds text that is not UTF-8"))?;
        let charsmap = Self { units, replacements: replacements.to_owned() };
        if charsmap.is_sound() { Ok(charsmap) } else { Err(wrong("leads out of itself")) }
    }

    /// Whether no text leads out of the array or to something that is no replacement.
    fn is_sound(&self) -> bool {
        let Some(&root) = self.units.first() else { return false };
        let mut seen = vec![false; self.units.len()];
        let mut waiting = vec![offset(root)];
        while let Some(node) = waiting.pop() {
            match seen.get_mut(node) {
                Some(true) => continue,
                Some(seen) => *seen = true,
                None => return false,
            }
            for byte in 1..=255_u8 {
                let at = node ^ usize::from(byte);
                let Some(&unit) = self.units.get(at) else { return false };
                if label(unit) != u32::from(byte) {
                    continue;
                }
                let next = at ^ offset(unit);
                if has_leaf(unit) {
                    let leaf = self.units.get(next).map(|&leaf| value(leaf));
                    let is_replacement = |start: usize| self.replacements.is_char_boundary(start);
                    if !leaf.is_some_and(is_replacement) {
                        return false;
                    }
                }
                waiting.push(next);
            }
        }
        true
    }

    /// The longest beginning of a text that is replaced: its bytes, and what it becomes.
    pub fn longest(&self, text: &str) -> Option<(usize, &str)> {
        let mut node = offset(*self.units.first()?);
        let mut found = None;
        for (idx, &byte) in text.as_bytes().iter().enumerate() {
            let at = node ^ usize::from(byte);
            let unit = *self.units.get(at)?;
            if label(unit) != u32::from(byte) || byte == 0 {
                break;
            }
            node = at ^ offset(unit);
            if has_leaf(unit) {
                found = Some((idx + 1, value(*self.units.get(node)?)));
            }
        }
        let (length, start) = found?;
        let rest = self.replacements.get(start..)?;
        Some((length, rest.split('\0').next().unwrap_or(rest)))
    }
}

fn has_leaf(unit: u32) -> bool {
    unit >> 8 & 1 == 1
}

fn value(unit: u32) -> usize {
    (unit & 0x7FFF_FFFF) as usize
}

fn label(unit: u32) -> u32 {
    unit & 0x8000_00FF
}

fn offset(unit: u32) -> usize {
    ((unit >> 10) as usize) << ((unit & 1 << 9) >> 6)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `a` becomes `b`, in the smallest array there is.
    pub(super) fn small() -> Vec<u8> {
        let mut units = vec![0_u32; 512];
        units[0] = 256 << 10;
        let at = 256 ^ usize::from(b'a');
        // The leaf lies at 256 ^ 'a' ^ 1.
        units[at] = 1 << 10 | 1 << 8 | u32::from(b'a');
        units[at ^ 1] = 1 << 31;
        let mut bytes = (units.len() as u32 * 4).to_le_bytes().to_vec();
        bytes.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
        bytes.extend(b"b\0");
        bytes
    }

    #[test]
    fn finds_the_longest_replacement() {
        let charsmap = Charsmap::read(&small()).unwrap();
        assert_eq!(charsmap.longest("abc"), Some((1, "b")));
        assert_eq!(charsmap.longest("cab"), None);
        assert_eq!(charsmap.longest(""), None);
    }

    proptest! {
        #[test]
        fn damage_is_an_error_or_harmless(
            changes in prop::collection::vec((0usize..2048, any::<u8>()), 1..8),
            text in "\\PC{0,8}",
        ) {
            let mut bytes = small();
            for (at, byte) in changes {
                bytes[at] = byte;
            }
            if let Ok(charsmap) = Charsmap::read(&bytes) {
                charsmap.longest(&text);
            }
        }
    }
}

//! Bounds of the texts of a request, the same for every task that reads them as a whole.

use crate::{
    failure::{Code, Failure},
    text::Encoding,
};

/// Most texts of one request; where texts are read in pairs, most pairs.
pub const MAX_TEXTS: usize = 2048;
/// Most bytes of one text.
const MAX_TEXT_BYTES: usize = 1 << 20;
/// Most bytes of all pairs of a request: a text that stands in several is tokenised for each.
const MAX_PAIRS_BYTES: usize = 16 << 20;

pub fn check_texts(field: &str, texts: &[String]) -> Result<(), Failure> {
    if texts.is_empty() {
        return Err(Failure::invalid(field, "is empty"));
    }
    if texts.len() > MAX_TEXTS {
        return Err(Failure::invalid(
            field,
            format!("has {} texts, the limit is {MAX_TEXTS}", texts.len()),
        )
        .number("limit", MAX_TEXTS as u64));
    }
    match texts.iter().find(|text| text.len() > MAX_TEXT_BYTES) {
        Some(text) => Err(Failure::new(
            Code::PayloadTooLarge,
            format!("a text may have {MAX_TEXT_BYTES} bytes"),
        )
        .at(field)
        .number("size", text.len() as u64)
        .number("limit", MAX_TEXT_BYTES as u64)),
        None => Ok(()),
    }
}

/// Refuses pairs that are too many, or too large all together.
pub fn check_pairs(field: &str, n_pairs: usize, bytes: usize) -> Result<(), Failure> {
    if n_pairs > MAX_TEXTS {
        let message = format!("makes {n_pairs} pairs of texts, the limit is {MAX_TEXTS}");
        return Err(Failure::invalid(field, message).number("limit", MAX_TEXTS as u64));
    }
    if bytes > MAX_PAIRS_BYTES {
        let message = format!(
            "{field} makes {n_pairs} pairs of {bytes} bytes together, the limit is {MAX_PAIRS_BYTES}"
        );
        return Err(Failure::new(Code::PayloadTooLarge, message)
            .at(field)
            .number("size", bytes as u64)
            .number("limit", MAX_PAIRS_BYTES as u64));
    }
    Ok(())
}

/// Leaves so many tokens: those before the ones that were put in at the end.
pub fn cut(encoding: &mut Encoding, length: usize) {
    let ending = encoding.special.iter().rev().take_while(|&&special| special).count();
    let over = encoding.len().saturating_sub(length);
    let end = encoding.len() - ending.min(length);
    encoding.ids.drain(end.saturating_sub(over)..end);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_pairs_and_large_ones_are_refused() {
        assert!(check_pairs("inputs.labels", 2048, 20_490).is_ok());
        let too_many = check_pairs("inputs.labels", 2049, 2049).unwrap_err();
        assert_eq!(too_many.code, Code::InvalidRequest);
        let too_large = check_pairs("inputs.labels", 100, 100 << 20).unwrap_err();
        assert_eq!(too_large.code, Code::PayloadTooLarge);
    }
}

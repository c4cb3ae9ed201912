//! What tasks that look at tokens read of a repository, and what they share in looking at texts.

use serde_json::Value;

use super::{
    Files, Made, Vectors,
    scoring::{has_segments, positions},
    windows::{Frame, Window},
};
use crate::{
    failure::{Code, Failure},
    text::{Encoding, Tokenizer},
};

/// Tokens of all windows of a request.
const MAX_WINDOW_TOKENS: usize = 1 << 20;

pub struct TokenReader {
    pub tokenizer: Tokenizer,
    /// Most tokens of a text, special ones included, where the repository says so.
    pub max_tokens: Option<usize>,
    /// Whether the model tells the two texts of a pair apart.
    has_segments: bool,
}

impl TokenReader {
    pub fn read(files: &Files) -> Result<Self, Failure> {
        let tokenizer = super::tokenizer(files)?;
        if !tokenizer.joins() {
            let message = "tokens of this tokenizer class cannot be looked at one by one yet";
            return Err(
                Failure::new(Code::FormatNotSupported, message).text("field", "tokenizer_class")
            );
        }
        let config = files.json("config.json")?.unwrap_or_default();
        let own = files.json("tokenizer_config.json")?.unwrap_or_default();
        let limits = [positions(&config), tokenizer.model_max_length()];
        Ok(Self {
            max_tokens: limits.into_iter().flatten().min(),
            has_segments: has_segments(&config, &own),
            tokenizer,
        })
    }

    /// For tasks that read long texts in windows, from the beginning on; where one of `sides` is `left`, the reference
    /// reads them from the end or in another order.
    pub fn of_windows(files: &Files, sides: &[&str]) -> Result<Self, Failure> {
        let own = files.json("tokenizer_config.json")?.unwrap_or_default();
        for &side in sides {
            if own.get(side).and_then(Value::as_str) == Some("left") {
                let message =
                    format!("tokenizer_config.json: {side} = left cannot be done in windows yet");
                return Err(Failure::new(Code::FormatNotSupported, message).text("field", side));
            }
        }
        Self::read(files)
    }

    pub fn encode(&self, text: &str, pair: Option<&str>) -> Result<Encoding, Failure> {
        let mut encoding = match pair {
            Some(pair) => self.tokenizer.encode_pair(text, pair, true)?,
            None => self.tokenizer.encode(text, true)?,
        };
        if !self.has_segments {
            encoding.type_ids.fill(0);
        }
        Ok(encoding)
    }

    /// Windows of `room` tokens of a text, which share `stride`. `spent` counts the tokens of all windows of a request;
    /// where they become too many, `field` is at fault.
    pub fn windows(
        frame: &Frame,
        room: usize,
        stride: usize,
        spent: &mut usize,
        field: &str,
    ) -> Result<Vec<Window>, Failure> {
        *spent = spent.saturating_add(frame.size(room, stride));
        if *spent > MAX_WINDOW_TOKENS {
            let message =
                format!("makes windows of {spent} tokens, the limit is {MAX_WINDOW_TOKENS}");
            return Err(Failure::invalid(field, message)
                .number("tokens", *spent as u64)
                .number("limit", MAX_WINDOW_TOKENS as u64));
        }
        Ok(frame.windows(room, stride))
    }
}

/// `way_out` says what the client can do.
pub fn too_long(field: &str, tokens: usize, limit: usize, way_out: &str) -> Failure {
    let message = format!("{field} has {tokens} tokens, the model takes {limit}{way_out}");
    Failure::new(Code::InputTooLong, message)
        .at(field)
        .number("tokens", tokens as u64)
        .number("limit", limit as u64)
}

/// The scores of a job, one entry per row, each with `n_vectors` of its vectors.
pub fn scores(
    made: Made,
    n_vectors: impl ExactSizeIterator<Item = usize>,
) -> Result<Vec<Vectors>, Failure> {
    let failed = |message: &str| Err(Failure::new(Code::InferenceFailed, message));
    let Made::Scores(rows) = made else { return failed("the lane made no scores") };
    let fits = |(row, n_vectors): (&Vectors, usize)| {
        row.dim > 0 && row.values.len() == n_vectors * row.dim
    };
    if rows.len() != n_vectors.len() || !rows.iter().zip(n_vectors).all(fits) {
        return failed("the lane made scores of another size");
    }
    if rows.iter().any(|row| row.values.iter().any(|value| !value.is_finite())) {
        return failed("the model's output is not finite");
    }
    Ok(rows)
}

/// A part of a text by code points; offsets of a tokenizer lie within it.
pub fn part(text: &[char], start: usize, end: usize) -> String {
    let end = end.min(text.len());
    text[start.min(end)..end].iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_counted_in_code_points_and_never_beyond_the_text() {
        let text: Vec<char> = "né👍x".chars().collect();
        assert_eq!(part(&text, 1, 3), "é👍");
        assert_eq!(part(&text, 3, 9), "x");
        assert_eq!(part(&text, 9, 2), "");
    }

    #[test]
    fn scores_of_another_size_are_no_scores() {
        let row = |values: &[f32]| Vectors { values: values.to_vec(), dim: 2 };
        let made = || Made::Scores(vec![row(&[0.0, 1.0]), row(&[0.5; 4])]);
        assert!(scores(made(), [1, 2].into_iter()).is_ok());
        assert!(scores(made(), [1, 1].into_iter()).is_err());
        assert!(scores(made(), [1].into_iter()).is_err());
        assert!(scores(Made::Scores(vec![row(&[f32::NAN, 0.0])]), [1].into_iter()).is_err());
    }
}

//! Sizes of pictures and patches as configs write them.

use serde::Deserialize;

/// One number for both sides, or height and width.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
pub(super) enum Size {
    Square(i64),
    Sides([i64; 2]),
}

impl Size {
    /// Height and width.
    pub(super) fn sides(self) -> [i64; 2] {
        match self {
            Self::Square(side) => [side, side],
            Self::Sides(sides) => sides,
        }
    }
}

//! A long text in windows that overlap, each with the tokens that belong to the whole around it.
//!
//! Reference: truncation with a stride in `tokenizers/src/tokenizer/encoding.rs`.

use std::ops::Range;

use super::TokenRow;
use crate::text::Encoding;

/// One window, as places in the encoding of the whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window(pub Vec<usize>);

impl Window {
    pub fn row(&self, encoding: &Encoding) -> TokenRow {
        let pick = |column: &[u32]| self.0.iter().map(|&place| column[place]).collect();
        TokenRow { ids: pick(&encoding.ids), type_ids: pick(&encoding.type_ids), prompt_tokens: 0 }
    }
}

/// An encoding of which one text is to be cut, between what stays in every window.
pub struct Frame {
    before: Vec<usize>,
    text: Vec<usize>,
    after: Vec<usize>,
}

impl Frame {
    /// The text to be cut is the one with this number. Tokens for which `keeps` says false are in no window.
    pub fn new(encoding: &Encoding, sequence: usize, keeps: impl Fn(usize) -> bool) -> Self {
        let is_text = |place: &usize| encoding.sequence[*place] == Some(sequence);
        let places = || (0..encoding.len()).filter(|&place| keeps(place));
        let first = places().find(is_text).unwrap_or(encoding.len());
        Self {
            before: places().take_while(|&place| place < first).collect(),
            text: places().filter(is_text).collect(),
            after: places().filter(|place| *place > first && !is_text(place)).collect(),
        }
    }

    /// Tokens of the text.
    pub fn tokens(&self) -> usize {
        self.text.len()
    }

    /// Tokens around the text.
    pub fn around(&self) -> usize {
        self.before.len() + self.after.len()
    }

    /// Everything at once.
    pub fn whole(&self) -> Window {
        self.window(0..self.text.len())
    }

    /// Tokens of all these windows together.
    pub fn size(&self, room: usize, stride: usize) -> usize {
        let step = room.saturating_sub(stride).max(1);
        let further = self.text.len().saturating_sub(room).div_ceil(step);
        (further + 1).saturating_mul(self.around() + room.min(self.text.len()))
    }

    /// Windows of `room` tokens of the text; each shares `stride` of them with the next. `stride` is below `room`.
    pub fn windows(&self, room: usize, stride: usize) -> Vec<Window> {
        let step = room.saturating_sub(stride).max(1);
        let mut windows = Vec::new();
        for start in (0..self.text.len().max(1)).step_by(step) {
            let end = (start + room).min(self.text.len());
            windows.push(self.window(start..end));
            if end == self.text.len() {
                break;
            }
        }
        windows
    }

    fn window(&self, part: Range<usize>) -> Window {
        Window([&self.before, &self.text[part], &self.after[..]].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A question of two tokens and a text of seven, with ends and something between.
    fn pair() -> Encoding {
        let sequence = [vec![None, Some(0), Some(0), None], vec![Some(1); 7], vec![None]].concat();
        Encoding {
            ids: (100..100 + sequence.len() as u32).collect(),
            type_ids: vec![0; sequence.len()],
            offsets: vec![(0, 0); sequence.len()],
            special: sequence.iter().map(Option::is_none).collect(),
            words: vec![None; sequence.len()],
            sequence,
        }
    }

    #[test]
    fn windows_share_their_stride_and_end_with_the_text() {
        let frame = Frame::new(&pair(), 1, |_| true);
        assert_eq!((frame.tokens(), frame.around()), (7, 5));
        let windows = frame.windows(4, 2);
        let parts: Vec<&[usize]> =
            windows.iter().map(|window| &window.0[4..8.min(window.0.len() - 1)]).collect();
        assert_eq!(parts, [&[4, 5, 6, 7][..], &[6, 7, 8, 9], &[8, 9, 10]]);
        assert!(
            windows
                .iter()
                .all(|window| window.0.starts_with(&[0, 1, 2, 3]) && window.0.ends_with(&[11]))
        );
        assert_eq!(windows[2].row(&pair()).ids, [100, 101, 102, 103, 108, 109, 110, 111]);
    }

    #[test]
    fn a_text_that_fits_is_one_window() {
        let frame = Frame::new(&pair(), 1, |_| true);
        assert_eq!(frame.windows(7, 3), [frame.whole()]);
        assert_eq!(frame.whole().0, (0..12).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_not_kept_is_in_no_window() {
        let frame = Frame::new(&pair(), 1, |place| place != 2);
        assert_eq!(frame.whole().0[..4], [0, 1, 3, 4]);
    }

    #[test]
    fn no_text_is_one_window_of_what_is_around_it() {
        let nothing = Encoding { sequence: vec![None; 12], ..pair() };
        let frame = Frame::new(&nothing, 0, |_| true);
        assert_eq!(frame.windows(3, 1), [Window((0..12).collect())]);
    }
}

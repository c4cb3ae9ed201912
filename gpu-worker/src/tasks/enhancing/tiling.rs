//! How a picture is cut into overlapping pieces, and how much of a pixel each of them makes. Pure.
//!
//! Two neighbours overlap by at least [`OVERLAP`] pixels. In a zone in the middle of their overlap one fades into the
//! other, so that what a piece makes at its very edge, where it sees least around it, is not used.

use std::ops::Range;

use crate::media::Area;

/// Pixels over which neighbours fade into each other; less for small pieces.
const OVERLAP: usize = 16;

/// One side of a picture in pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    pub pixels: Range<usize>,
    /// Where the one before it fades into it; empty at the beginning of the picture.
    fade_in: Range<usize>,
    /// Where it fades into the next one; empty at the end of the picture.
    fade_out: Range<usize>,
}

impl Axis {
    /// Pieces of `tile` pixels, or up to `multiple` more, since they begin at multiples of that where it is small beside
    /// them. How many they are does not depend on it.
    fn new(edge: usize, tile: usize, multiple: usize) -> Self {
        let fade = OVERLAP.min(tile / 4);
        let multiple = if multiple <= tile / 4 { multiple.max(1) } else { 1 };
        let n_pieces = if edge <= tile { 1 } else { (edge - fade).div_ceil(tile - fade) };
        let place = |at: usize| if n_pieces == 1 { 0 } else { at * (edge - tile) / (n_pieces - 1) };
        let start = |at: usize| place(at) / multiple * multiple;
        // Not counted from the beginning, which may have moved: neighbours would overlap too little.
        let end = |at: usize| if at + 1 == n_pieces { edge } else { place(at) + tile };
        let zone = |at: usize| {
            let middle = start(at + 1).midpoint(end(at));
            middle - fade / 2..middle - fade / 2 + fade
        };
        let piece = |at: usize| Piece {
            pixels: start(at)..end(at),
            fade_in: if at == 0 { 0..0 } else { zone(at - 1) },
            fade_out: if at + 1 == n_pieces { edge..edge } else { zone(at) },
        };
        Self((0..n_pieces).map(piece).collect())
    }
}

impl Piece {
    /// The pixels of which it makes a part.
    pub fn made(&self) -> Range<usize> {
        self.fade_in.start..self.fade_out.end
    }

    /// From here on the next piece makes a part too.
    pub fn alone_until(&self) -> usize {
        self.fade_out.start
    }

    /// How much of the pixel at `at` of a picture that is `scale` times as large it makes, 0 to 1.
    pub fn share(&self, at: usize, scale: usize) -> f32 {
        let place = |zone: &Range<usize>| {
            let (start, length) = (zone.start * scale, zone.len() * scale);
            (at as f32 - start as f32 + 0.5) / length as f32
        };
        let within = |zone: &Range<usize>| (zone.start * scale..zone.end * scale).contains(&at);
        if within(&self.fade_in) {
            place(&self.fade_in)
        } else if within(&self.fade_out) {
            1.0 - place(&self.fade_out)
        } else {
            1.0
        }
    }
}

/// A picture in pieces, row by row.
#[derive(Clone, Debug)]
pub struct Tiling {
    pub rows: Axis,
    pub columns: Axis,
}

impl Tiling {
    /// Of a picture of `height` × `width`; see [`Axis::new`].
    pub fn new((height, width): (usize, usize), tile: usize, multiple: usize) -> Self {
        let multiple = multiple.max(1);
        Self { rows: Axis::new(height, tile, multiple), columns: Axis::new(width, tile, multiple) }
    }

    pub fn len(&self) -> usize {
        self.rows.0.len() * self.columns.0.len()
    }

    /// The piece with this number, and where it lies; `None` beyond the last.
    pub fn piece(&self, at: usize) -> Option<(&Piece, &Piece)> {
        let n_columns = self.columns.0.len();
        Some((self.rows.0.get(at / n_columns)?, &self.columns.0[at % n_columns]))
    }

    /// Whether no further piece lies in the row of the one with this number.
    pub fn ends_row(&self, at: usize) -> bool {
        (at + 1).is_multiple_of(self.columns.0.len())
    }

    pub fn area((row, column): (&Piece, &Piece)) -> Area {
        Area {
            top: row.pixels.start,
            left: column.pixels.start,
            height: row.pixels.len(),
            width: column.pixels.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_small_picture_is_one_piece() {
        let tiling = Tiling::new((60, 128), 128, 8);
        assert_eq!(tiling.len(), 1);
        let area = Tiling::area(tiling.piece(0).unwrap());
        assert_eq!(area, Area { top: 0, left: 0, height: 60, width: 128 });
        assert!(tiling.piece(1).is_none() && tiling.ends_row(0));
    }

    #[test]
    fn pieces_of_a_row_come_before_the_next_row() {
        let tiling = Tiling::new((130, 300), 128, 8);
        assert_eq!((tiling.rows.0.len(), tiling.columns.0.len()), (2, 3));
        let tops: Vec<usize> =
            (0..6).map(|at| Tiling::area(tiling.piece(at).unwrap()).top).collect();
        assert_eq!(tops, [0, 0, 0, 0, 0, 0]);
        assert!(tiling.ends_row(2) && !tiling.ends_row(3));
    }

    proptest! {
        #[test]
        fn every_pixel_is_made_once_altogether(
            edge in 1..3000_usize, tile in 32..=512_usize, multiple in 1..=64_usize, scale in 1..=8_usize,
        ) {
            let Axis(pieces) = Axis::new(edge, tile, multiple);
            for piece in &pieces {
                prop_assert!(piece.pixels.len() <= tile + multiple && !piece.pixels.is_empty());
                prop_assert!(multiple > tile / 4 || piece.pixels.start.is_multiple_of(multiple));
                let made = piece.made();
                prop_assert!(piece.pixels.start <= made.start && made.end <= piece.pixels.end);
                prop_assert!(piece.fade_in.end <= piece.fade_out.start);
            }
            prop_assert_eq!(pieces.len(), Axis::new(edge, tile, 1).0.len());
            for at in (0..edge * scale).step_by((edge * scale / 997).max(1)) {
                let makes = |piece: &&Piece| piece.made().contains(&(at / scale));
                let sum: f32 = pieces.iter().filter(makes).map(|piece| piece.share(at, scale)).sum();
                prop_assert!((sum - 1.0).abs() < 1e-5, "{at}: {sum}");
            }
        }
    }
}

//! The picture in the making: pieces are added row by row, and what no further piece reaches becomes bytes at once, so
//! that floats are held for one row of pieces only.

use super::tiling::Piece;
use crate::media::Picture;

pub struct Canvas {
    width: usize,
    height: usize,
    channels: usize,
    scale: usize,
    /// Finished rows, `[rows, width, 3]`.
    rgb: Vec<u8>,
    /// Rows in the making, `[rows, width, channels]`; the first one comes after the finished ones.
    sums: Vec<f32>,
}

/// A piece held something that is no number.
#[derive(Debug)]
pub struct NotANumber;

impl Canvas {
    /// Of a picture that becomes `scale` times as large as `source`.
    pub fn new(source: &Picture, channels: usize, scale: usize) -> Self {
        let (width, height) = (source.width as usize * scale, source.height as usize * scale);
        let rgb = Vec::with_capacity(width * height * 3);
        Self { width, height, channels, scale, rgb, sums: Vec::new() }
    }

    /// Adds what a piece became: `[channels, scale × height, scale × width]`.
    pub fn add(
        &mut self,
        values: &[f32],
        (row, column): (&Piece, &Piece),
    ) -> Result<(), NotANumber> {
        if !values.iter().all(|value| value.is_finite()) {
            return Err(NotANumber);
        }
        let (scale, channels) = (self.scale, self.channels);
        let side = column.pixels.len() * scale;
        let plane = side * row.pixels.len() * scale;
        let within = |made: std::ops::Range<usize>, end: usize| {
            made.start * scale..(made.end * scale).min(end)
        };
        let columns = within(column.made(), self.width);
        let shares: Vec<f32> = columns.clone().map(|x| column.share(x, scale)).collect();
        for y in within(row.made(), self.height) {
            let of_row = row.share(y, scale);
            let source = (y - row.pixels.start * scale) * side;
            let sums = self.row(y);
            for (x, share) in columns.clone().zip(&shares) {
                let at = source + x - column.pixels.start * scale;
                for (channel, sum) in sums[x * channels..][..channels].iter_mut().enumerate() {
                    *sum += of_row * share * values[channel * plane + at];
                }
            }
        }
        Ok(())
    }

    fn row(&mut self, y: usize) -> &mut [f32] {
        let stride = self.width * self.channels;
        let at = (y - self.rgb.len() / (self.width * 3)) * stride;
        if self.sums.len() < at + stride {
            self.sums.resize(at + stride, 0.0);
        }
        &mut self.sums[at..at + stride]
    }

    /// No further piece of that row of pieces will come.
    pub fn end_row(&mut self, row: &Piece) {
        let finished = (row.alone_until() * self.scale).min(self.height);
        let rows = finished - self.rgb.len() / (self.width * 3);
        let made = self.sums.drain(..rows * self.width * self.channels);
        let level = |value: f32| (value.clamp(0.0, 1.0) * 255.0).round_ties_even() as u8;
        let repeat = 3 / self.channels;
        self.rgb.extend(made.flat_map(|value| std::iter::repeat_n(level(value), repeat)));
    }

    /// The picture, once its last row has ended.
    pub fn finish(self) -> Picture {
        Picture { width: self.width as u32, height: self.height as u32, rgb: self.rgb }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::enhancing::Tiling;

    /// What a model that only repeats pixels would make of a picture of this size, in pieces.
    fn in_pieces(
        height: usize,
        width: usize,
        tile: usize,
        channels: usize,
        scale: usize,
    ) -> Picture {
        let level = |y: usize, x: usize, channel: usize| {
            ((y * 31 + x * 7 + channel * 50) % 256) as f32 / 255.0
        };
        let source = Picture { width: width as u32, height: height as u32, rgb: Vec::new() };
        let mut canvas = Canvas::new(&source, channels, scale);
        // As if padded by a few pixels.
        let tiling = Tiling::new((height + 3, width + 5), tile, 4);
        for at in 0..tiling.len() {
            let piece = tiling.piece(at).unwrap();
            let area = Tiling::area(piece);
            let mut values = Vec::new();
            for channel in 0..channels {
                for y in 0..area.height * scale {
                    for x in 0..area.width * scale {
                        values.push(level(area.top + y / scale, area.left + x / scale, channel));
                    }
                }
            }
            canvas.add(&values, piece).unwrap();
            if tiling.ends_row(at) {
                canvas.end_row(piece.0);
            }
        }
        canvas.finish()
    }

    #[test]
    fn pieces_make_the_picture_without_a_seam() {
        for (height, width, tile, channels, scale) in
            [(1, 1, 32, 3, 2), (70, 90, 32, 3, 1), (70, 90, 40, 1, 3), (33, 200, 64, 3, 4)]
        {
            let made = in_pieces(height, width, tile, channels, scale);
            assert_eq!(
                (made.width as usize, made.height as usize),
                (width * scale, height * scale)
            );
            for y in 0..height * scale {
                for x in 0..width * scale {
                    for channel in 0..3 {
                        let of = if channels == 1 { 0 } else { channel };
                        let expected = ((y / scale) * 31 + (x / scale) * 7 + of * 50) % 256;
                        let found = made.rgb[(y * width * scale + x) * 3 + channel];
                        assert_eq!(usize::from(found), expected, "{y} {x} {channel}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_no_number_is_noticed() {
        let source = Picture { width: 2, height: 2, rgb: Vec::new() };
        let tiling = Tiling::new((2, 2), 32, 1);
        let mut canvas = Canvas::new(&source, 1, 1);
        assert!(canvas.add(&[0.0, f32::NAN, 0.0, 0.0], tiling.piece(0).unwrap()).is_err());
    }
}

//! A picture read in pieces, for models that take any size.

use super::{
    Levels, Picture,
    image_processor::{beyond, mirrored},
};

/// Part of a picture, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    pub top: usize,
    pub left: usize,
    pub height: usize,
    pub width: usize,
}

/// A picture, and how a model sees it.
#[derive(Clone, Debug)]
pub struct Source {
    pub picture: Picture,
    pub levels: Levels,
    /// Beyond its right and lower edge the picture goes on mirrored, to the next multiple of this above its sides.
    pub padded_to: Option<u32>,
    /// 3, or 1 for a model that sees brightness only.
    pub channels: usize,
}

impl Source {
    /// Height and width with the padding.
    pub fn padded(&self) -> (usize, usize) {
        let padded = |edge: u32| match self.padded_to {
            Some(divisor) => beyond(edge as usize, divisor as usize),
            None => edge as usize,
        };
        (padded(self.picture.height), padded(self.picture.width))
    }

    /// `[channels, height, width]` floats of an area within the padded picture.
    pub fn read(&self, area: Area) -> Vec<f32> {
        let Picture { width, height, rgb } = &self.picture;
        let columns: Vec<usize> = (area.left..area.left + area.width)
            .map(|column| mirrored(column, *width as usize))
            .collect();
        let mut floats = vec![0.0; self.channels * area.height * area.width];
        let plane = area.height * area.width;
        for y in 0..area.height {
            let row = mirrored(area.top + y, *height as usize) * *width as usize;
            for (x, column) in columns.iter().enumerate() {
                let at = (row + column) * 3;
                let pixel = [rgb[at], rgb[at + 1], rgb[at + 2]];
                let at = y * area.width + x;
                if self.channels == 1 {
                    floats[at] = self.levels.0[0][usize::from(brightness(pixel))];
                } else {
                    for (channel, level) in pixel.into_iter().enumerate() {
                        floats[channel * plane + at] = self.levels.0[channel][usize::from(level)];
                    }
                }
            }
        }
        floats
    }
}

/// Pillow's `convert("L")`.
fn brightness([red, green, blue]: [u8; 3]) -> u8 {
    let weighted = u32::from(red) * 19595 + u32::from(green) * 38470 + u32::from(blue) * 7471;
    ((weighted + 0x8000) >> 16) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(width: u32, height: u32, channels: usize) -> Source {
        let rgb = (0..width * height * 3).map(|at| (at * 7 % 256) as u8).collect();
        let picture = Picture { width, height, rgb };
        Source { picture, levels: Levels::unit(), padded_to: Some(4), channels }
    }

    #[test]
    fn pieces_are_those_of_the_whole_padded_picture() {
        let source = source(5, 8, 3);
        assert_eq!(source.padded(), (12, 8));
        let whole = source.read(Area { top: 0, left: 0, height: 12, width: 8 });
        let piece = source.read(Area { top: 6, left: 3, height: 5, width: 4 });
        for channel in 0..3 {
            for y in 0..5 {
                for x in 0..4 {
                    let of_piece = piece[channel * 20 + y * 4 + x];
                    assert_eq!(of_piece, whole[channel * 96 + (6 + y) * 8 + 3 + x]);
                }
            }
        }
        // The last row of the picture once more, then the one before it.
        assert_eq!(whole[8 * 8..8 * 8 + 5], whole[7 * 8..7 * 8 + 5]);
        assert_eq!(whole[9 * 8..9 * 8 + 5], whole[6 * 8..6 * 8 + 5]);
    }

    #[test]
    fn one_pixel_fills_its_padding() {
        let one = source(1, 1, 1).read(Area { top: 0, left: 0, height: 4, width: 4 });
        assert!(one.iter().all(|value| *value == one[0]));
        assert_eq!(brightness([255, 255, 255]), 255);
        assert_eq!(brightness([255, 0, 0]), 76);
    }
}

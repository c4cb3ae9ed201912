//! Pillow's resampling, bit by bit: separable, coefficients normalised and rounded to 22-bit fixed
//! point, values clipped to 8 bits between the passes, and Pillow 13's order of the passes.
//!
//! Reference: Pillow's `src/libImaging/Resample.c`; nearest is `ImagingScaleAffine` in `Geometry.c`.

use super::{Picture, Resample};

/// 32 bits less 8 of the sample and 2 for sums that overshoot.
const PRECISION_BITS: u32 = 32 - 8 - 2;
const CHANNELS: usize = 3;

/// `picture` at `width` × `height`, both at least 1, as `Image.resize` makes it.
pub fn resize(picture: &Picture, width: u32, height: u32, resample: Resample) -> Picture {
    if (width, height) == (picture.width, picture.height) {
        return picture.clone();
    }
    let Some(support) = resample.support() else { return nearest(picture, width, height) };
    let (old_width, old_height) = (picture.width as usize, picture.height as usize);
    let (new_width, new_height) = (width as usize, height as usize);
    let to_width = |rgb: &[u8]| {
        let windows = Windows::new(old_width, new_width, resample, support);
        horizontal(rgb, old_width, &windows)
    };
    let to_height = |rgb: &[u8], width: usize| {
        let windows = Windows::new(old_height, new_height, resample, support);
        vertical(rgb, width * CHANNELS, &windows)
    };
    let rgb = match (new_width != old_width, new_height != old_height) {
        (true, true) if height_shrinks_more((old_width, old_height), (new_width, new_height)) => {
            to_width(&to_height(&picture.rgb, old_width))
        }
        (true, true) => to_height(&to_width(&picture.rgb), new_width),
        (true, false) => to_width(&picture.rgb),
        (false, _) => to_height(&picture.rgb, new_width),
    };
    Picture { width, height, rgb }
}

/// Since Pillow 13 the vertical pass goes first where it takes away more than twice as many rows as
/// the horizontal pass takes columns. Sizes are `(width, height)`.
fn height_shrinks_more(old: (usize, usize), new: (usize, usize)) -> bool {
    new.1 < old.1 && old.1 - new.1 > 2 * old.0.saturating_sub(new.0)
}

/// For every output position along one axis, which inputs count and how much.
struct Windows {
    /// First input position of each output position, and how many follow.
    bounds: Vec<(usize, usize)>,
    /// `stride` fixed-point coefficients per output position, of which `bounds` says how many count.
    coefficients: Vec<i32>,
    stride: usize,
}

impl Windows {
    fn new(old: usize, new: usize, resample: Resample, support: f64) -> Self {
        let scale = old as f64 / new as f64;
        let filter_scale = scale.max(1.0);
        let support = support * filter_scale;
        // No window is wider than the input, however wide the filter is.
        let stride = (support.ceil() as usize * 2 + 1).min(old);
        let mut bounds = Vec::with_capacity(new);
        let mut coefficients = vec![0; new * stride];
        let mut weights = Vec::with_capacity(stride);
        let inverse = 1.0 / filter_scale;
        for (position, slots) in coefficients.chunks_exact_mut(stride).enumerate() {
            let center = (position as f64 + 0.5) * scale;
            // `as usize` truncates towards zero and stops at 0, like the reference's cast and clamp.
            let first = (center - support + 0.5) as usize;
            let end = ((center + support + 0.5) as usize).min(old);
            weights.clear();
            weights.extend(
                (first..end).map(|at| resample.weight((at as f64 - center + 0.5) * inverse)),
            );
            let sum: f64 = weights.iter().sum();
            for (slot, weight) in slots.iter_mut().zip(&weights) {
                let weight = if sum == 0.0 { *weight } else { weight / sum };
                *slot = fixed_point(weight);
            }
            bounds.push((first, weights.len().min(stride)));
        }
        Self { bounds, coefficients, stride }
    }

    fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        let windows = self.bounds.iter().zip(self.coefficients.chunks_exact(self.stride));
        windows.map(|(&(first, n), coefficients)| (first, &coefficients[..n]))
    }
}

fn fixed_point(weight: f64) -> i32 {
    let rounding = if weight < 0.0 { -0.5 } else { 0.5 };
    (rounding + weight * f64::from(1 << PRECISION_BITS)) as i32
}

const HALF: i32 = 1 << (PRECISION_BITS - 1);

fn clip(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
}

fn horizontal(rgb: &[u8], old_width: usize, windows: &Windows) -> Vec<u8> {
    let n_rows = rgb.len() / (old_width * CHANNELS);
    let mut out = Vec::with_capacity(n_rows * windows.bounds.len() * CHANNELS);
    for row in rgb.chunks_exact(old_width * CHANNELS) {
        for (first, coefficients) in windows.iter() {
            let pixels = row[first * CHANNELS..].as_chunks::<CHANNELS>().0;
            let mut sums = [HALF; CHANNELS];
            for (pixel, &coefficient) in pixels.iter().zip(coefficients) {
                for (sum, &sample) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(sample) * coefficient;
                }
            }
            out.extend(sums.map(clip));
        }
    }
    out
}

fn vertical(rgb: &[u8], row_len: usize, windows: &Windows) -> Vec<u8> {
    let mut out = Vec::with_capacity(windows.bounds.len() * row_len);
    let mut sums = vec![HALF; row_len];
    for (first, coefficients) in windows.iter() {
        sums.fill(HALF);
        // Row by row, so that the inner loop runs along memory.
        for (row, &coefficient) in rgb[first * row_len..].chunks_exact(row_len).zip(coefficients) {
            for (sum, &sample) in sums.iter_mut().zip(row) {
                *sum += i32::from(sample) * coefficient;
            }
        }
        out.extend(sums.iter().map(|&sum| clip(sum)));
    }
    out
}

fn nearest(picture: &Picture, width: u32, height: u32) -> Picture {
    // The position is summed up step by step, as the reference does, errors included.
    let positions = |old: u32, new: u32| {
        let step = f64::from(old) / f64::from(new);
        let mut at = step * 0.5;
        let position = move |_| {
            let position = (at as usize).min(old as usize - 1);
            at += step;
            position
        };
        (0..new).map(position).collect::<Vec<usize>>()
    };
    let columns = positions(picture.width, width);
    let old_row_len = picture.width as usize * CHANNELS;
    let mut rgb = Vec::with_capacity(width as usize * height as usize * CHANNELS);
    for y in positions(picture.height, height) {
        let row = &picture.rgb[y * old_row_len..(y + 1) * old_row_len];
        for &x in &columns {
            rgb.extend_from_slice(&row[x * CHANNELS..(x + 1) * CHANNELS]);
        }
    }
    Picture { width, height, rgb }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_picture_stays_plain_under_every_filter() {
        let picture = Picture { width: 5, height: 7, rgb: [10, 128, 250].repeat(35) };
        let filters = [
            Resample::Nearest,
            Resample::Lanczos,
            Resample::Bilinear,
            Resample::Bicubic,
            Resample::Box,
            Resample::Hamming,
        ];
        for resample in filters {
            for (width, height) in [(1, 1), (3, 20), (20, 3), (5, 7), (5, 9), (11, 7)] {
                let resized = resize(&picture, width, height, resample);
                let expected = [10, 128, 250].repeat((width * height) as usize);
                assert_eq!(resized.rgb, expected, "{resample:?} {width} × {height}");
            }
        }
    }
}

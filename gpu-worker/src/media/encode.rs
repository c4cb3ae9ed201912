//! RGB pixels to the bytes of a file.

use image::{
    ExtendedColorType, ImageEncoder,
    codecs::{
        png::{CompressionType, FilterType, PngEncoder},
        webp::WebPEncoder,
    },
};
use turbojpeg::{Compressor, Image, PixelFormat, Subsamp};

use super::Picture;

/// How a picture that was made is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputFormat {
    #[default]
    Png,
    Jpeg {
        /// 1 to 100.
        quality: u8,
    },
    /// Without loss.
    WebP,
}

impl OutputFormat {
    /// Longest side that the format can have.
    pub fn longest_side(self) -> u32 {
        match self {
            Self::Png => i32::MAX as u32,
            Self::Jpeg { .. } => 65_500,
            Self::WebP => 16_383,
        }
    }

    pub fn mime_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg { .. } => "image/jpeg",
            Self::WebP => "image/webp",
        }
    }
}

/// A picture that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error("the picture could not be written: {0}")]
    Image(#[from] image::ImageError),
    #[error("the picture could not be written: {0}")]
    Jpeg(#[from] turbojpeg::Error),
}

/// The bytes of a file.
pub fn encode(picture: &Picture, format: OutputFormat) -> Result<Vec<u8>, EncodeError> {
    let Picture { width, height, rgb } = picture;
    let mut bytes = Vec::new();
    match format {
        OutputFormat::Png => {
            PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Adaptive)
                .write_image(rgb, *width, *height, ExtendedColorType::Rgb8)?;
        }
        OutputFormat::WebP => {
            WebPEncoder::new_lossless(&mut bytes).encode(
                rgb,
                *width,
                *height,
                ExtendedColorType::Rgb8,
            )?;
        }
        OutputFormat::Jpeg { quality } => {
            let mut compressor = Compressor::new()?;
            compressor.set_quality(i32::from(quality))?;
            compressor.set_subsamp(Subsamp::Sub2x2)?;
            let (width, height) = (*width as usize, *height as usize);
            let format = PixelFormat::RGB;
            let image = Image { pixels: rgb.as_slice(), width, pitch: width * 3, height, format };
            bytes = compressor.compress_to_vec(image)?;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{Limits, decode};

    fn ramp(width: u32, height: u32) -> Picture {
        let level = |at: u32| (at / 3 % width * 255 / width) as u8;
        Picture { width, height, rgb: (0..width * height * 3).map(level).collect() }
    }

    #[test]
    fn what_is_written_without_loss_reads_the_same() {
        for (width, height) in [(1, 1), (37, 20), (300, 3)] {
            let picture = ramp(width, height);
            for format in [OutputFormat::Png, OutputFormat::WebP] {
                let bytes = encode(&picture, format).unwrap();
                assert_eq!(decode(&bytes, &Limits::default()).unwrap(), picture, "{format:?}");
            }
        }
    }

    #[test]
    fn a_better_jpeg_is_larger_and_nearer() {
        let picture = ramp(64, 48);
        let written = |quality| {
            let bytes = encode(&picture, OutputFormat::Jpeg { quality }).unwrap();
            let read = decode(&bytes, &Limits::default()).unwrap();
            let errors = read.rgb.iter().zip(&picture.rgb).map(|(a, b)| u32::from(a.abs_diff(*b)));
            (bytes.len(), errors.max().unwrap())
        };
        let (coarse, fine) = (written(5), written(95));
        assert!(coarse.0 < fine.0 && coarse.1 > fine.1, "{coarse:?} {fine:?}");
        assert!(fine.1 <= 4, "{fine:?}");
    }
}

//! Bytes to RGB pixels, as the reference's `load_image` reads them: the first frame, turned
//! upright by EXIF, converted to RGB as Pillow does (alpha is dropped, not blended).

use super::{
    MediaError, gif, jpeg, orientation, raster,
    sniff::{Format, sniff},
};

/// What a picture may cost before it is decoded.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Width times height, as the header declares them.
    pub max_pixels: u64,
    /// Bytes of the encoded picture.
    pub max_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_pixels: 64_000_000, max_bytes: 64 << 20 }
    }
}

impl Limits {
    /// Checks a declared size; every decoder asks before it reserves memory.
    pub(super) fn check(&self, width: u32, height: u32) -> Result<(), MediaError> {
        let size = u64::from(width) * u64::from(height);
        if size > self.max_pixels {
            return Err(MediaError::TooManyPixels { width, height, size, limit: self.max_pixels });
        }
        Ok(())
    }
}

/// An upright picture of 8-bit RGB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// At least 1.
    pub width: u32,
    /// At least 1.
    pub height: u32,
    /// `[height, width, 3]`.
    pub rgb: Vec<u8>,
}

/// Decodes a picture whose type is told from its bytes.
///
/// PNG, GIF, BMP and lossless WebP give exactly Pillow's pixels, JPEG those of libjpeg-turbo
/// (Pillow's decoder). Lossy WebP may differ from libwebp by a few levels.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Picture, MediaError> {
    let size = bytes.len() as u64;
    if size > limits.max_bytes {
        return Err(MediaError::TooManyBytes { size, limit: limits.max_bytes });
    }
    let format =
        sniff(bytes).map_err(|found| MediaError::NotAPicture { found, size: bytes.len() })?;
    match format {
        Format::Jpeg => {
            let picture = jpeg::decode(bytes, limits)?;
            Ok(orientation::upright(picture, orientation::of_jpeg(bytes)))
        }
        Format::Gif => gif::decode(bytes, limits),
        Format::Png | Format::WebP | Format::Bmp | Format::Tiff => {
            let (picture, orientation) = raster::decode(bytes, format, limits)?;
            Ok(orientation::upright(picture, orientation))
        }
    }
}

/// What a decoder reports ends here, so callers hand it over, be it an error or a text.
#[expect(clippy::needless_pass_by_value, reason = "used in `map_err`")]
pub(super) fn corrupt(format: Format, reason: impl ToString) -> MediaError {
    MediaError::Corrupt { format: format.name(), reason: reason.to_string() }
}

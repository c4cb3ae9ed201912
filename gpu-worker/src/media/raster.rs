//! PNG, WebP, BMP and TIFF through the `image` crate, converted to RGB as Pillow converts them.

use std::io::Cursor;

use image::{
    ColorType, ImageDecoder, ImageError,
    codecs::{bmp::BmpDecoder, png::PngDecoder, tiff::TiffDecoder, webp::WebPDecoder},
};

use super::{
    Limits, MediaError, Picture,
    orientation::{UPRIGHT, of_exif, of_xmp},
    picture::corrupt,
    sniff::Format,
};

/// The picture as it lies in the file, and its EXIF orientation.
pub(super) fn decode(
    bytes: &[u8],
    format: Format,
    limits: &Limits,
) -> Result<(Picture, u32), MediaError> {
    let invalid = |error: ImageError| corrupt(format, error);
    let source = Cursor::new(bytes);
    match format {
        Format::Bmp => read(BmpDecoder::new(source).map_err(invalid)?, format, limits),
        Format::Tiff => {
            let (picture, orientation) =
                read(TiffDecoder::new(source).map_err(invalid)?, format, limits)?;
            // A TIFF is itself what EXIF embeds elsewhere.
            Ok((picture, of_exif(bytes).unwrap_or(orientation)))
        }
        Format::WebP => read(WebPDecoder::new(source).map_err(invalid)?, format, limits),
        Format::Png => {
            check_png_header(bytes, limits)?;
            let decoder = PngDecoder::with_limits(source, allocation(limits)).map_err(invalid)?;
            read(decoder, format, limits)
        }
        Format::Gif | Format::Jpeg => Err(corrupt(format, "it has a decoder of its own")),
    }
}

/// The PNG decoder reserves rows while it reads the header, so the size is checked before.
fn check_png_header(bytes: &[u8], limits: &Limits) -> Result<(), MediaError> {
    let number = |at: usize| {
        let bytes: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(u32::from_be_bytes(bytes))
    };
    if bytes.get(12..16).is_some_and(|chunk| chunk != b"IHDR") {
        return Err(corrupt(Format::Png, "it does not begin with a header chunk"));
    }
    match (number(16), number(20)) {
        (Some(width), Some(height)) => limits.check(width, height),
        _ => Err(corrupt(Format::Png, "it ends inside its header")),
    }
}

/// Up to 8 bytes a pixel (16-bit RGBA) for the output and as much for the decoder's own buffers.
fn allocation(limits: &Limits) -> image::Limits {
    let mut allocation = image::Limits::no_limits();
    allocation.max_alloc = Some(limits.max_pixels.saturating_mul(16).max(1 << 20));
    allocation
}

fn read(
    mut decoder: impl ImageDecoder,
    format: Format,
    limits: &Limits,
) -> Result<(Picture, u32), MediaError> {
    let (width, height) = decoder.dimensions();
    limits.check(width, height)?;
    if width == 0 || height == 0 {
        return Err(corrupt(format, format!("it declares {width} × {height} pixels")));
    }
    decoder.set_limits(allocation(limits)).map_err(|error| corrupt(format, error))?;
    // Unreadable metadata must not cost the picture.
    let exif = decoder.exif_metadata().ok().flatten();
    let xmp = decoder.xmp_metadata().ok().flatten();
    let orientation = exif
        .and_then(|exif| of_exif(&exif))
        .or_else(|| xmp.and_then(|xmp| of_xmp(&xmp)))
        .unwrap_or(UPRIGHT);
    let color = decoder.color_type();
    let mut pixels = vec![0; decoder.total_bytes() as usize];
    decoder.read_image(&mut pixels).map_err(|error| corrupt(format, error))?;
    let rgb = to_rgb(&pixels, color)
        .ok_or_else(|| corrupt(format, format!("its colour type {color:?} is not supported")))?;
    Ok((Picture { width, height, rgb }, orientation))
}

/// Pillow's `convert("RGB")`: alpha is dropped, 16-bit colour keeps its high byte, and 16-bit grey
/// is clipped at 255 (which leaves most 16-bit depth maps white; the reference sees them so).
fn to_rgb(pixels: &[u8], color: ColorType) -> Option<Vec<u8>> {
    let grey = |levels: &mut dyn Iterator<Item = u8>| levels.flat_map(|level| [level; 3]).collect();
    let high = |sample: &[u8]| (u16::from_ne_bytes([sample[0], sample[1]]) >> 8) as u8;
    let clipped = |sample: &[u8]| u16::from_ne_bytes([sample[0], sample[1]]).min(255) as u8;
    Some(match color {
        ColorType::Rgb8 => pixels.to_vec(),
        ColorType::Rgba8 => {
            pixels.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect()
        }
        ColorType::L8 => grey(&mut pixels.iter().copied()),
        ColorType::La8 => grey(&mut pixels.chunks_exact(2).map(|pixel| pixel[0])),
        ColorType::L16 => grey(&mut pixels.chunks_exact(2).map(clipped)),
        ColorType::La16 => grey(&mut pixels.chunks_exact(4).map(high)),
        ColorType::Rgb16 => pixels.chunks_exact(2).map(high).collect(),
        ColorType::Rgba16 => pixels
            .chunks_exact(8)
            .flat_map(|pixel| [high(pixel), high(&pixel[2..]), high(&pixel[4..])])
            .collect(),
        _ => return None,
    })
}

//! JPEG through libjpeg-turbo, the decoder that Pillow uses: same inverse DCT, same upsampling.
//!
//! CMYK and YCCK follow Pillow: Adobe's inverted polarity, then its naive conversion to RGB.

use turbojpeg::{Decompressor, Error, Image, PixelFormat};

use super::{Limits, MediaError, Picture, picture::corrupt, sniff::Format};

/// A progressive picture with more scans costs time out of proportion to its bytes.
const MAX_SCANS: u32 = 1000;

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Picture, MediaError> {
    let frame = frame(bytes)
        .ok_or_else(|| corrupt(Format::Jpeg, "it has no frame header before its first scan"))?;
    let (width, height) = (u32::from(frame.width), u32::from(frame.height));
    limits.check(width, height)?;
    if width == 0 || height == 0 {
        return Err(corrupt(Format::Jpeg, format!("it declares {width} × {height} pixels")));
    }
    match frame.n_components {
        1 | 3 => {
            let rgb = decompress(bytes, &frame, PixelFormat::RGB)?;
            Ok(Picture { width, height, rgb })
        }
        4 => {
            let cmyk = decompress(bytes, &frame, PixelFormat::CMYK)?;
            Ok(Picture { width, height, rgb: inverted_cmyk_to_rgb(&cmyk) })
        }
        n => Err(corrupt(Format::Jpeg, format!("it has {n} components; 1, 3 and 4 are known"))),
    }
}

fn decompress(bytes: &[u8], frame: &Frame, format: PixelFormat) -> Result<Vec<u8>, MediaError> {
    let (width, height) = (usize::from(frame.width), usize::from(frame.height));
    let pitch = width * format.size();
    let mut pixels = vec![0; pitch * height];
    let mut decompressor = Decompressor::new().map_err(|error| corrupt(Format::Jpeg, error))?;
    decompressor.set_scan_limit(MAX_SCANS).map_err(|error| corrupt(Format::Jpeg, error))?;
    let output = Image { pixels: &mut pixels[..], width, pitch, height, format };
    match decompressor.decompress(bytes, output) {
        Ok(()) => Ok(pixels),
        Err(error) if is_tolerable(&error) => Ok(pixels),
        Err(error) => Err(corrupt(Format::Jpeg, error)),
    }
}

/// libjpeg's warnings about damage that it decoded around; Pillow keeps such pictures too.
/// A missing end is no such damage: Pillow refuses truncated pictures, and so do we.
fn is_tolerable(error: &Error) -> bool {
    const WARNINGS: [&str; 4] = [
        "Corrupt JPEG data",
        "Inconsistent progression sequence",
        "Warning: unknown JFIF revision",
        "Unknown Adobe color transform code",
    ];
    let Error::TurboJpegError(message) = error else { return false };
    WARNINGS.iter().any(|warning| message.contains(warning))
}

/// Pillow's `CMYK;I` (Adobe stores 255 minus ink) and then its CMYK to RGB.
fn inverted_cmyk_to_rgb(cmyk: &[u8]) -> Vec<u8> {
    let mut rgb = Vec::with_capacity(cmyk.len() / 4 * 3);
    for ink in cmyk.chunks_exact(4) {
        // `ink[3]` is 255 minus black, so it is the light that black lets through.
        let light = u32::from(ink[3]);
        for &channel in &ink[..3] {
            let product = u32::from(255 - channel) * light + 128;
            let shaded = ((product >> 8) + product) >> 8;
            rgb.push(light.saturating_sub(shaded) as u8);
        }
    }
    rgb
}

/// What the start-of-frame segment declares.
struct Frame {
    width: u16,
    height: u16,
    n_components: u8,
}

fn frame(bytes: &[u8]) -> Option<Frame> {
    // C4, C8 and CC share the range but are tables and extensions, not frames.
    let is_frame =
        |marker: u8| matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc);
    let (_, payload) = segments(bytes).find(|(marker, _)| is_frame(*marker))?;
    let &[_precision, h1, h0, w1, w0, n_components, ..] = payload else { return None };
    Some(Frame {
        width: u16::from_be_bytes([w1, w0]),
        height: u16::from_be_bytes([h1, h0]),
        n_components,
    })
}

/// `(marker, payload)` of every segment before the first scan.
pub(super) fn segments(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    const START_OF_SCAN: u8 = 0xda;
    const END_OF_IMAGE: u8 = 0xd9;
    let mut at = 2;
    std::iter::from_fn(move || {
        loop {
            // Anything between segments and any number of fill bytes may precede a marker.
            at += bytes.get(at..)?.iter().position(|&byte| byte == 0xff)?;
            at += bytes.get(at..)?.iter().position(|&byte| byte != 0xff)?;
            let marker = bytes[at];
            at += 1;
            match marker {
                START_OF_SCAN | END_OF_IMAGE => return None,
                0x00 | 0x01 | 0xd0..=0xd8 => {}
                _ => {
                    let length = bytes.get(at..at + 2)?;
                    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
                    let payload = bytes.get(at + 2..at + length)?;
                    at += length;
                    return Some((marker, payload));
                }
            }
        }
    })
}

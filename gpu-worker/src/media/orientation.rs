//! Turns a picture upright by its EXIF orientation, as Pillow's `ImageOps.exif_transpose` does.
//!
//! A picture whose EXIF cannot be read is taken as it lies; XMP's `tiff:Orientation` counts where
//! EXIF has none.

use exif::{In, Reader, Tag};

use super::Picture;

/// EXIF's orientation, 1 to 8; 1 is upright.
pub(super) const UPRIGHT: u32 = 1;

/// The orientation that a JPEG's application segments state.
pub(super) fn of_jpeg(bytes: &[u8]) -> u32 {
    let mut xmp = None;
    for segment in app1_segments(bytes) {
        if let Some(exif) = segment.strip_prefix(b"Exif\0\0")
            && let Some(orientation) = of_exif(exif)
        {
            return orientation;
        }
        if let Some(packet) = segment.strip_prefix(b"http://ns.adobe.com/xap/1.0/\0") {
            xmp = of_xmp(packet);
        }
    }
    xmp.unwrap_or(UPRIGHT)
}

/// The orientation of a TIFF structure (the payload of EXIF); `None` where it says nothing.
pub(super) fn of_exif(tiff: &[u8]) -> Option<u32> {
    let tiff = tiff.strip_prefix(b"Exif\0\0").unwrap_or(tiff);
    let mut reader = Reader::new();
    reader.continue_on_error(true);
    let exif = match reader.read_raw(tiff.to_vec()) {
        Ok(exif) => exif,
        Err(error) => error.distill_partial_result(|_| {}).ok()?,
    };
    exif.get_field(Tag::Orientation, In::PRIMARY)?.value.get_uint(0)
}

/// The orientation that an XMP packet states, as attribute or as element.
pub(super) fn of_xmp(packet: &[u8]) -> Option<u32> {
    const NAME: &[u8] = b"tiff:Orientation";
    let start = packet.windows(NAME.len()).position(|window| window == NAME)? + NAME.len();
    let digit = match packet.get(start..)? {
        [b'=', b'"', digit, ..] | [b'>', digit, ..] => *digit,
        _ => return None,
    };
    digit.is_ascii_digit().then(|| u32::from(digit - b'0'))
}

/// The payloads of the APP1 segments before the first scan.
fn app1_segments(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    super::jpeg::segments(bytes).filter(|(marker, _)| *marker == 0xe1).map(|(_, payload)| payload)
}

/// Applies an orientation; values outside 2–8 mean upright.
pub(super) fn upright(picture: Picture, orientation: u32) -> Picture {
    let (width, height) = (picture.width as usize, picture.height as usize);
    let (mirror, flip, transpose) = match orientation {
        2 => (true, false, false),
        3 => (true, true, false),
        4 => (false, true, false),
        5 => (false, false, true),
        6 => (false, true, true),
        7 => (true, true, true),
        8 => (true, false, true),
        _ => return picture,
    };
    let (new_width, new_height) = if transpose { (height, width) } else { (width, height) };
    let mut rgb = Vec::with_capacity(picture.rgb.len());
    for y in 0..new_height {
        for x in 0..new_width {
            let (x, y) = if transpose { (y, x) } else { (x, y) };
            let x = if mirror { width - 1 - x } else { x };
            let y = if flip { height - 1 - y } else { y };
            let at = (y * width + x) * 3;
            rgb.extend_from_slice(&picture.rgb[at..at + 3]);
        }
    }
    Picture { width: new_width as u32, height: new_height as u32, rgb }
}

//! Tells what bytes are by looking at them; names and declared types are never trusted.

/// The picture formats that are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Bmp,
    Gif,
    Jpeg,
    Png,
    Tiff,
    WebP,
}

impl Format {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bmp => "BMP",
            Self::Gif => "GIF",
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::Tiff => "TIFF",
            Self::WebP => "WebP",
        }
    }
}

/// The picture format of `bytes`, or in words what they are instead.
pub(super) fn sniff(bytes: &[u8]) -> Result<Format, &'static str> {
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    let at = |offset: usize, magic: &[u8]| {
        bytes.get(offset..).is_some_and(|rest| rest.starts_with(magic))
    };
    if starts(b"\x89PNG\r\n\x1a\n") {
        Ok(Format::Png)
    } else if starts(b"\xff\xd8\xff") {
        Ok(Format::Jpeg)
    } else if starts(b"RIFF") && at(8, b"WEBP") {
        Ok(Format::WebP)
    } else if starts(b"GIF87a") || starts(b"GIF89a") {
        Ok(Format::Gif)
    } else if starts(b"II*\0") || starts(b"MM\0*") || starts(b"II+\0") || starts(b"MM\0+") {
        Ok(Format::Tiff)
    } else if starts(b"BM") && at(6, &[0; 4]) {
        Ok(Format::Bmp)
    } else {
        Err(describe(bytes))
    }
}

/// `(offset, magic, what it is)`; the first match counts.
const OTHERS: &[(usize, &[u8], &str)] = &[
    (0, b"%PDF", "a PDF document"),
    (4, b"ftypavif", "an AVIF picture"),
    (4, b"ftypheic", "a HEIC picture"),
    (4, b"ftypmif1", "a HEIF picture"),
    (4, b"ftyp", "an MP4 file"),
    (8, b"WAVE", "WAV audio"),
    (0, b"ID3", "MP3 audio"),
    (0, b"\xff\xfb", "MP3 audio"),
    (0, b"OggS", "Ogg audio"),
    (0, b"fLaC", "FLAC audio"),
    (0, b"\x1a\x45\xdf\xa3", "a Matroska or WebM video"),
    (0, b"\0\0\x01\0", "an ICO icon"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"\xff\x0a", "a JPEG XL picture"),
    (4, b"JXL ", "a JPEG XL picture"),
    (4, b"jP  ", "a JPEG 2000 picture"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "gzip data"),
    (0, b"\x28\xb5\x2f\xfd", "Zstandard data"),
];

fn describe(bytes: &[u8]) -> &'static str {
    if bytes.is_empty() {
        return "empty";
    }
    let known = OTHERS.iter().find(|(offset, magic, _)| {
        bytes.get(*offset..).is_some_and(|rest| rest.starts_with(magic))
    });
    if let Some((_, _, name)) = known {
        return name;
    }
    let head = &bytes[..bytes.len().min(512)];
    // A multi-byte character cut at the end of the head is still text.
    let is_text = match std::str::from_utf8(head) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none() && error.valid_up_to() > 0,
    } && !head.contains(&0);
    if !is_text {
        return "of an unknown binary format";
    }
    let text =
        String::from_utf8_lossy(head).trim_start_matches('\u{feff}').trim_start().to_lowercase();
    if text.starts_with("<!doctype html") || text.starts_with("<html") {
        "an HTML page"
    } else if text.contains("<svg") {
        "an SVG drawing"
    } else if text.starts_with('<') {
        "XML text"
    } else if text.starts_with('{') || text.starts_with('[') {
        "JSON text"
    } else if text.starts_with("data:") {
        "a data URI that was not decoded"
    } else {
        "plain text"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_bytes_are_that_are_no_picture() {
        assert_eq!(sniff(b""), Err("empty"));
        assert_eq!(sniff(b"<!DOCTYPE html><html>"), Err("an HTML page"));
        assert_eq!(sniff(b"<?xml version='1.0'?><svg/>"), Err("an SVG drawing"));
        assert_eq!(sniff(b"{\"a\": 1}"), Err("JSON text"));
        assert_eq!(sniff(b"%PDF-1.7"), Err("a PDF document"));
        assert_eq!(sniff(b"RIFF\0\0\0\0WAVEfmt "), Err("WAV audio"));
        assert_eq!(sniff(b"\x01\x02\xfe\xff"), Err("of an unknown binary format"));
    }

    #[test]
    fn knows_pictures_by_their_first_bytes() {
        assert_eq!(sniff(b"\xff\xd8\xff\xe0"), Ok(Format::Jpeg));
        assert_eq!(sniff(b"RIFF\0\0\0\0WEBPVP8 "), Ok(Format::WebP));
        assert_eq!(sniff(b"GIF89a"), Ok(Format::Gif));
        assert_eq!(sniff(b"BM\x10\0\0\0\0\0\0\0"), Ok(Format::Bmp));
    }
}

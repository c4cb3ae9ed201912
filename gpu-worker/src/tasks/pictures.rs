//! Pictures that a task made, on their way out: format, limits, and the output that all such tasks share.

use proto::{ImagesOutput, MadeImage, Media, infer_result::Output, media::Content};

use crate::{
    failure::{Code, Failure},
    media::{EncodeError, OutputFormat, Picture, encode},
};

const DEFAULT_QUALITY: u32 = 90;

/// What `options.format` and `options.quality` ask for.
pub fn format(name: Option<&str>, quality: Option<u32>) -> Result<OutputFormat, Failure> {
    let format = match name.unwrap_or("png") {
        "png" => OutputFormat::Png,
        "webp" => OutputFormat::WebP,
        "jpeg" | "jpg" => {
            let asked = quality.unwrap_or(DEFAULT_QUALITY);
            let quality = u8::try_from(asked).ok().filter(|quality| (1..=100).contains(quality));
            let Some(quality) = quality else {
                let message = format!("is {asked}, expected 1 to 100");
                return Err(Failure::invalid("options.quality", message));
            };
            return Ok(OutputFormat::Jpeg { quality });
        }
        other => {
            let message = format!("is {other:?}, expected png, jpeg or webp");
            return Err(Failure::invalid("options.format", message));
        }
    };
    match quality {
        None => Ok(format),
        Some(_) => Err(Failure::invalid("options.quality", "is only for the format jpeg")),
    }
}

/// Refuses a picture that the format could not hold, before it is made.
pub fn check_sides(format: OutputFormat, sides: [u32; 2]) -> Result<(), Failure> {
    let longest = format.longest_side();
    match sides.iter().max() {
        Some(&side) if side > longest => {
            let message = format!(
                "cannot hold {} × {} pixels: {longest} a side are the most",
                sides[0], sides[1]
            );
            Err(Failure::invalid("options.format", message)
                .number("limit", u64::from(longest))
                .number("size", u64::from(side)))
        }
        _ => Ok(()),
    }
}

/// The shared output, with what was done otherwise than asked.
pub fn output(
    pictures: &[Picture],
    format: OutputFormat,
    notices: Vec<String>,
) -> Result<Output, Failure> {
    let image = |picture: &Picture| {
        let inline = encode(picture, format)?;
        let mime_type = format.mime_type().to_owned();
        let media = Media { content: Some(Content::Inline(inline)), mime_type };
        Ok(MadeImage {
            image: Some(media),
            width: picture.width,
            height: picture.height,
            is_refused: None,
        })
    };
    let images = pictures.iter().map(image).collect::<Result<_, Failure>>()?;
    Ok(Output::Images(ImagesOutput { images, notices }))
}

impl From<EncodeError> for Failure {
    fn from(error: EncodeError) -> Self {
        tracing::error!(error = ?error, "a picture could not be written");
        Self::new(Code::InferenceFailed, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_and_qualities_that_do_not_go_together_are_refused_by_field() {
        assert_eq!(format(None, None).unwrap(), OutputFormat::Png);
        assert_eq!(format(Some("jpeg"), Some(7)).unwrap(), OutputFormat::Jpeg { quality: 7 });
        for (name, quality, field) in [
            (Some("tiff"), None, "options.format"),
            (Some("jpeg"), Some(0), "options.quality"),
            (Some("jpeg"), Some(101), "options.quality"),
            (None, Some(90), "options.quality"),
            (Some("webp"), Some(90), "options.quality"),
        ] {
            let failure = format(name, quality).unwrap_err();
            assert_eq!(failure.field, field, "{name:?} {quality:?}");
        }
    }

    #[test]
    fn a_side_that_the_format_cannot_hold_is_refused() {
        assert!(check_sides(OutputFormat::Png, [70_000, 3]).is_ok());
        assert!(check_sides(OutputFormat::WebP, [3, 16_384]).is_err());
        assert!(check_sides(OutputFormat::Jpeg { quality: 90 }, [65_501, 3]).is_err());
    }
}

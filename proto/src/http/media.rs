//! `Media` in JSON is a data URI, or base64 alone. base64 exists only here.
//!
//! Where a request brings a file beside its JSON, the bytes are taken as they are, without a copy.

use std::borrow::Cow;

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        ObjectBuilder, RefOr,
        schema::{Schema, SchemaFormat, SchemaType, Type},
    },
};

use crate::{MAX_MESSAGE_BYTES, Media, media::Content};

/// Browsers and command lines differ about the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a text is not media.
#[derive(Debug, PartialEq, Eq)]
enum MediaError {
    Empty,
    DataUri,
    Base64(base64::DecodeError),
    TooLarge { bytes: usize },
}

impl std::fmt::Display for MediaError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Empty => f.write_str("expected a data URI or base64, found no bytes"),
            Self::DataUri => {
                f.write_str("expected a data URI such as data:image/png;base64,… with a comma")
            }
            Self::Base64(cause) => write!(f, "expected a data URI or base64: {cause}"),
            Self::TooLarge { bytes } => {
                write!(f, "expected at most {MAX_MESSAGE_BYTES} bytes, found about {bytes}")
            }
        }
    }
}

fn parse(text: &str) -> Result<Media, MediaError> {
    let (mime_type, payload) = match text.strip_prefix("data:") {
        Some(uri) => {
            let (head, payload) = uri.split_once(',').ok_or(MediaError::DataUri)?;
            let mime_type = head.strip_suffix(";base64").ok_or(MediaError::DataUri)?;
            (mime_type.to_owned(), payload)
        }
        None => (String::new(), text),
    };
    let bytes = payload.len() / 4 * 3;
    if bytes > MAX_MESSAGE_BYTES {
        return Err(MediaError::TooLarge { bytes });
    }
    // `base64` of a shell breaks its lines.
    let payload: Cow<'_, [u8]> = if payload.bytes().any(|byte| byte.is_ascii_whitespace()) {
        payload.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect::<Vec<u8>>().into()
    } else {
        payload.as_bytes().into()
    };
    let inline = BASE64.decode(payload).map_err(MediaError::Base64)?;
    if inline.is_empty() {
        return Err(MediaError::Empty);
    }
    Ok(Media { content: Some(Content::Inline(inline)), mime_type })
}

impl<'de> Deserialize<'de> for Media {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl de::Visitor<'_> for Text {
            type Value = Media;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string with a data URI or base64")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Media, E> {
                parse(text).map_err(E::custom)
            }

            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Media, E> {
                if bytes.is_empty() {
                    return Err(E::custom(MediaError::Empty));
                }
                Ok(Media { content: Some(Content::Inline(bytes)), mime_type: String::new() })
            }
        }

        deserializer.deserialize_str(Text)
    }
}

impl Serialize for Media {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(Content::Inline(bytes)) = &self.content else {
            return Err(ser::Error::custom("media without its bytes cannot be written as JSON"));
        };
        let mime_type =
            if self.mime_type.is_empty() { "application/octet-stream" } else { &self.mime_type };
        let mut uri = format!("data:{mime_type};base64,");
        BASE64.encode_string(bytes, &mut uri);
        serializer.serialize_str(&uri)
    }
}

impl PartialSchema for Media {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::String))
            .format(Some(SchemaFormat::Custom("data-uri".to_owned())))
            .description(Some("A data URI, or bare base64. The type is told from the bytes."))
            .into()
    }
}

impl ToSchema for Media {}

#[cfg(test)]
mod tests {
    use super::*;

    fn inline(text: &str) -> Vec<u8> {
        match parse(text).unwrap().content {
            Some(Content::Inline(bytes)) => bytes,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn data_uris_and_bare_base64_give_the_same_bytes() {
        for text in ["data:image/png;base64,aGk=", "aGk=", "aGk", "aG\nk="] {
            assert_eq!(inline(text), b"hi", "{text}");
        }
        assert_eq!(parse("data:image/png;base64,aGk=").unwrap().mime_type, "image/png");
    }

    #[test]
    fn what_is_no_base64_is_refused() {
        assert_eq!(parse(""), Err(MediaError::Empty));
        assert_eq!(parse("data:image/png,hi"), Err(MediaError::DataUri));
        assert!(matches!(parse("https://example.com/cat.png"), Err(MediaError::Base64(_))));
    }

    #[test]
    fn bytes_beside_the_json_are_not_copied() {
        use serde::de::{IntoDeserializer, value::Error, value::MapDeserializer};

        struct File(Vec<u8>);

        impl IntoDeserializer<'_, Error> for File {
            type Deserializer = Self;

            fn into_deserializer(self) -> Self {
                self
            }
        }

        impl<'de> Deserializer<'de> for File {
            type Error = Error;

            fn deserialize_any<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
                visitor.visit_byte_buf(self.0)
            }

            fn deserialize_option<V: de::Visitor<'de>>(
                self,
                visitor: V,
            ) -> Result<V::Value, Error> {
                visitor.visit_some(self)
            }

            serde::forward_to_deserialize_any! {
                bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
                unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
            }
        }

        let bytes = b"hi".to_vec();
        let place = bytes.as_ptr();
        let fields = MapDeserializer::new([("image_base64", File(bytes))].into_iter());
        let inputs = crate::ImageClassificationInputs::deserialize(fields).unwrap();
        let Some(Content::Inline(bytes)) = inputs.image.unwrap().content else {
            panic!("not inline")
        };
        assert_eq!((bytes.as_slice(), bytes.as_ptr()), (&b"hi"[..], place));
        let empty = MapDeserializer::new([("image_base64", File(Vec::new()))].into_iter());
        assert!(crate::ImageClassificationInputs::deserialize(empty).is_err());
    }

    #[test]
    fn media_are_written_as_data_uris() {
        let media =
            Media { content: Some(Content::Inline(b"hi".to_vec())), mime_type: "image/png".into() };
        assert_eq!(serde_json::to_string(&media).unwrap(), r#""data:image/png;base64,aGk=""#);
    }

    #[test]
    fn media_without_bytes_are_an_error_and_not_an_empty_string() {
        let media = Media { content: Some(Content::Chunked(0)), mime_type: String::new() };
        assert!(serde_json::to_string(&media).is_err());
    }
}

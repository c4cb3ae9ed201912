//! What can be wrong with a picture, and with the configuration of an image processor.

/// What the sender of a picture did wrong. The message is fit for the client.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    #[error(
        "expected a picture (PNG, JPEG, WebP, GIF, BMP or TIFF), but the {size} bytes are {found}"
    )]
    NotAPicture { found: &'static str, size: usize },
    #[error("the bytes start like a {format} picture, but it cannot be decoded: {reason}")]
    Corrupt { format: &'static str, reason: String },
    #[error("the picture has {size} bytes, more than the limit of {limit} bytes")]
    TooManyBytes { size: u64, limit: u64 },
    #[error(
        "the picture declares {width} × {height} = {size} pixels, more than the limit of {limit} pixels"
    )]
    TooManyPixels { width: u32, height: u32, size: u64, limit: u64 },
}

impl MediaError {
    /// The stable code of the client's error envelope.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAPicture { .. } | Self::Corrupt { .. } => "invalid_media",
            Self::TooManyBytes { .. } | Self::TooManyPixels { .. } => "payload_too_large",
        }
    }
}

/// Why an image processor cannot be built from its configuration, or not used on a picture.
#[derive(Debug, thiserror::Error)]
pub enum ProcessorError {
    #[error("{file} is not valid JSON")]
    Json {
        file: &'static str,
        #[source]
        source: serde_json::Error,
    },
    #[error(
        "neither preprocessor_config.json nor config.json names an image processor \
         (image_processor_type, feature_extractor_type or a known model_type)"
    )]
    NoType,
    #[error("the image processor {name} is not supported; supported are {supported}")]
    Unsupported { name: String, supported: String },
    #[error("preprocessor_config.json: {field} {reason}")]
    Field { field: &'static str, reason: String },
    #[error(
        "resizing a picture of {width} × {height} for this model makes {new_width} × {new_height} \
         pixels, more than the limit of {limit} pixels"
    )]
    ResizedTooLarge { width: u32, height: u32, new_width: u64, new_height: u64, limit: u64 },
    #[error("resizing a picture of {width} × {height} for this model leaves no pixel")]
    ResizedEmpty { width: u32, height: u32 },
    #[error("libtorch could not resize the picture")]
    Torch(#[source] tch::TchError),
}

impl ProcessorError {
    /// The stable code of the client's error envelope.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoType | Self::Unsupported { .. } => "format_not_supported",
            Self::Json { .. } | Self::Field { .. } => "load_failed",
            Self::ResizedTooLarge { .. } => "payload_too_large",
            Self::ResizedEmpty { .. } => "invalid_media",
            Self::Torch(_) => "inference_failed",
        }
    }
}

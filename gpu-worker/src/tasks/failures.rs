//! How the errors of preparing a request become what a client sees: one place for all tasks.

use crate::{
    failure::{Code, Failure},
    media::{MediaError, ProcessorError},
    sampling::InvalidOption,
    text::TextError,
};

fn code(name: &str) -> Code {
    Code::from_name(name).unwrap_or(Code::InferenceFailed)
}

impl From<TextError> for Failure {
    fn from(error: TextError) -> Self {
        Self::new(code(error.code()), error)
    }
}

impl From<MediaError> for Failure {
    fn from(error: MediaError) -> Self {
        let failure = Self::new(code(error.code()), &error);
        match error {
            MediaError::TooManyBytes { size, limit }
            | MediaError::TooManyPixels { size, limit, .. } => {
                failure.number("size", size).number("limit", limit)
            }
            MediaError::NotAPicture { .. } | MediaError::Corrupt { .. } => failure,
        }
    }
}

impl From<ProcessorError> for Failure {
    fn from(error: ProcessorError) -> Self {
        Self::new(code(error.code()), error)
    }
}

impl From<InvalidOption> for Failure {
    fn from(error: InvalidOption) -> Self {
        Self::invalid(&error.field, error.message)
    }
}

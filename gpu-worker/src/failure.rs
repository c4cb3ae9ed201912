//! The one error that leaves a worker: a stable code, a message for the client, and what belongs to it.
//!
//! Every layer has an error of its own; each becomes a [`Failure`] in one `From` beside its definition.

use std::{fmt, time::Duration};

use proto::{ErrorDetail, ErrorFact, TextList, error_fact::Fact};

/// The codes of the HTTP API that a worker can answer with. Their names are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    InvalidRequest,
    InvalidMedia,
    PayloadTooLarge,
    InputTooLong,
    UnknownTask,
    MissingTask,
    ModelNotFound,
    RevisionNotFound,
    NotLoaded,
    NotFound,
    GatedModel,
    Forbidden,
    Unauthorized,
    InUse,
    VictimChanged,
    Overloaded,
    NoRoom,
    TooLarge,
    Loading,
    TaskNotSupported,
    ArchitectureNotSupported,
    FormatNotSupported,
    CorruptCheckpoint,
    LoadFailed,
    InferenceFailed,
    OutOfMemory,
    HubUnreachable,
    HubRateLimited,
    DiskFull,
    Draining,
    SlowConsumer,
    DeadlineExceeded,
    Cancelled,
}

impl Code {
    /// The name in `ErrorDetail.code` and in the HTTP envelope.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// The gRPC code that goes with it.
    pub fn grpc(self) -> tonic::Code {
        self.row().1
    }

    /// True when the same request may work later without a change.
    pub fn retryable(self) -> bool {
        self.row().2
    }

    /// The code of that name, for errors that bring their name along.
    pub fn from_name(name: &str) -> Option<Self> {
        ALL.iter().copied().find(|code| code.name() == name)
    }

    fn row(self) -> (&'static str, tonic::Code, bool) {
        use tonic::Code as Grpc;
        match self {
            Self::InvalidRequest => ("invalid_request", Grpc::InvalidArgument, false),
            Self::InvalidMedia => ("invalid_media", Grpc::InvalidArgument, false),
            Self::PayloadTooLarge => ("payload_too_large", Grpc::InvalidArgument, false),
            Self::InputTooLong => ("input_too_long", Grpc::InvalidArgument, false),
            Self::UnknownTask => ("unknown_task", Grpc::InvalidArgument, false),
            Self::MissingTask => ("missing_task", Grpc::InvalidArgument, false),
            Self::ModelNotFound => ("model_not_found", Grpc::NotFound, false),
            Self::RevisionNotFound => ("revision_not_found", Grpc::NotFound, false),
            Self::NotLoaded => ("not_loaded", Grpc::NotFound, false),
            Self::NotFound => ("not_found", Grpc::NotFound, false),
            Self::GatedModel => ("gated_model", Grpc::PermissionDenied, false),
            Self::Forbidden => ("forbidden", Grpc::PermissionDenied, false),
            Self::Unauthorized => ("unauthorized", Grpc::Unauthenticated, false),
            Self::InUse => ("in_use", Grpc::FailedPrecondition, true),
            Self::VictimChanged => ("victim_changed", Grpc::Aborted, true),
            Self::Overloaded => ("overloaded", Grpc::ResourceExhausted, true),
            Self::NoRoom => ("no_room", Grpc::ResourceExhausted, true),
            Self::TooLarge => ("too_large", Grpc::ResourceExhausted, false),
            Self::Loading => ("loading", Grpc::Unavailable, true),
            Self::TaskNotSupported => ("task_not_supported", Grpc::FailedPrecondition, false),
            Self::ArchitectureNotSupported => {
                ("architecture_not_supported", Grpc::FailedPrecondition, false)
            }
            Self::FormatNotSupported => ("format_not_supported", Grpc::FailedPrecondition, false),
            Self::CorruptCheckpoint => ("corrupt_checkpoint", Grpc::DataLoss, false),
            Self::LoadFailed => ("load_failed", Grpc::Internal, true),
            Self::InferenceFailed => ("inference_failed", Grpc::Internal, false),
            Self::OutOfMemory => ("out_of_memory", Grpc::ResourceExhausted, true),
            Self::HubUnreachable => ("hub_unreachable", Grpc::Unavailable, true),
            Self::HubRateLimited => ("hub_rate_limited", Grpc::Unavailable, true),
            Self::DiskFull => ("disk_full", Grpc::ResourceExhausted, true),
            Self::Draining => ("draining", Grpc::Unavailable, true),
            Self::SlowConsumer => ("slow_consumer", Grpc::ResourceExhausted, false),
            Self::DeadlineExceeded => ("deadline_exceeded", Grpc::DeadlineExceeded, true),
            Self::Cancelled => ("cancelled", Grpc::Cancelled, false),
        }
    }
}

const ALL: &[Code] = &[
    Code::InvalidRequest,
    Code::InvalidMedia,
    Code::PayloadTooLarge,
    Code::InputTooLong,
    Code::UnknownTask,
    Code::MissingTask,
    Code::ModelNotFound,
    Code::RevisionNotFound,
    Code::NotLoaded,
    Code::NotFound,
    Code::GatedModel,
    Code::Forbidden,
    Code::Unauthorized,
    Code::InUse,
    Code::VictimChanged,
    Code::Overloaded,
    Code::NoRoom,
    Code::TooLarge,
    Code::Loading,
    Code::TaskNotSupported,
    Code::ArchitectureNotSupported,
    Code::FormatNotSupported,
    Code::CorruptCheckpoint,
    Code::LoadFailed,
    Code::InferenceFailed,
    Code::OutOfMemory,
    Code::HubUnreachable,
    Code::HubRateLimited,
    Code::DiskFull,
    Code::Draining,
    Code::SlowConsumer,
    Code::DeadlineExceeded,
    Code::Cancelled,
];

/// What went wrong, for the client. The chain of causes is logged where it is converted.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    pub code: Code,
    pub message: String,
    /// The field at fault, such as `options.temperature`; empty where no single field is.
    pub field: String,
    pub facts: Vec<ErrorFact>,
    pub retry_after: Option<Duration>,
}

impl Failure {
    pub fn new(code: Code, message: impl fmt::Display) -> Self {
        Self {
            code,
            message: message.to_string(),
            field: String::new(),
            facts: Vec::new(),
            retry_after: None,
        }
    }

    /// `invalid_request` that names its field.
    pub fn invalid(field: &str, message: impl fmt::Display) -> Self {
        Self::new(Code::InvalidRequest, format!("{field} {message}")).at(field)
    }

    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.field = field.into();
        self
    }

    pub fn number(mut self, name: &str, value: u64) -> Self {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        self.facts.push(ErrorFact { name: name.to_owned(), fact: Some(Fact::Number(value)) });
        self
    }

    pub fn text(mut self, name: &str, value: impl Into<String>) -> Self {
        self.facts.push(ErrorFact { name: name.to_owned(), fact: Some(Fact::Text(value.into())) });
        self
    }

    pub fn texts(mut self, name: &str, items: Vec<String>) -> Self {
        self.facts
            .push(ErrorFact { name: name.to_owned(), fact: Some(Fact::Texts(TextList { items })) });
        self
    }

    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    pub fn detail(&self) -> ErrorDetail {
        ErrorDetail {
            code: self.code.name().to_owned(),
            field: self.field.clone(),
            facts: self.facts.clone(),
            retryable: self.code.retryable(),
            retry_after_ms: self.retry_after.map(|after| after.as_millis() as u64),
            message: self.message.clone(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.code.name(), self.message)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found_by_its_name() {
        for &code in ALL {
            assert_eq!(Code::from_name(code.name()), Some(code));
        }
        assert_eq!(Code::from_name("no such code"), None);
    }

    #[test]
    fn a_failure_carries_its_field_and_figures() {
        let detail =
            Failure::invalid("options.top_p", "must be above 0").number("limit", 1).detail();
        assert_eq!(
            (detail.code.as_str(), detail.field.as_str()),
            ("invalid_request", "options.top_p")
        );
        assert_eq!(detail.facts.len(), 1);
    }
}

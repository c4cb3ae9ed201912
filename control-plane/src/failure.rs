//! What can go wrong, as one closed list of stable codes: from a worker's status to an HTTP answer.

use std::{fmt, time::Duration};

use prost::Message;
use proto::ErrorDetail;
use serde_json::{Map, Value};
use tonic::{Code as GrpcCode, Status};

const ERROR_DETAIL_TYPE: &str = "type.googleapis.com/anymodel.v1.ErrorDetail";
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(2);

macro_rules! codes {
    ($($variant:ident $name:literal $status:literal,)*) => {
        /// A stable code of `http-api.md`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code { $(#[doc = $name] $variant,)* }

        impl Code {
            /// Every code, for documentation and tests.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// As it stands in answers, logs and metrics.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The HTTP status that goes with it.
            pub fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }
        }
    };
}

codes! {
    InvalidJson "invalid_json" 400,
    MissingTask "missing_task" 400,
    UnknownTask "unknown_task" 400,
    InvalidMedia "invalid_media" 400,
    Unauthorized "unauthorized" 401,
    Forbidden "forbidden" 403,
    GatedModel "gated_model" 403,
    ModelNotFound "model_not_found" 404,
    RevisionNotFound "revision_not_found" 404,
    NotLoaded "not_loaded" 404,
    NotFound "not_found" 404,
    MethodNotAllowed "method_not_allowed" 405,
    NotAcceptable "not_acceptable" 406,
    InUse "in_use" 409,
    InProgress "in_progress" 409,
    Gone "gone" 410,
    PayloadTooLarge "payload_too_large" 413,
    UnsupportedMediaType "unsupported_media_type" 415,
    InvalidRequest "invalid_request" 422,
    MissingInputs "missing_inputs" 422,
    UnknownOption "unknown_option" 422,
    InputTooLong "input_too_long" 422,
    TooLarge "too_large" 422,
    Overloaded "overloaded" 429,
    RateLimited "rate_limited" 429,
    Quarantined "quarantined" 429,
    Cancelled "cancelled" 499,
    InferenceFailed "inference_failed" 500,
    LoadFailed "load_failed" 500,
    CorruptCheckpoint "corrupt_checkpoint" 500,
    OutOfMemory "out_of_memory" 500,
    TaskNotSupported "task_not_supported" 501,
    ArchitectureNotSupported "architecture_not_supported" 501,
    FormatNotSupported "format_not_supported" 501,
    HubUnreachable "hub_unreachable" 502,
    HubRateLimited "hub_rate_limited" 502,
    Loading "loading" 503,
    NoRoom "no_room" 503,
    NoWorker "no_worker" 503,
    WorkerLost "worker_lost" 503,
    Draining "draining" 503,
    SlowConsumer "slow_consumer" 503,
    DeadlineExceeded "deadline_exceeded" 504,
    DiskFull "disk_full" 507,
}

impl Code {
    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.name() == name)
    }

    /// For a status that carries no detail.
    fn from_grpc(code: GrpcCode) -> Self {
        match code {
            GrpcCode::InvalidArgument | GrpcCode::OutOfRange => Self::InvalidRequest,
            GrpcCode::NotFound => Self::NotFound,
            GrpcCode::FailedPrecondition | GrpcCode::Unimplemented => Self::TaskNotSupported,
            GrpcCode::ResourceExhausted => Self::Overloaded,
            GrpcCode::Aborted | GrpcCode::AlreadyExists => Self::InProgress,
            GrpcCode::DeadlineExceeded => Self::DeadlineExceeded,
            GrpcCode::Unauthenticated => Self::Unauthorized,
            GrpcCode::PermissionDenied => Self::Forbidden,
            GrpcCode::Internal | GrpcCode::DataLoss => Self::InferenceFailed,
            GrpcCode::Unavailable | GrpcCode::Unknown | GrpcCode::Cancelled | GrpcCode::Ok => {
                Self::WorkerLost
            }
        }
    }
}

/// A failure as the client sees it; what is internal stays in the log.
#[derive(Clone, Debug)]
pub struct Failure {
    pub code: Code,
    /// For people; nothing internal.
    pub message: String,
    /// Figures and names that belong to the message.
    pub details: Map<String, Value>,
    /// After how long a new try makes sense.
    pub retry_after: Option<Duration>,
}

impl Failure {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: Map::new(), retry_after: None }
    }

    /// A request that is well-formed but wrong in one field, such as `options.top_k`.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        let field: String = field.into();
        Self::new(Code::InvalidRequest, format!("{field}: {}", message.into())).with("field", field)
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// Whether the same request may work later.
    pub fn retryable(&self) -> bool {
        matches!(self.code.status(), 429 | 502 | 503 | 504)
    }

    /// For `Retry-After`: only where waiting helps.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.code.status() {
            429 | 503 => Some(self.retry_after.unwrap_or(DEFAULT_RETRY_AFTER)),
            _ => self.retry_after,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.message)
    }
}

impl std::error::Error for Failure {}

/// The detail that a worker attached to its status.
pub fn detail_of(status: &Status) -> Option<ErrorDetail> {
    let packed = tonic_types::pb::Status::decode(status.details()).ok()?;
    let detail = packed.details.iter().find(|any| any.type_url == ERROR_DETAIL_TYPE)?;
    ErrorDetail::decode(detail.value.as_slice()).ok()
}

/// Whether the status tells that the worker or the way to it is gone, rather than what the worker answered.
pub fn is_loss(status: &Status) -> bool {
    if detail_of(status).is_some() {
        return false;
    }
    let broken = std::error::Error::source(status).is_some();
    broken
        || matches!(status.code(), GrpcCode::Unavailable | GrpcCode::Unknown | GrpcCode::Cancelled)
}

impl From<&ErrorDetail> for Failure {
    fn from(detail: &ErrorDetail) -> Self {
        Self {
            code: Code::from_name(&detail.code).unwrap_or(Code::InferenceFailed),
            message: detail.message.clone(),
            details: detail.details(),
            retry_after: detail.retry_after_ms.map(Duration::from_millis),
        }
    }
}

impl From<&Status> for Failure {
    fn from(status: &Status) -> Self {
        if let Some(detail) = detail_of(status) {
            let mut failure = Self::from(&detail);
            if failure.message.is_empty() {
                failure.message = status.message().to_owned();
            }
            if Code::from_name(&detail.code).is_none() {
                failure.code = Code::from_grpc(status.code());
            }
            return failure;
        }
        let code = if is_loss(status) { Code::WorkerLost } else { Code::from_grpc(status.code()) };
        let message = match code {
            Code::WorkerLost => "the connection to the worker broke",
            Code::InferenceFailed => "the worker failed",
            _ => status.message(),
        };
        Self::new(code, message)
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::from(&status)
    }
}

#[cfg(test)]
mod tests {
    use proto::{ErrorFact, error_fact::Fact};

    use super::*;

    fn status_with(detail: &ErrorDetail) -> Status {
        let any = prost_any(detail);
        let packed = tonic_types::pb::Status { code: 3, message: "m".into(), details: vec![any] };
        Status::with_details(GrpcCode::InvalidArgument, "m", packed.encode_to_vec().into())
    }

    fn prost_any(detail: &ErrorDetail) -> prost_types::Any {
        prost_types::Any { type_url: ERROR_DETAIL_TYPE.into(), value: detail.encode_to_vec() }
    }

    #[test]
    fn every_code_has_its_own_name_and_an_error_status() {
        for code in Code::ALL {
            assert_eq!(Code::from_name(code.name()), Some(*code));
            assert!((400..600).contains(&code.status()), "{code:?}");
        }
    }

    #[test]
    fn a_workers_detail_comes_through_whole() {
        let fact = ErrorFact { name: "limit".into(), fact: Some(Fact::Number(512)) };
        let detail = ErrorDetail {
            code: "input_too_long".into(),
            field: "inputs.text".into(),
            facts: vec![fact],
            message: "600 tokens are more than 512".into(),
            ..Default::default()
        };
        let failure = Failure::from(status_with(&detail));
        assert_eq!(failure.code, Code::InputTooLong);
        assert_eq!(failure.details["field"], "inputs.text");
        assert_eq!(failure.details["limit"], 512);
        assert_eq!(failure.message, "600 tokens are more than 512");
    }

    #[test]
    fn an_unknown_code_falls_back_to_the_grpc_code() {
        let detail = ErrorDetail { code: "brand_new".into(), ..Default::default() };
        assert_eq!(Failure::from(status_with(&detail)).code, Code::InvalidRequest);
    }

    #[test]
    fn a_bare_status_shows_nothing_internal() {
        let failure = Failure::from(Status::internal("at 0x7f in libtorch.so"));
        assert_eq!(failure.code, Code::InferenceFailed);
        assert!(!failure.message.contains("0x7f"));
        assert_eq!(Failure::from(Status::unavailable("tcp 10.0.0.5")).code, Code::WorkerLost);
    }
}

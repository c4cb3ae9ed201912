//! The error envelope, the same everywhere under `/api`.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::failure::Failure;

/// `{"error": {…}}`
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorAnswer {
    error: ErrorBody,
}

/// What went wrong.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct ErrorBody {
    /// Stable; programs go by it.
    #[schema(example = "invalid_request")]
    code: &'static str,
    /// For people.
    message: String,
    /// Figures and names that belong to the message, such as the `field` at fault.
    #[schema(value_type = Object)]
    details: Map<String, Value>,
    /// True when the same request may work later.
    retryable: bool,
}

impl From<&Failure> for ErrorBody {
    fn from(failure: &Failure) -> Self {
        Self {
            code: failure.code.name(),
            message: failure.message.clone(),
            details: failure.details.clone(),
            retryable: failure.retryable(),
        }
    }
}

/// The code of a failed request, for its line in the log.
#[derive(Clone, Copy)]
pub(super) struct FailureCode(pub(super) &'static str);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response =
            (status, Json(ErrorAnswer { error: ErrorBody::from(&self) })).into_response();
        if let Some(after) = self.retry_after() {
            // Whole seconds, rounded up.
            let seconds = after.as_millis().div_ceil(1000).max(1);
            if let Ok(value) = HeaderValue::from_str(&seconds.to_string()) {
                response.headers_mut().insert(RETRY_AFTER, value);
            }
        }
        response.extensions_mut().insert(FailureCode(self.code.name()));
        response
    }
}

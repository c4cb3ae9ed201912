//! Everything that can go wrong between a model id and its files, with the stable code a client sees.

use std::{io, path::Path, sync::Arc, time::Duration};

/// Cloneable, because every request that waits for one download gets the same failure.
/// No message holds the access token or a signed address.
#[derive(Clone, Debug, thiserror::Error)]
pub enum HubError {
    #[error("model_id {model_id:?} is not a model id: {reason}")]
    InvalidModelId { model_id: String, reason: &'static str },
    #[error("revision {revision:?} is not a revision: {reason}")]
    InvalidRevision { revision: String, reason: &'static str },
    #[error("path {path:?} is not a file of a repository: {reason}")]
    InvalidPath { path: String, reason: &'static str },
    #[error("range {start}..{end} of {path} is outside its {size} bytes")]
    InvalidRange { path: String, start: u64, end: u64, size: u64 },
    #[error("the Hub's address {endpoint:?} is not an http or https address")]
    InvalidEndpoint { endpoint: String },
    #[error("the Hub's access token has characters that no header can carry")]
    InvalidToken,
    #[error("model {model_id} does not exist, or is private")]
    ModelNotFound { model_id: String },
    #[error("model {model_id} has no revision {revision}")]
    RevisionNotFound { model_id: String, revision: String },
    #[error("model {model_id} has no file {path}")]
    FileNotFound { model_id: String, path: String },
    #[error("model {model_id} is gated: a token of an account with access to it is needed")]
    Gated { model_id: String },
    #[error("the Hub does not accept the access token for model {model_id}, or asks for one")]
    Unauthorized { model_id: String },
    #[error("the Hub forbids access to model {model_id}")]
    Forbidden { model_id: String },
    #[error("the Hub cannot be reached")]
    Unreachable { source: Arc<reqwest::Error> },
    #[error("the Hub failed with status {status}")]
    ServerFailed { status: u16 },
    #[error("the Hub broke off in the middle of {path}")]
    Interrupted { path: String },
    #[error("the Hub answered something that cannot be used: {what}")]
    MalformedAnswer { what: String },
    #[error("the Hub asks for fewer requests")]
    RateLimited { retry_after: Option<Duration> },
    #[error("{what} is not in the cache, and the Hub may not be asked (offline)")]
    Offline { what: String },
    #[error("the disk of the cache is full: {needed} more bytes are needed for {path}")]
    DiskFull { path: String, needed: u64 },
    #[error("{path} arrived damaged: its {what} is {found}, not {expected}")]
    Corrupt { path: String, what: &'static str, expected: String, found: String },
    #[error("{what} stalled: (almost) nothing arrived for {} s", after.as_secs_f32())]
    Stalled { what: String, after: Duration },
    #[error("{path} cannot be read or written")]
    Storage { path: String, source: Arc<io::Error> },
}

impl HubError {
    /// The stable code of the error envelope.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidModelId { .. }
            | Self::InvalidRevision { .. }
            | Self::InvalidPath { .. }
            | Self::InvalidRange { .. } => "invalid_request",
            Self::InvalidEndpoint { .. } | Self::InvalidToken => "invalid_hub_settings",
            Self::ModelNotFound { .. } => "model_not_found",
            Self::RevisionNotFound { .. } => "revision_not_found",
            Self::FileNotFound { .. } => "file_not_found",
            Self::Gated { .. } => "gated_model",
            Self::Unauthorized { .. } => "unauthorized",
            Self::Forbidden { .. } => "forbidden",
            Self::Unreachable { .. }
            | Self::ServerFailed { .. }
            | Self::Interrupted { .. }
            | Self::MalformedAnswer { .. } => "hub_unreachable",
            Self::RateLimited { .. } => "hub_rate_limited",
            Self::Offline { .. } => "hub_offline",
            Self::DiskFull { .. } => "disk_full",
            Self::Corrupt { .. } => "corrupt_download",
            Self::Stalled { .. } => "download_stalled",
            Self::Storage { .. } => "cache_failed",
        }
    }

    /// How long the Hub asked to be left alone, where it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after } => *retry_after,
            _ => None,
        }
    }

    /// Whether the same request may succeed a moment later.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::ServerFailed { .. }
                | Self::Interrupted { .. }
                | Self::RateLimited { .. }
                | Self::Stalled { .. }
        )
    }

    /// `needed` is what is still to be written when the disk turns out to be full.
    pub(super) fn storage(path: &Path, needed: u64, source: io::Error) -> Self {
        let path = path.display().to_string();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { path, needed }
            }
            _ => Self::Storage { path, source: Arc::new(source) },
        }
    }
}

impl From<reqwest::Error> for HubError {
    /// Without the address: a redirect's may be signed.
    fn from(source: reqwest::Error) -> Self {
        Self::Unreachable { source: Arc::new(source.without_url()) }
    }
}

//! What the Hub's answers mean: entries of its lists, its refusals, its headers.

use reqwest::{
    StatusCode,
    header::{CONTENT_RANGE, HeaderMap, LINK},
};
use serde::Deserialize;

use super::{HubError, RepoFile, identity, retry::retry_after};

/// What a request is about, to say what is missing when it fails.
#[derive(Clone, Copy)]
pub(super) enum Subject<'a> {
    Revision(&'a str),
    File(&'a str),
}

/// One entry of the tree listing. `hf-hub`'s own type reads the LFS hash from a field this listing doesn't have.
#[derive(Deserialize)]
pub(super) struct TreeEntry {
    #[serde(rename = "type")]
    pub(super) kind: String,
    path: String,
    #[serde(default)]
    size: u64,
    oid: String,
    lfs: Option<LfsEntry>,
}

#[derive(Deserialize)]
struct LfsEntry {
    oid: String,
    size: u64,
}

impl TreeEntry {
    pub(super) fn file(self) -> Result<RepoFile, HubError> {
        if let Err(error) = identity::check_path(&self.path) {
            return Err(HubError::MalformedAnswer {
                what: format!("in the list of files, {error}"),
            });
        }
        let (etag, size) = match self.lfs {
            Some(lfs) => (lfs.oid, lfs.size),
            None => (self.oid, self.size),
        };
        if !identity::is_content_id(&etag) {
            return Err(HubError::MalformedAnswer {
                what: format!("the list of files has no hash of {}", self.path),
            });
        }
        Ok(RepoFile { path: self.path, size, etag: Some(etag) })
    }
}

/// What the Hub means by a status, as its own Python client reads it.
pub(super) fn refusal(
    status: StatusCode,
    headers: &HeaderMap,
    model_id: &str,
    subject: Subject<'_>,
) -> HubError {
    let text =
        |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let model_id = model_id.to_owned();
    let missing = |model_id: String| match subject {
        Subject::Revision(revision) => {
            HubError::RevisionNotFound { model_id, revision: revision.to_owned() }
        }
        Subject::File(path) => HubError::FileNotFound { model_id, path: path.to_owned() },
    };
    match (status.as_u16(), text("x-error-code")) {
        (_, "GatedRepo") => HubError::Gated { model_id },
        (_, "RepoNotFound") => HubError::ModelNotFound { model_id },
        (_, "RevisionNotFound") => match subject {
            Subject::Revision(_) => missing(model_id),
            Subject::File(_) => {
                HubError::RevisionNotFound { model_id, revision: "of this file".to_owned() }
            }
        },
        (_, "EntryNotFound") => missing(model_id),
        (401, _) => HubError::Unauthorized { model_id },
        (403, _) => HubError::Forbidden { model_id },
        (404, _) => match subject {
            Subject::Revision(_) => HubError::ModelNotFound { model_id },
            Subject::File(_) => missing(model_id),
        },
        (429, _) => HubError::RateLimited { retry_after: retry_after(headers) },
        (408 | 500..=599, _) => HubError::ServerFailed { status: status.as_u16() },
        _ => HubError::MalformedAnswer { what: format!("status {}", status.as_u16()) },
    }
}

pub(super) fn malformed(what: &str, error: &serde_json::Error) -> HubError {
    HubError::MalformedAnswer { what: format!("{what} cannot be read: {error}") }
}

/// `5` of `bytes 5-9/10`.
pub(super) fn first_byte(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(CONTENT_RANGE)?
        .to_str()
        .ok()?
        .strip_prefix("bytes ")?
        .split('-')
        .next()?
        .trim()
        .parse()
        .ok()
}

/// The address of `<…>; rel="next"`.
pub(super) fn next_page(headers: &HeaderMap) -> Option<String> {
    let links = headers.get(LINK)?.to_str().ok()?;
    let next = links.split(',').find(|link| link.contains("rel=\"next\""))?;
    Some(next.split('<').nth(1)?.split('>').next()?.to_owned())
}

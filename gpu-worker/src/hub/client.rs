//! The Hub's HTTP interface: facts of a repository, its files, and the files themselves.

use std::{fmt, str::FromStr, time::Duration};

use futures::Future;
use hf_hub::repository::ModelInfo;
use reqwest::{
    Response, StatusCode, Url,
    header::{AUTHORIZATION, HeaderMap, HeaderValue, RANGE},
};
use tokio::time::timeout;

use super::{
    HubError, RepoFile, RetryPolicy,
    answers::{Subject, TreeEntry, first_byte, malformed, next_page, refusal},
    arriving::Arriving,
    identity,
    retry::Backoff,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const LARGEST_ANSWER: usize = 64 << 20;
const MOST_PAGES: usize = 1000;
/// What is asked of a repository: the whole answer lists every file a second time.
const FACTS: [&str; 3] = ["sha", "pipeline_tag", "library_name"];

/// An access token. It shows itself nowhere.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }
}

impl FromStr for Token {
    type Err = std::convert::Infallible;

    fn from_str(token: &str) -> Result<Self, Self::Err> {
        Ok(Self::new(token.trim()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(…)")
    }
}

/// How a file's bytes were answered.
pub(super) enum FileAnswer {
    /// From the beginning, whatever was asked for.
    Whole(Response),
    /// From the byte that was asked for.
    Rest(Response),
    /// The Hub has no such range of the file.
    NoSuchRange,
}

pub(super) struct Client {
    http: reqwest::Client,
    endpoint: Url,
    authorization: Option<HeaderValue>,
    pub(super) stall_timeout: Duration,
    retry: RetryPolicy,
}

impl Client {
    pub(super) fn new(
        endpoint: &str,
        token: Option<&Token>,
        stall_timeout: Duration,
        retry: RetryPolicy,
    ) -> Result<Self, HubError> {
        let invalid = || HubError::InvalidEndpoint { endpoint: endpoint.to_owned() };
        let endpoint: Url = endpoint.parse().map_err(|_| invalid())?;
        if !matches!(endpoint.scheme(), "http" | "https") || endpoint.cannot_be_a_base() {
            return Err(invalid());
        }
        let authorization = match token {
            Some(Token(token)) if !token.is_empty() => {
                let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                    .map_err(|_| HubError::InvalidToken)?;
                value.set_sensitive(true);
                Some(value)
            }
            _ => None,
        };
        let http = reqwest::Client::builder()
            .user_agent(concat!("anymodel/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .build()?;
        Ok(Self { http, endpoint, authorization, stall_timeout, retry })
    }

    pub(super) fn backoff(&self) -> Backoff {
        Backoff::new(self.retry)
    }

    /// Commit and facts of a revision.
    pub(super) async fn info(&self, model_id: &str, revision: &str) -> Result<ModelInfo, HubError> {
        let mut url = self.api(model_id, "revision", revision);
        url.query_pairs_mut().extend_pairs(FACTS.map(|fact| ("expand", fact)));
        let (_, body) = self.json(model_id, Subject::Revision(revision), url).await?;
        let info: ModelInfo = serde_json::from_slice(&body)
            .map_err(|error| malformed("the facts of the model", &error))?;
        match &info.sha {
            Some(commit) if identity::is_commit(commit) => Ok(info),
            _ => Err(HubError::MalformedAnswer {
                what: "the facts of the model name no commit".to_owned(),
            }),
        }
    }

    /// Every file of a commit.
    pub(super) async fn tree(
        &self,
        model_id: &str,
        commit: &str,
    ) -> Result<Vec<RepoFile>, HubError> {
        let mut url = self.api(model_id, "tree", commit);
        url.query_pairs_mut().append_pair("recursive", "true");
        let mut files = Vec::new();
        for _ in 0..MOST_PAGES {
            let (headers, body) =
                self.json(model_id, Subject::Revision(commit), url.clone()).await?;
            let entries: Vec<TreeEntry> = serde_json::from_slice(&body)
                .map_err(|error| malformed("the list of files", &error))?;
            for entry in entries.into_iter().filter(|entry| entry.kind == "file") {
                files.push(entry.file()?);
            }
            match next_page(&headers).and_then(|next| url.join(&next).ok()) {
                Some(next) => url = next,
                None => return Ok(files),
            }
        }
        Err(HubError::MalformedAnswer {
            what: format!("the list of files has more than {MOST_PAGES} pages"),
        })
    }

    /// Asks once for `path` from byte `start` up to `end` (or the end of the file).
    pub(super) async fn file(
        &self,
        model_id: &str,
        commit: &str,
        path: &str,
        start: u64,
        end: Option<u64>,
    ) -> Result<FileAnswer, HubError> {
        let url = self.url(model_id.split('/').chain(["resolve", commit]).chain(path.split('/')));
        let range = match end {
            Some(end) => Some(format!("bytes={start}-{}", end.saturating_sub(1))),
            None if start > 0 => Some(format!("bytes={start}-")),
            None => None,
        };
        let mut request = self.request(url);
        if let Some(range) = &range {
            request = request.header(RANGE, range);
        }
        let response = self.send(request, path).await?;
        match response.status() {
            StatusCode::OK => Ok(FileAnswer::Whole(response)),
            StatusCode::PARTIAL_CONTENT if first_byte(response.headers()) == Some(start) => {
                Ok(FileAnswer::Rest(response))
            }
            StatusCode::PARTIAL_CONTENT => Err(HubError::MalformedAnswer {
                what: format!("another range of {path} than the one asked for"),
            }),
            StatusCode::RANGE_NOT_SATISFIABLE if range.is_some() => Ok(FileAnswer::NoSuchRange),
            status => Err(refusal(status, response.headers(), model_id, Subject::File(path))),
        }
    }

    /// Repeats `attempt` while its failures are transient.
    pub(super) async fn retrying<T, F: Future<Output = Result<T, HubError>>>(
        &self,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, HubError> {
        let mut backoff = self.backoff();
        loop {
            match attempt().await {
                Ok(value) => return Ok(value),
                Err(error) => backoff.pause_after(error).await?,
            }
        }
    }

    async fn json(
        &self,
        model_id: &str,
        subject: Subject<'_>,
        url: Url,
    ) -> Result<(HeaderMap, bytes::Bytes), HubError> {
        self.retrying(|| async {
            let response = self.send(self.request(url.clone()), "the Hub's answer").await?;
            if !response.status().is_success() {
                return Err(refusal(response.status(), response.headers(), model_id, subject));
            }
            let headers = response.headers().clone();
            let body = Arriving::new(response, "the Hub's answer", self.stall_timeout)
                .collect(LARGEST_ANSWER)
                .await?;
            Ok((headers, body))
        })
        .await
    }

    /// The token goes to the Hub itself only; on a redirect to another host `reqwest` drops it.
    fn request(&self, url: Url) -> reqwest::RequestBuilder {
        let to_the_hub = url.origin() == self.endpoint.origin();
        let request = self.http.get(url);
        match &self.authorization {
            Some(authorization) if to_the_hub => {
                request.header(AUTHORIZATION, authorization.clone())
            }
            _ => request,
        }
    }

    async fn send(
        &self,
        request: reqwest::RequestBuilder,
        what: &str,
    ) -> Result<Response, HubError> {
        match timeout(self.stall_timeout, request.send()).await {
            Ok(response) => Ok(response?),
            Err(_) => Err(HubError::Stalled { what: what.to_owned(), after: self.stall_timeout }),
        }
    }

    fn api(&self, model_id: &str, kind: &str, revision: &str) -> Url {
        self.url(["api", "models"].into_iter().chain(model_id.split('/')).chain([kind, revision]))
    }

    /// Every segment is escaped, a revision's `/` too.
    fn url<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.endpoint.clone();
        url.path_segments_mut()
            .expect("the endpoint was checked to be a base")
            .pop_if_empty()
            .extend(segments);
        url
    }
}

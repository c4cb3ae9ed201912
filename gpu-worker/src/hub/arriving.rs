//! The body of an answer while it arrives, with an eye on whether it still does.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use tokio::time::{Instant, timeout_at};

use super::HubError;

/// Fewer bytes than this within the stall timeout is no download any more, however regularly they drip.
const LEAST_BYTES: u64 = 16 << 10;

/// There is no limit on the whole, only on standing still.
pub(super) struct Arriving {
    body: BoxStream<'static, reqwest::Result<Bytes>>,
    what: String,
    stall_timeout: Duration,
    deadline: Instant,
    since: u64,
}

impl Arriving {
    /// `what` names the file in errors.
    pub(super) fn new(response: reqwest::Response, what: &str, stall_timeout: Duration) -> Self {
        let deadline = Instant::now() + stall_timeout;
        Self {
            body: response.bytes_stream().boxed(),
            what: what.to_owned(),
            stall_timeout,
            deadline,
            since: 0,
        }
    }

    /// The next piece; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, HubError>> {
        loop {
            if Instant::now() >= self.deadline {
                if self.since < LEAST_BYTES {
                    return Some(Err(HubError::Stalled {
                        what: self.what.clone(),
                        after: self.stall_timeout,
                    }));
                }
                self.since = 0;
                self.deadline = Instant::now() + self.stall_timeout;
            }
            match timeout_at(self.deadline, self.body.next()).await {
                Err(_) => {}
                Ok(None) => return None,
                Ok(Some(Err(error))) => return Some(Err(error.into())),
                Ok(Some(Ok(bytes))) => {
                    self.since += bytes.len() as u64;
                    return Some(Ok(bytes));
                }
            }
        }
    }

    /// Everything, as long as it is at most `limit` bytes.
    pub(super) async fn collect(mut self, limit: usize) -> Result<Bytes, HubError> {
        let mut all = Vec::new();
        while let Some(bytes) = self.next().await {
            let bytes = bytes?;
            if all.len() + bytes.len() > limit {
                return Err(HubError::MalformedAnswer {
                    what: format!("{} has more than {limit} bytes", self.what),
                });
            }
            all.extend_from_slice(&bytes);
        }
        Ok(all.into())
    }
}

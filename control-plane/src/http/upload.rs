//! A request's body as it arrives: within its limit, in time, and never further ahead than its reader.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, BodyDataStream},
    http::{HeaderMap, header::CONTENT_LENGTH},
};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::time::{Instant, Sleep, sleep, timeout_at};

use crate::{
    config::Config,
    failure::{Code, Failure},
};

/// A body over the limit is still read to this multiple, so that the client hears the answer.
const PATIENCE: u64 = 4;
/// What a parser may hold without passing anything on, in bytes; heads of parts are far smaller.
const MAX_UNREAD: u64 = 1 << 20;

/// The frames of a body. After a failure, [`Upload::refuse`] ends it.
pub(super) struct Upload {
    frames: BodyDataStream,
    declared: Option<u64>,
    limit: u64,
    received: u64,
    exceeded: bool,
    /// Counted up here, set back by whoever reads.
    unread: Arc<AtomicU64>,
    /// A frame was passed on; the next one waits until its reader had a turn.
    is_ahead: bool,
    timer: Pin<Box<Sleep>>,
    /// Time for every `pace` bytes.
    patience: Duration,
    pace: u64,
    paces: u64,
}

impl Upload {
    pub(super) fn new(headers: &HeaderMap, body: Body, limit: u64, config: &Config) -> Self {
        let declared =
            headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        Self {
            frames: body.into_data_stream(),
            declared,
            limit,
            received: 0,
            exceeded: false,
            unread: Arc::default(),
            is_ahead: false,
            timer: Box::pin(sleep(config.body_timeout)),
            patience: config.body_timeout,
            pace: config.body_limit.max(1),
            paces: 0,
        }
    }

    /// Bytes to expect, within the limit; 0 when the client does not say.
    pub(super) fn expected(&self) -> usize {
        self.declared.unwrap_or(0).min(self.limit) as usize
    }

    /// Bytes that were passed on since whoever reads set it to 0.
    pub(super) fn unread(&self) -> Arc<AtomicU64> {
        self.unread.clone()
    }

    /// Reads on without keeping anything, so that the client hears the failure instead of a broken connection.
    pub(super) async fn refuse(mut self, failure: Failure) -> Failure {
        if failure.code == Code::DeadlineExceeded {
            return failure;
        }
        let deadline = Instant::now() + self.patience;
        while self.received <= self.limit.saturating_mul(PATIENCE) {
            match timeout_at(deadline, self.frames.next()).await {
                Ok(Some(Ok(frame))) => self.received += frame.len() as u64,
                Ok(Some(Err(_)) | None) | Err(_) => break,
            }
        }
        if self.exceeded {
            return too_large("the body", self.declared.unwrap_or(self.received), self.limit);
        }
        failure
    }

    fn arrived(&mut self, frame: &Bytes) -> Result<(), Failure> {
        let bytes = frame.len() as u64;
        self.received += bytes;
        if self.received > self.limit {
            self.exceeded = true;
            return Err(too_large("the body", self.received, self.limit));
        }
        if self.unread.fetch_add(bytes, Ordering::Relaxed) > MAX_UNREAD {
            return Err(Failure::invalid("body", "the head of a part has no end"));
        }
        let paces = self.received / self.pace;
        if paces > self.paces {
            let more =
                self.patience.saturating_mul(u32::try_from(paces - self.paces).unwrap_or(u32::MAX));
            let until = self.timer.deadline() + more;
            self.timer.as_mut().reset(until);
            self.paces = paces;
        }
        Ok(())
    }
}

/// `what` has `size` bytes.
pub(super) fn too_large(what: &str, size: u64, limit: u64) -> Failure {
    Failure::new(Code::PayloadTooLarge, format!("{what} has {size} bytes, the limit is {limit}"))
        .with("limit", limit)
        .with("size", size)
}

impl Stream for Upload {
    type Item = Result<Bytes, Failure>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.is_ahead) {
            // A parser that takes all there is would else hold the whole body.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(declared) = self.declared.filter(|declared| *declared > self.limit) {
            self.exceeded = true;
            return Poll::Ready(Some(Err(too_large("the body", declared, self.limit))));
        }
        match self.frames.poll_next_unpin(context) {
            Poll::Ready(Some(Ok(frame))) => {
                self.is_ahead = true;
                Poll::Ready(Some(self.arrived(&frame).map(|()| frame)))
            }
            Poll::Ready(Some(Err(_))) => {
                Poll::Ready(Some(Err(Failure::invalid("body", "the body ended too early"))))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => self.timer.as_mut().poll(context).map(|()| {
                let message = "the body took too long to arrive";
                Some(Err(Failure::new(Code::DeadlineExceeded, message)))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use clap::Parser;
    use futures::stream;

    use super::*;

    fn upload(frames: Vec<usize>, pause: Duration, flags: &[&str]) -> Upload {
        let config = Config::parse_from([&["control-plane"], flags].concat());
        let frames = stream::iter(frames).then(move |size| async move {
            tokio::time::sleep(pause).await;
            Ok::<_, Infallible>(Bytes::from(vec![7; size]))
        });
        Upload::new(&HeaderMap::new(), Body::from_stream(frames), config.multipart_limit, &config)
    }

    async fn failure(mut upload: Upload, reads: bool) -> Option<Code> {
        let unread = upload.unread();
        while let Some(frame) = upload.next().await {
            if let Err(failure) = frame {
                return Some(upload.refuse(failure).await.code);
            }
            if reads {
                unread.store(0, Ordering::Relaxed);
            }
        }
        None
    }

    #[tokio::test]
    async fn time_grows_with_what_has_arrived() {
        let flags = ["--body-timeout", "1s", "--body-limit", "100B"];
        let steady = upload(vec![50; 22], Duration::from_millis(60), &flags);
        assert_eq!(failure(steady, true).await, None);
        let slow = upload(vec![5; 22], Duration::from_millis(60), &flags);
        assert_eq!(failure(slow, true).await, Some(Code::DeadlineExceeded));
    }

    #[tokio::test]
    async fn a_body_over_the_limit_says_how_large_it_was() {
        let mut upload = upload(vec![400; 3], Duration::ZERO, &["--multipart-limit", "1000B"]);
        let mut frames = Vec::new();
        while let Some(frame) = upload.next().await {
            frames.push(frame);
        }
        let failure = upload.refuse(frames.pop().unwrap().unwrap_err()).await;
        assert_eq!((failure.code, &failure.details["size"]), (Code::PayloadTooLarge, &1200.into()));
        assert_eq!(frames.len(), 2);
    }

    #[tokio::test]
    async fn what_nobody_reads_is_not_piled_up() {
        let frames = vec![300_000; 10];
        assert_eq!(
            failure(upload(frames.clone(), Duration::ZERO, &[]), false).await,
            Some(Code::InvalidRequest)
        );
        assert_eq!(failure(upload(frames, Duration::ZERO, &[]), true).await, None);
    }
}

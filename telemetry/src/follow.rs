//! Streams that stay within a span until they end: what a handler answers is made after the handler has returned.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio_stream::Stream;
use tracing::Span;

pin_project! {
    /// A stream whose every poll happens within a span, which ends with it.
    pub struct FollowedStream<S> {
        #[pin]
        inner: S,
        span: Span,
    }
}

impl<S> FollowedStream<S> {
    pub fn new(inner: S, span: Span) -> Self {
        Self { inner, span }
    }
}

impl<S: Stream> Stream for FollowedStream<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.project();
        let _entered = this.span.enter();
        this.inner.poll_next(context)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.inner.size_hint()
    }
}

pin_project! {
    /// The body of an HTTP answer whose every poll happens within a span, which ends with it.
    pub struct FollowedBody<B> {
        #[pin]
        inner: B,
        span: Span,
    }
}

impl<B> FollowedBody<B> {
    pub fn new(inner: B, span: Span) -> Self {
        Self { inner, span }
    }
}

impl<B: Body> Body for FollowedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let _entered = this.span.enter();
        this.inner.poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

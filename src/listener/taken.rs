//! A response's body that notices whether its client takes it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::Serve;
use super::io::Link;
use super::streams::Pace;

/// Bytes that are handed to an HTTP/2 stream at once: few, so that a client that takes its bytes
/// slowly is not mistaken for one that takes none.
const PIECE_BYTES: usize = 8 << 10;
/// Bytes of a larger piece that are kept back to be handed over alone. h2 takes a piece as soon as
/// the window is open for one byte of it, and the last one nobody watches any more: so it is small.
const LAST_BYTES: usize = 256;

/// The body that hyper sends.
pub(super) struct Taken<S: Serve> {
    body: S::Body,
    /// What the body gave and was not handed over yet.
    rest: Option<Bytes>,
    /// Only over HTTP/2; an HTTP/1 connection watches what it writes.
    pace: Option<Arc<Pace>>,
    link: Link,
}

impl<S: Serve> Taken<S> {
    pub(super) fn new(body: S::Body, link: Link) -> Self {
        Self { body, rest: None, pace: Pace::current(), link }
    }
}

/// How much of so many bytes is handed over now.
fn piece_bytes(bytes: usize) -> usize {
    match bytes {
        0..=LAST_BYTES => bytes,
        more => (more - LAST_BYTES).min(PIECE_BYTES),
    }
}

impl<S: Serve> Drop for Taken<S> {
    fn drop(&mut self) {
        if self.link.is_stalled() || self.pace.as_ref().is_some_and(|pace| pace.is_stalled()) {
            S::stalled(&self.body);
        }
    }
}

impl<S: Serve> Body for Taken<S> {
    type Data = Bytes;
    type Error = <S::Body as Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Self { body, rest, pace, .. } = &mut *self;
        let Some(pace) = pace else { return Pin::new(body).poll_frame(cx) };
        pace.asked();
        let frame = match rest.take() {
            Some(rest) => Frame::data(rest),
            None => match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                end => return Poll::Ready(end),
            },
        };
        let frame = match frame.into_data() {
            Ok(mut data) => {
                let piece = data.split_to(piece_bytes(data.len()));
                *rest = (!data.is_empty()).then_some(data);
                Frame::data(piece)
            }
            Err(trailers) => trailers,
        };
        pace.hand_over();
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.rest {
            None => self.body.size_hint(),
            Some(_) => SizeHint::default(),
        }
    }
}

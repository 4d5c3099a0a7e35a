//! A guest's response on its way to the connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::model::Code;
use crate::telemetry::Exchange;

/// A response whose head is known.
pub type Reply = http::Response<ReplyBody>;

/// Why a body ends before its end. The connection must not look as if it had ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the response broke off: {}", .0.as_str())]
pub struct BodyError(pub Code);

/// What a guest wrote.
///
/// Dropping a body that has not ended stops the guest.
#[derive(Debug)]
pub struct ReplyBody {
    held: Vec<Frame<Bytes>>,
    rest: Option<Rest>,
}

/// What the guest has yet to write.
#[derive(Debug)]
struct Rest {
    frames: mpsc::Receiver<Frame<Bytes>>,
    exchange: Arc<Exchange>,
    _guest: StopGuest,
}

impl ReplyBody {
    /// A body that is there as a whole. Its frames are in reverse order.
    pub fn whole(held: Vec<Frame<Bytes>>) -> Self {
        Self { held, rest: None }
    }

    /// A body that goes on after what is there. [`Self::attach`] must follow.
    pub(super) fn streaming(
        held: Vec<Frame<Bytes>>,
        frames: mpsc::Receiver<Frame<Bytes>>,
        exchange: Arc<Exchange>,
    ) -> Self {
        Self { held, rest: Some(Rest { frames, exchange, _guest: StopGuest::default() }) }
    }

    /// Ties the guest to the body. A body that is whole lets its guest finish in its own time.
    pub(super) fn attach(&mut self, mut guest: StopGuest) {
        match &mut self.rest {
            Some(rest) => rest._guest = guest,
            None => guest.release(),
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(frame) = self.held.pop() {
            return Poll::Ready(Some(Ok(frame)));
        }
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        if let Some(frame) = ready!(rest.frames.poll_recv(cx)) {
            return Poll::Ready(Some(Ok(frame)));
        }
        // The guest decides before it lets go of the channel; if it decided nothing, it died.
        let code = rest.exchange.code().unwrap_or(Code::Internal);
        if let Some(mut rest) = self.rest.take() {
            rest._guest.release();
        }
        Poll::Ready(match code {
            Code::Ok => None,
            code => Some(Err(BodyError(code))),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_empty() && self.rest.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.rest {
            Some(_) => SizeHint::default(),
            // HTTP/1.1 has trailers only after chunks, and a known length would forbid those.
            None if self.held.iter().any(Frame::is_trailers) => SizeHint::default(),
            None => {
                let data = self.held.iter().filter_map(Frame::data_ref);
                SizeHint::with_exact(data.map(|data| data.len() as u64).sum())
            }
        }
    }
}

/// Stops a guest when it is dropped, unless it was released.
#[derive(Debug, Default)]
pub(super) struct StopGuest(Option<(AbortHandle, Arc<Exchange>)>);

impl StopGuest {
    pub(super) fn new(guest: AbortHandle, exchange: Arc<Exchange>) -> Self {
        Self(Some((guest, exchange)))
    }

    /// Lets the guest go on.
    pub(super) fn release(&mut self) {
        self.0 = None;
    }
}

impl Drop for StopGuest {
    fn drop(&mut self) {
        if let Some((guest, exchange)) = self.0.take() {
            exchange.decide(Code::ClientClosed);
            guest.abort();
        }
    }
}

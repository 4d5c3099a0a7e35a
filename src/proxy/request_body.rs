//! A request's body on its way to the guest: bounded, and never waited for in vain.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use crate::model::Code;
use crate::runtime::WasiError;
use crate::telemetry::Exchange;

use super::headers::clean_trailers;

/// Why a request's body ends before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unread {
    #[error("the client stopped sending")]
    Stalled,
    #[error("the client closed the connection")]
    Closed,
    #[error("what the client sends is no body")]
    Malformed,
    #[error("the body is larger than allowed")]
    TooLarge,
}

impl Unread {
    fn code(self) -> Code {
        match self {
            Self::Stalled => Code::BodyTimeout,
            Self::Closed => Code::ClientClosed,
            Self::Malformed => Code::BadRequest,
            Self::TooLarge => Code::BodyTooLarge,
        }
    }
}

impl From<Unread> for WasiError {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Stalled => Self::ConnectionReadTimeout,
            Unread::Closed => Self::ConnectionTerminated,
            Unread::Malformed => Self::HttpProtocolError,
            Unread::TooLarge => Self::HttpRequestBodySize(None),
        }
    }
}

/// The body that a guest or an upstream reads. It is pulled from the connection only as it is
/// read, so that a slow reader slows its client.
pub(super) struct RequestBody {
    incoming: Incoming,
    /// Bytes that may still come.
    left: u64,
    idle: Duration,
    alarm: Option<Pin<Box<Sleep>>>,
    exchange: Arc<Exchange>,
}

impl RequestBody {
    pub(super) fn new(
        incoming: Incoming,
        most_bytes: u64,
        idle: Duration,
        exchange: Arc<Exchange>,
    ) -> Self {
        Self { incoming, left: most_bytes, idle, alarm: None, exchange }
    }

    fn fail(&self, unread: Unread) -> Poll<Option<Result<Frame<Bytes>, Unread>>> {
        self.exchange.decide(unread.code());
        Poll::Ready(Some(Err(unread)))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Unread;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Unread>>> {
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
                let idle = self.idle;
                let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
                ready!(alarm.as_mut().poll(cx));
                return self.fail(Unread::Stalled);
            };
            self.alarm = None;
            let frame = match frame {
                None => return Poll::Ready(None),
                Some(Ok(frame)) => frame,
                Some(Err(error)) if error.is_timeout() || error.is_canceled() => {
                    return self.fail(Unread::Closed);
                }
                Some(Err(_)) => return self.fail(Unread::Malformed),
            };
            let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
            // Empty frames are dropped at every border: guests and hosts have failed over them.
            if frame.is_data() && bytes == 0 {
                continue;
            }
            let Some(left) = self.left.checked_sub(bytes) else {
                return self.fail(Unread::TooLarge);
            };
            self.left = left;
            self.exchange.add_bytes_in(usize::try_from(bytes).unwrap_or(usize::MAX));
            return Poll::Ready(Some(Ok(match frame.into_trailers() {
                Ok(mut trailers) => {
                    clean_trailers(&mut trailers);
                    Frame::trailers(trailers)
                }
                Err(data) => data,
            })));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

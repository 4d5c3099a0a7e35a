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

/// The body that a guest reads. It is pulled from the connection only as the guest reads, so a
/// slow guest slows its client.
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

    fn fail(&self, code: Code, error: WasiError) -> Poll<Option<Result<Frame<Bytes>, WasiError>>> {
        self.exchange.decide(code);
        Poll::Ready(Some(Err(error)))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = WasiError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, WasiError>>> {
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
                let idle = self.idle;
                let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
                ready!(alarm.as_mut().poll(cx));
                return self.fail(Code::BodyTimeout, WasiError::ConnectionReadTimeout);
            };
            self.alarm = None;
            let frame = match frame {
                None => return Poll::Ready(None),
                Some(Ok(frame)) => frame,
                Some(Err(error)) if error.is_timeout() || error.is_canceled() => {
                    return self.fail(Code::ClientClosed, WasiError::ConnectionTerminated);
                }
                Some(Err(_)) => return self.fail(Code::BadRequest, WasiError::HttpProtocolError),
            };
            let bytes = frame.data_ref().map_or(0, Bytes::len) as u64;
            // Empty frames are dropped at every border: guests and hosts have failed over them.
            if frame.is_data() && bytes == 0 {
                continue;
            }
            let Some(left) = self.left.checked_sub(bytes) else {
                return self.fail(Code::BodyTooLarge, WasiError::HttpRequestBodySize(None));
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

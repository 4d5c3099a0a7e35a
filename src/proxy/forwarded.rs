//! The body of an upstream's response.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::model::Code;
use crate::runtime::BodyError;
use crate::telemetry::Exchange;
use crate::upstream::{BodyFailed, UpstreamBody};

use super::headers::clean_trailers;

/// What a server sends, as a client may see it. A guest decides by itself how its request ended; a
/// server has done well once all is here.
pub(super) struct Forwarded {
    body: UpstreamBody,
    exchange: Arc<Exchange>,
}

impl Forwarded {
    pub(super) fn new(body: UpstreamBody, exchange: Arc<Exchange>) -> Self {
        let body = Self { body, exchange };
        body.note_end();
        body
    }

    fn note_end(&self) {
        if self.body.is_end_stream() {
            self.exchange.decide(Code::Ok);
        }
    }
}

impl Body for Forwarded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            None => {
                self.exchange.decide(Code::Ok);
                return Poll::Ready(None);
            }
            Some(Ok(frame)) => frame,
            Some(Err(why)) => {
                let code = match why {
                    BodyFailed::Stalled => Code::UpstreamTimeout,
                    BodyFailed::Broken => Code::UpstreamFailed,
                };
                self.exchange.decide(code);
                return Poll::Ready(Some(Err(BodyError(code))));
            }
        };
        self.note_end();
        Poll::Ready(Some(Ok(match frame.into_trailers() {
            Ok(mut trailers) => {
                clean_trailers(&mut trailers);
                Frame::trailers(trailers)
            }
            Err(data) => {
                self.exchange.add_bytes_out(data.data_ref().map_or(0, Bytes::len));
                data
            }
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

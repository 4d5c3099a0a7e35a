//! A response's body on its way to the client, with the exchange that it ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::model::Code;
use crate::runtime::{BodyError, ReplyBody};
use crate::telemetry::Exchange;
use crate::upstream::{BodyFailed, UpstreamBody};

use super::headers::clean_trailers;

/// Where a response's body comes from.
pub(super) enum Content {
    Guest(ReplyBody),
    Upstream(UpstreamBody),
}

/// What a client is sent. The exchange is not over before it was.
pub(super) struct ResponseBody {
    body: Content,
    pub(super) exchange: Arc<Exchange>,
}

impl ResponseBody {
    pub(super) fn new(body: Content, exchange: Arc<Exchange>) -> Self {
        let body = Self { body, exchange };
        body.note_end();
        body
    }

    /// A guest decides by itself how its request ended; a server has done well once all is here.
    fn note_end(&self) {
        if matches!(&self.body, Content::Upstream(body) if body.is_end_stream()) {
            self.exchange.decide(Code::Ok);
        }
    }

    /// What an upstream sent, as a client may see it.
    fn passed_on(
        &self,
        frame: Option<Result<Frame<Bytes>, BodyFailed>>,
    ) -> Option<Result<Frame<Bytes>, BodyError>> {
        let frame = match frame {
            None => {
                self.exchange.decide(Code::Ok);
                return None;
            }
            Some(Ok(frame)) => frame,
            Some(Err(why)) => {
                let code = match why {
                    BodyFailed::Stalled => Code::UpstreamTimeout,
                    BodyFailed::Broken => Code::UpstreamFailed,
                };
                self.exchange.decide(code);
                return Some(Err(BodyError(code)));
            }
        };
        self.note_end();
        Some(Ok(match frame.into_trailers() {
            Ok(mut trailers) => {
                clean_trailers(&mut trailers);
                Frame::trailers(trailers)
            }
            Err(data) => {
                self.exchange.add_bytes_out(data.data_ref().map_or(0, Bytes::len));
                data
            }
        }))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.body {
            Content::Guest(body) => Pin::new(body).poll_frame(cx),
            Content::Upstream(body) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                Poll::Ready(self.passed_on(frame))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Content::Guest(body) => body.is_end_stream(),
            Content::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Content::Guest(body) => body.size_hint(),
            Content::Upstream(body) => body.size_hint(),
        }
    }
}

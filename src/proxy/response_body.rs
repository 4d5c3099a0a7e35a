//! A response's body on its way to the client, with the exchange that it ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};

use crate::runtime::{BodyError, ReplyBody};
use crate::telemetry::Exchange;

use super::forwarded::Forwarded;
use super::rules::compress::{Coding, Compressor};

/// Where a response's body comes from.
pub(super) enum Content {
    Guest(ReplyBody),
    Upstream(Forwarded),
}

impl Body for Content {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Guest(body) => Pin::new(body).poll_frame(cx),
            Self::Upstream(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Guest(body) => body.is_end_stream(),
            Self::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Guest(body) => body.size_hint(),
            Self::Upstream(body) => body.size_hint(),
        }
    }
}

/// What a client is sent. The exchange is not over before it was.
pub(super) struct ResponseBody {
    body: Content,
    /// What the body goes through, where the head says so.
    compressor: Option<Box<Compressor>>,
    pub(super) exchange: Arc<Exchange>,
}

impl ResponseBody {
    /// The response with its exchange.
    pub(super) fn of(mut reply: Response<Content>, exchange: Arc<Exchange>) -> Response<Self> {
        let coding = reply.extensions_mut().remove::<Coding>();
        let compressor = coding.map(|coding| Box::new(Compressor::new(coding)));
        reply.map(|body| Self { body, compressor, exchange })
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Self { body, compressor, .. } = &mut *self;
        match compressor {
            Some(compressor) => compressor.poll(body, cx),
            None => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.compressor {
            Some(compressor) => compressor.has_ended(),
            None => self.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.compressor {
            Some(_) => SizeHint::default(),
            None => self.body.size_hint(),
        }
    }
}

//! A connection of HTTP/1.1 that is driven by whoever uses it.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};

use super::connect::Io;
use super::send::Outgoing;

/// Header fields of a response.
const MOST_HEADERS: usize = 100;
/// Bytes of a connection's read buffer, and with it of a response's head.
const MOST_BUFFERED_BYTES: usize = 64 << 10;

/// See the module documentation.
pub(super) struct Http1 {
    sender: SendRequest<Outgoing>,
    connection: Connection<Io, Outgoing>,
    ended: bool,
}

/// A request that got no response.
pub(super) struct Unanswered {
    /// The request, if nothing of it can have been seen.
    pub(super) unsent: Option<Request<Outgoing>>,
    pub(super) error: Broken,
}

/// What is wrong with an answer, or with the lack of one.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error(transparent)]
    Http(#[from] hyper::Error),
    /// Nobody would know what the body is once it is passed on.
    #[error("its transfer coding is another than chunked")]
    Coding,
}

impl Http1 {
    pub(super) async fn new(io: Io) -> Result<Box<Self>, hyper::Error> {
        let mut builder = Builder::new();
        builder.max_headers(MOST_HEADERS).max_buf_size(MOST_BUFFERED_BYTES);
        let (sender, connection) = builder.handshake(io).await?;
        Ok(Box::new(Self { sender, connection, ended: false }))
    }

    /// Whether it can take a request now. One that the server has closed cannot.
    pub(super) fn is_usable(&mut self, cx: &mut Context<'_>) -> bool {
        self.poll(cx).is_pending() && self.sender.is_ready()
    }

    /// Moves bytes both ways. Ready when the connection has ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.ended {
            self.ended = Pin::new(&mut self.connection).poll(cx).is_ready();
        }
        if self.ended { Poll::Ready(()) } else { Poll::Pending }
    }

    pub(super) async fn send(
        &mut self,
        request: Request<Outgoing>,
    ) -> Result<Response<Incoming>, Unanswered> {
        let mut answer = pin!(self.sender.try_send_request(request));
        poll_fn(|cx| {
            // What the connection reads is what the answer is made of. Once it has ended, there is
            // an answer or an error.
            if !self.ended {
                self.ended = Pin::new(&mut self.connection).poll(cx).is_ready();
            }
            answer.as_mut().poll(cx)
        })
        .await
        .map_err(|mut error| Unanswered {
            unsent: error.take_message(),
            error: error.into_error().into(),
        })
    }

    /// Takes the bytes over from HTTP, after a response that switches protocols. What was read
    /// already comes first.
    pub(super) async fn into_io(mut self: Box<Self>) -> (Io, Bytes) {
        poll_fn(|cx| self.poll(cx)).await;
        let parts = self.connection.into_parts();
        (parts.io, parts.read_buf)
    }
}

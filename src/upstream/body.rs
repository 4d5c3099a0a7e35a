//! A server's response on its way to the client.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use crate::model::{Ejection, UpstreamPolicy};

use super::cell::UpstreamCell;
use super::http1::Http1;
use super::server::InFlight;

/// Why a body ends before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyFailed {
    /// The server stopped sending.
    #[error("the upstream stopped sending")]
    Stalled,
    /// The connection broke, or what came on it is no HTTP.
    #[error("the upstream broke off")]
    Broken,
}

/// What a server sends. The connection goes back to its pool with the last byte, and is closed if
/// the body is dropped before.
pub struct UpstreamBody {
    incoming: Incoming,
    /// Of HTTP/1.1, which this body drives.
    connection: Option<Box<Http1>>,
    /// Until the body has ended.
    in_flight: Option<InFlight>,
    /// Whom to tell how the response ended, unless its head has told already.
    judge: Option<Arc<UpstreamCell>>,
    eject: Ejection,
    idle: Duration,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl UpstreamBody {
    pub(super) fn new(
        incoming: Incoming,
        connection: Option<Box<Http1>>,
        in_flight: InFlight,
        judge: Option<Arc<UpstreamCell>>,
        policy: &UpstreamPolicy,
    ) -> Self {
        let (in_flight, idle, eject) = (Some(in_flight), policy.idle_timeout, policy.eject);
        Self { incoming, connection, in_flight, judge, eject, idle, alarm: None }
    }

    /// The body of a response that has none, because its connection is used for something else.
    pub(super) fn empty(incoming: Incoming, policy: &UpstreamPolicy) -> Self {
        let (idle, eject) = (policy.idle_timeout, policy.eject);
        let (connection, in_flight, judge, alarm) = (None, None, None, None);
        Self { incoming, connection, in_flight, judge, eject, idle, alarm }
    }

    /// Lets go of the server if there is nothing to wait for.
    pub(super) fn settle(&mut self, cx: &mut Context<'_>) {
        if self.incoming.is_end_stream() {
            self.end(cx);
        }
    }

    fn end(&mut self, cx: &mut Context<'_>) {
        let Some(InFlight(server)) = self.in_flight.as_ref() else { return };
        if let Some(cell) = self.judge.take() {
            cell.note(server, false, &self.eject);
        }
        if let Some(connection) = self.connection.take() {
            server.give_back(connection, cx);
        }
        self.in_flight = None;
    }

    fn fail(&mut self, why: BodyFailed) -> Poll<Option<Result<Frame<Bytes>, BodyFailed>>> {
        if let (Some(in_flight), Some(cell)) = (self.in_flight.take(), self.judge.take()) {
            cell.note(&in_flight.0, true, &self.eject);
        }
        self.connection = None;
        Poll::Ready(Some(Err(why)))
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BodyFailed;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFailed>>> {
        // What the connection reads is what the body is made of.
        if let Some(connection) = &mut self.connection {
            let _ = connection.poll(cx);
        }
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
                let idle = self.idle;
                let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
                return match alarm.as_mut().poll(cx) {
                    Poll::Ready(()) => self.fail(BodyFailed::Stalled),
                    Poll::Pending => Poll::Pending,
                };
            };
            self.alarm = None;
            return match frame {
                None => {
                    self.end(cx);
                    Poll::Ready(None)
                }
                // Empty frames are dropped at every border.
                Some(Ok(frame)) if frame.data_ref().is_some_and(Bytes::is_empty) => continue,
                Some(Ok(frame)) => {
                    // Nobody asks again after the last byte of a known length.
                    self.settle(cx);
                    Poll::Ready(Some(Ok(frame)))
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "a response of an upstream broke off");
                    self.fail(BodyFailed::Broken)
                }
            };
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream() && self.in_flight.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

//! Drives a guest's call and carries its response out, in three phases.
//!
//! 1. *Head*: until the guest sets its response.
//! 2. *Hold*: for a few milliseconds and one chunk the response stays here, so that a guest that
//!    fails early becomes a proper error, and a short response leaves as a whole.
//! 3. *Stream*: frame by frame, at the pace of the client.
//!
//! *Invariant:* a body is said to have ended only when the guest finished it. While the store is
//! alive, wasmtime's body ends for no other reason; and the store outlives the call.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::PollSender;
use wasmtime_wasi_http::WasiBody;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;

use crate::model::Code;
use crate::telemetry::Exchange;

use super::reply::{Reply, ReplyBody};

/// How long a response is held for its first bytes, or for its end.
const HOLD_TIME: Duration = Duration::from_millis(5);
/// Body bytes that are held at most.
const HOLD_BYTES: usize = 64 << 10;
/// Frames between the guest and the connection.
const FRAMES_IN_TRANSIT: usize = 1;

pub(super) type Head = Result<http::Response<WasiBody>, ErrorCode>;
pub(super) type ReplySender = oneshot::Sender<Result<Reply, Code>>;

/// How a call went.
pub(super) enum Driven {
    /// The response was handed over as a whole, or streamed to its end.
    Answered,
    /// The call itself failed before that.
    Failed(wasmtime::Error),
    /// The guest, or its client, did not do its part.
    Broken(Code),
}

/// What is known about a response before it leaves.
pub(super) struct Terms {
    pub(super) exchange: Arc<Exchange>,
    pub(super) deadline: Instant,
    /// Largest body, in bytes.
    pub(super) most_bytes: u64,
    /// Takes out of trailers what must not stand there.
    pub(super) clean_trailers: fn(&mut http::HeaderMap),
}

/// The sending end of a streamed body. It must be held until the exchange has its code: the
/// reader asks for that when the channel closes.
pub(super) type InTransit = PollSender<Frame<Bytes>>;

/// Runs the call to its end and hands the response to `reply`, which is left in its place when
/// there is none to hand over. A body that was streamed leaves its sender in `in_transit`.
pub(super) async fn drive(
    call: impl Future<Output = wasmtime::Result<()>>,
    head: oneshot::Receiver<Head>,
    terms: Terms,
    reply: &mut Option<ReplySender>,
    in_transit: &mut Option<InTransit>,
) -> Driven {
    let mut call = Call { future: pin!(call), result: None };
    let (parts, body) = match call.head(head).await {
        // A 1xx is no answer, and a 101 would hand the connection to a guest.
        Ok(Ok(response)) if response.status().is_informational() => {
            return Driven::Broken(Code::GuestError);
        }
        Ok(Ok(response)) => response.into_parts(),
        Ok(Err(_)) => return Driven::Broken(Code::GuestError),
        Err(()) => return call.failure(Code::NoResponse),
    };
    let mut response = Response { body, held: Vec::new(), held_bytes: 0, terms };
    match response.hold(&mut call).await {
        Held::Whole => response.send_whole(parts, reply),
        Held::Broken => return call.failure(Code::ResponseIncomplete),
        Held::TooLarge => return Driven::Broken(Code::ResponseTooLarge),
        Held::GoesOn => {
            let Some(frames) = response.send_head(parts, reply) else {
                return Driven::Broken(Code::ClientClosed);
            };
            let frames = in_transit.insert(frames);
            if let Some(failed) = response.stream(&mut call, frames).await {
                return failed;
            }
            response.terms.exchange.decide(Code::Ok);
            *in_transit = None;
        }
    }
    // A guest may go on working after its response, within the request's time.
    let deadline = response.terms.deadline;
    if call.result.is_none() && tokio::time::timeout_at(deadline, call.finish()).await.is_err() {
        return Driven::Broken(Code::RequestTimeout);
    }
    match call.result {
        Some(Err(error)) => Driven::Failed(error),
        _ => Driven::Answered,
    }
}

/// The guest's call, which is polled together with what it produces.
struct Call<'a, F> {
    future: Pin<&'a mut F>,
    result: Option<wasmtime::Result<()>>,
}

impl<F: Future<Output = wasmtime::Result<()>>> Call<'_, F> {
    fn poll(&mut self, cx: &mut Context<'_>) {
        if self.result.is_none()
            && let Poll::Ready(result) = self.future.as_mut().poll(cx)
        {
            self.result = Some(result);
        }
    }

    /// The response that the guest set; `Err` if it never will.
    async fn head(&mut self, head: oneshot::Receiver<Head>) -> Result<Head, ()> {
        let mut head = pin!(head);
        poll_fn(|cx| {
            self.poll(cx);
            match head.as_mut().poll(cx) {
                Poll::Ready(head) => Poll::Ready(head.map_err(drop)),
                Poll::Pending if self.result.is_some() => Poll::Ready(Err(())),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    async fn finish(&mut self) {
        poll_fn(|cx| {
            self.poll(cx);
            if self.result.is_some() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// The call's own failure if it has one, else `otherwise`.
    fn failure(self, otherwise: Code) -> Driven {
        match self.result {
            Some(Err(error)) => Driven::Failed(error),
            _ => Driven::Broken(otherwise),
        }
    }
}

enum Held {
    Whole,
    GoesOn,
    Broken,
    TooLarge,
}

enum Piece {
    Frame(Frame<Bytes>),
    End,
    Broken,
    TooLarge,
}

struct Response {
    body: WasiBody,
    held: Vec<Frame<Bytes>>,
    held_bytes: usize,
    terms: Terms,
}

impl Response {
    /// The next piece of the body. Empty frames are skipped: an HTTP/2 connection would queue
    /// them without a bound (GHSA-f8mm-ggr3-89wh).
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Piece> {
        loop {
            let frame = match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => return Poll::Ready(Piece::End),
                Some(Err(_)) => return Poll::Ready(Piece::Broken),
                Some(Ok(frame)) => frame,
            };
            let frame = frame.into_trailers().map(|mut trailers| {
                (self.terms.clean_trailers)(&mut trailers);
                Frame::trailers(trailers)
            });
            let frame = frame.unwrap_or_else(|data| data);
            let bytes = frame.data_ref().map(Bytes::len);
            if bytes == Some(0) {
                continue;
            }
            let sum = self.terms.exchange.add_bytes_out(bytes.unwrap_or(0));
            return Poll::Ready(match sum > self.terms.most_bytes {
                true => Piece::TooLarge,
                false => Piece::Frame(frame),
            });
        }
    }

    async fn hold(
        &mut self,
        call: &mut Call<'_, impl Future<Output = wasmtime::Result<()>>>,
    ) -> Held {
        let mut patience: Option<Pin<Box<Sleep>>> = None;
        poll_fn(|cx| {
            call.poll(cx);
            loop {
                match self.poll_piece(cx) {
                    Poll::Ready(Piece::End) => return Poll::Ready(Held::Whole),
                    Poll::Ready(Piece::Broken) => return Poll::Ready(Held::Broken),
                    Poll::Ready(Piece::TooLarge) => return Poll::Ready(Held::TooLarge),
                    Poll::Ready(Piece::Frame(frame)) => {
                        self.held_bytes += frame.data_ref().map_or(0, Bytes::len);
                        self.held.push(frame);
                        if self.held_bytes >= HOLD_BYTES {
                            return Poll::Ready(Held::GoesOn);
                        }
                    }
                    Poll::Pending => break,
                }
            }
            if call.result.is_some() {
                return Poll::Ready(Held::Broken);
            }
            let patience = patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(HOLD_TIME)));
            patience.as_mut().poll(cx).map(|()| Held::GoesOn)
        })
        .await
    }

    fn send_whole(&mut self, parts: http::response::Parts, reply: &mut Option<ReplySender>) {
        self.terms.exchange.decide(Code::Ok);
        let body = ReplyBody::whole(self.take_held());
        if let Some(reply) = reply.take() {
            let _ = reply.send(Ok(Reply::from_parts(parts, body)));
        }
    }

    /// The sending end of the body's frames; `None` if the client has left.
    fn send_head(
        &mut self,
        parts: http::response::Parts,
        reply: &mut Option<ReplySender>,
    ) -> Option<InTransit> {
        let (frames, receiver) = mpsc::channel(FRAMES_IN_TRANSIT);
        let exchange = Arc::clone(&self.terms.exchange);
        let body = ReplyBody::streaming(self.take_held(), receiver, exchange);
        reply.take()?.send(Ok(Reply::from_parts(parts, body))).ok()?;
        Some(PollSender::new(frames))
    }

    /// In reverse, as [`ReplyBody`] takes them from the end.
    fn take_held(&mut self) -> Vec<Frame<Bytes>> {
        let mut held = std::mem::take(&mut self.held);
        held.reverse();
        held
    }

    /// Carries the rest of the body out. `None` when it ended as it should.
    async fn stream(
        &mut self,
        call: &mut Call<'_, impl Future<Output = wasmtime::Result<()>>>,
        frames: &mut InTransit,
    ) -> Option<Driven> {
        let mut deadline = pin!(tokio::time::sleep_until(self.terms.deadline));
        let broken = |code| Poll::Ready(Some(Driven::Broken(code)));
        poll_fn(|cx| {
            call.poll(cx);
            while let Poll::Ready(room) = frames.poll_reserve(cx) {
                if room.is_err() {
                    return broken(Code::ClientClosed);
                }
                match self.poll_piece(cx) {
                    Poll::Ready(Piece::Frame(frame)) => {
                        let _ = frames.send_item(frame);
                    }
                    Poll::Ready(Piece::End) => return Poll::Ready(None),
                    Poll::Ready(Piece::TooLarge) => return broken(Code::ResponseTooLarge),
                    Poll::Ready(Piece::Broken) => return broken(Code::ResponseIncomplete),
                    Poll::Pending => match call.result.take() {
                        Some(Err(error)) => return Poll::Ready(Some(Driven::Failed(error))),
                        Some(Ok(())) => return broken(Code::ResponseIncomplete),
                        None => break,
                    },
                }
            }
            deadline.as_mut().poll(cx).map(|()| Some(Driven::Broken(Code::RequestTimeout)))
        })
        .await
    }
}

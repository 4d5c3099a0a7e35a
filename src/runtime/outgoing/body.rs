//! Bodies of outgoing requests and of their responses: bounded in bytes and in time.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};
use wasmtime_wasi_http::{Error as WasiError, WasiBody};

use crate::model::Code;
use crate::telemetry::Exchange;

use super::super::reply::ReplyBody;

/// How long a response is held for the end of its body, as those of guests are (decision 0005).
const HOLD_TIME: Duration = Duration::from_millis(5);
/// Bytes of a body that are held at most, but for the last frame.
const HOLD_BYTES: usize = 48 << 10;

type Polled = Poll<Option<Result<Frame<Bytes>, WasiError>>>;

/// What a guest sends, up to a bound.
pub(super) struct Sending {
    body: WasiBody,
    most: u64,
    left: u64,
    /// Says that the bound was met.
    over: Arc<AtomicBool>,
    /// Of the call that it is the request of, if it is one of a service of this node.
    call: Option<Arc<Exchange>>,
}

impl Sending {
    /// The body, and what says that it was too large.
    pub(super) fn new(
        body: WasiBody,
        most: u64,
        call: Option<Arc<Exchange>>,
    ) -> (Self, Arc<AtomicBool>) {
        let over = Arc::<AtomicBool>::default();
        (Self { body, most, left: most, over: Arc::clone(&over), call }, over)
    }

    fn too_large(&self) -> WasiError {
        self.over.store(true, Ordering::Relaxed);
        if let Some(call) = &self.call {
            call.decide(Code::BodyTooLarge);
        }
        WasiError::HttpRequestBodySize(Some(self.most))
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = WasiError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        loop {
            let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
            let Some(Ok(frame)) = frame else { return Poll::Ready(frame) };
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            // Empty frames are dropped at every border.
            if frame.is_data() && bytes == 0 {
                continue;
            }
            let Some(left) = self.left.checked_sub(bytes as u64) else {
                return Poll::Ready(Some(Err(self.too_large())));
            };
            self.left = left;
            if let Some(call) = &self.call {
                call.add_bytes_in(bytes);
            }
            return Poll::Ready(Some(Ok(frame)));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Where a response comes from.
pub(super) enum Source {
    /// A server.
    Server(Incoming),
    /// A service of this node.
    Service(ReplyBody),
}

impl Source {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Polled {
        let failed = |error: hyper::Error| match error.is_timeout() {
            true => WasiError::ConnectionReadTimeout,
            false => WasiError::HttpResponseIncomplete,
        };
        match self {
            Self::Server(incoming) => {
                Pin::new(incoming).poll_frame(cx).map(|frame| frame.map(|f| f.map_err(failed)))
            }
            Self::Service(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|f| f.map_err(|_| WasiError::HttpResponseIncomplete))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Server(incoming) => incoming.is_end_stream(),
            Self::Service(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Server(incoming) => incoming.size_hint(),
            Self::Service(body) => body.size_hint(),
        }
    }
}

/// How much a guest takes of a response, and for how long it waits.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    pub(super) most_bytes: u64,
    /// Between two frames.
    pub(super) between: Duration,
    /// Until the last byte.
    pub(super) until: Instant,
}

/// What a guest reads of a response.
pub(super) struct Receiving {
    source: Source,
    left: u64,
    terms: Terms,
    alarm: Option<Pin<Box<Sleep>>>,
    /// What is held until the end, and what is done then.
    rest: Option<Rest>,
    /// What was read before the guest has asked for it.
    held: VecDeque<Frame<Bytes>>,
    /// How the body ended, once it has.
    ended: Option<Result<(), WasiError>>,
}

/// What a response holds until it has ended. Dropped before, it is an end as well.
pub(super) struct Rest {
    /// The places of the request.
    pub(super) places: Box<dyn Send>,
    /// Gives the connection back, if the response was read to its end.
    pub(super) finish: Option<Box<dyn FnOnce() + Send>>,
}

impl Receiving {
    pub(super) fn new(source: Source, terms: Terms, rest: Rest) -> Self {
        let left = terms.most_bytes;
        let (held, ended) = (VecDeque::new(), None);
        let mut body = Self { source, left, terms, alarm: None, rest: Some(rest), held, ended };
        body.settle();
        body
    }

    /// Reads on for a moment. A response that is short gives its connection back at once, whether
    /// or not its guest gets to read it: one that has many under way reads one after the other,
    /// and those that it does not read yet would keep the connections that others wait for.
    pub(super) async fn hold(&mut self) {
        let mut bytes = 0;
        let read_on = poll_fn(|cx| {
            while bytes < HOLD_BYTES && self.ended.is_none() {
                match std::task::ready!(self.poll_next(cx)) {
                    None => self.ended = Some(Ok(())),
                    Some(Err(error)) => self.ended = Some(Err(error)),
                    Some(Ok(frame)) => {
                        bytes += frame.data_ref().map_or(0, Bytes::len);
                        self.held.push_back(frame);
                    }
                }
            }
            Poll::Ready(())
        });
        let _ = tokio::time::timeout(HOLD_TIME, read_on).await;
    }

    /// Lets go of what is held if there is nothing to wait for.
    fn settle(&mut self) {
        if self.source.is_end_stream() {
            self.end();
        }
    }

    fn end(&mut self) {
        let Some(Rest { places, finish }) = self.rest.take() else { return };
        drop(places);
        if let Some(finish) = finish {
            finish();
        }
    }

    fn fail(&mut self, error: WasiError) -> Polled {
        self.rest = None;
        Poll::Ready(Some(Err(error)))
    }

    /// The next moment at which it is too late, whichever comes first.
    fn alarm(&mut self) -> &mut Pin<Box<Sleep>> {
        let (between, until) = (self.terms.between, self.terms.until);
        self.alarm.get_or_insert_with(|| {
            let mut alarm = Box::pin(tokio::time::sleep(between));
            if alarm.deadline() > until {
                alarm.as_mut().reset(until);
            }
            alarm
        })
    }
}

impl Body for Receiving {
    type Data = Bytes;
    type Error = WasiError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        if let Some(frame) = self.held.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        match self.ended.replace(Ok(())) {
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            Some(Ok(())) => Poll::Ready(None),
            None => {
                self.ended = None;
                self.poll_next(cx)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let has_ended = match &self.ended {
            Some(ended) => ended.is_ok(),
            None => self.source.is_end_stream(),
        };
        self.held.is_empty() && has_ended
    }

    fn size_hint(&self) -> SizeHint {
        match self.held.is_empty() {
            true => self.source.size_hint(),
            false => SizeHint::default(),
        }
    }
}

impl Receiving {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Polled {
        loop {
            let Poll::Ready(frame) = self.source.poll_frame(cx) else {
                std::task::ready!(self.alarm().as_mut().poll(cx));
                return self.fail(WasiError::ConnectionReadTimeout);
            };
            self.alarm = None;
            let frame = match frame {
                None => {
                    self.end();
                    return Poll::Ready(None);
                }
                Some(Err(error)) => return self.fail(error),
                Some(Ok(frame)) => frame,
            };
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            if frame.is_data() && bytes == 0 {
                continue;
            }
            let Some(left) = self.left.checked_sub(bytes as u64) else {
                let most = self.terms.most_bytes;
                return self.fail(WasiError::HttpResponseBodySize(Some(most)));
            };
            self.left = left;
            self.settle();
            return Poll::Ready(Some(Ok(frame)));
        }
    }
}

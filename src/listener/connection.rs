//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::error::Error as _;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use hyper_util::server::conn::auto;

use crate::shutdown::{Draining, Shutdown};

use super::answers::Answers;
use super::io::{GuardedIo, Link};
use super::stream::Stream;
use super::streams::Streams;
use super::{Bounds, Peer, Serve};

/// How long a connection that has sent no request yet may take for one when the node stops.
const FIRST_REQUEST: Duration = Duration::from_millis(500);
/// Header fields of a request.
const MOST_HEADERS: usize = 100;
/// Bytes of a connection's read buffer, and with it of a request's head.
const MOST_BUFFERED_BYTES: usize = 64 << 10;
/// Streams of one HTTP/2 connection.
const MOST_STREAMS: u32 = 128;
/// Bytes of one HTTP/2 header list.
const MOST_HEADER_LIST_BYTES: u32 = 32 << 10;
/// Streams that a client has reset and that wait to be accepted (CVE-2023-44487).
const MOST_PENDING_RESETS: usize = 20;
/// Streams that were reset for the client's errors.
const MOST_ERROR_RESETS: usize = 1_024;
/// How often an HTTP/2 connection is asked whether it is still there, and how long it may take.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// What came on a connection instead of a request. hyper refuses it by itself, with a status of
/// HTTP/1 and no body or with a GOAWAY of HTTP/2, before anything of ours sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No HTTP, or a field, length or coding that is against its grammar: 400.
    Malformed,
    /// A head that is too large, or has too many fields: 431.
    TooLarge,
    /// A breach of HTTP/2 that ends the connection.
    Http2,
}

impl Refused {
    fn of(error: &hyper::Error) -> Option<Self> {
        let http2 = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
        match http2 {
            Some(error) => (error.is_go_away() && error.is_library()).then_some(Self::Http2),
            None if error.is_parse_too_large() => Some(Self::TooLarge),
            None => error.is_parse().then_some(Self::Malformed),
        }
    }
}

pub(super) struct Connection<S> {
    pub(super) stream: Stream,
    pub(super) peer: Peer,
    pub(super) service: Arc<S>,
    pub(super) bounds: Bounds,
    pub(super) draining: Draining,
}

impl<S: Serve> Connection<S> {
    /// Serves until the client is done or does nothing; when the signal is given, until what is
    /// under way is done, or it is cut off.
    pub(super) async fn serve(self, shutdown: Shutdown, cut: Shutdown) {
        let Self { stream, peer, service, bounds, draining } = self;
        let (link, streams) = (Link::default(), Streams::new(bounds.idle_timeout));
        let io = GuardedIo::new(stream, bounds.head_timeout, bounds.idle_timeout, link.clone());
        let builder = builder(bounds.head_timeout, streams.clone());
        let answers = Arc::new(Answers::new(service, peer, link.clone(), shutdown, draining));
        let Answers { service, peer, served, goodbye, shutdown, draining, .. } = &*answers;
        let answer = service_fn(|request| {
            answers.take_note(&request);
            let answers = Arc::clone(&answers);
            async move { Ok::<_, Infallible>(answers.answer(request).await) }
        });
        let mut connection = pin!(builder.serve_connection_with_upgrades(io, answer));
        let mut watch = streams.watch();
        let mut call = draining.signal();
        let result = loop {
            let step = poll_fn(|cx| {
                let polled = connection.as_mut().poll(cx);
                if polled.is_ready() || !goodbye.is_due() {
                    return polled;
                }
                connection.as_mut().graceful_shutdown();
                connection.as_mut().poll(cx)
            });
            let step = tokio::time::timeout(bounds.http2_idle_timeout, step);
            match call.unless_begun(step).await {
                Some(Ok(result)) => break result,
                Some(Err(_)) if !(link.is_http2() && watch.nothing_moved()) => {}
                // Nothing is under way that anybody would miss.
                Some(Err(_)) if goodbye.was_said() => return,
                Some(Err(_)) => goodbye.ask(),
                None if !shutdown.has_begun() => {
                    // Over HTTP/1 the next answer says it. A client of HTTP/2 that has asked for
                    // nothing yet would come again and be told again: its first request is taken.
                    if link.is_http2() && served.load(Ordering::Relaxed) {
                        goodbye.ask();
                    }
                    call = shutdown.clone();
                }
                None => {
                    // Whoever has just connected has a request on the way.
                    let fresh = !served.load(Ordering::Relaxed);
                    let first = if fresh { FIRST_REQUEST } else { Duration::ZERO };
                    // Over HTTP/2 a stream that comes too late is refused, and sent again.
                    let grace = match shutdown.is_replaced() && !link.is_http2() {
                        true => first.max(bounds.replaced_idle),
                        false => first,
                    };
                    match tokio::time::timeout(grace, connection.as_mut()).await {
                        Ok(result) => break result,
                        Err(_) => connection.as_mut().graceful_shutdown(),
                    }
                    match cut.unless_begun(connection.as_mut()).await {
                        Some(result) => break result,
                        None => return link.break_off(),
                    }
                }
            }
        };
        let work = answers.after.lock().take();
        if let (Ok(()), Some(work)) = (&result, work) {
            let _ = cut.unless_begun(work.run()).await;
        }
        // A connection that breaks is its client's business; the exchange was logged.
        let error = result.err().and_then(|error| error.downcast::<hyper::Error>().ok());
        let Some(error) = error else { return };
        if error.is_user() {
            link.break_off();
        }
        if let Some(refused) = Refused::of(&error) {
            tracing::debug!(client = %peer.client, %error, "what came is no request");
            service.refused(peer, refused);
        }
    }
}

fn builder(head_timeout: Duration, streams: Streams) -> auto::Builder<Streams> {
    let mut builder = auto::Builder::new(streams);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_headers(MOST_HEADERS)
        .max_buf_size(MOST_BUFFERED_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(MOST_HEADER_LIST_BYTES)
        .max_pending_accept_reset_streams(MOST_PENDING_RESETS)
        .max_local_error_reset_streams(MOST_ERROR_RESETS)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

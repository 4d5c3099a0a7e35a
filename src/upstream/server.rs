//! One server of an upstream: its connections, how it answers, and what it has to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::Request;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::Mutex;

use crate::clock;
use crate::model::{Ejection, TargetScheme, TargetUrl, UpstreamPolicy};
use crate::routing::{Outlier, point};

use super::connect::{self, Alpn, ConnectError, Io, Trust};
use super::http1::Http1;
use super::pool::Pool;
use super::send::Outgoing;

/// How often a connection of HTTP/2 is asked whether it is still there, and how long it may take.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of one HTTP/2 header list of a response.
const MOST_HEADER_LIST_BYTES: u32 = 64 << 10;
/// How often connections that wait are looked at, as long as there are any.
const SWEEP_INTERVAL: Duration = Duration::from_secs(15);

type Http2 = http2::SendRequest<Outgoing>;

/// A server.
pub(super) struct Server {
    pub(super) target: TargetUrl,
    /// The target as text, for logs and metrics.
    pub(super) name: Arc<str>,
    /// What stands for the target where clients stay with a server.
    pub(super) point: u32,
    pub(super) in_flight: AtomicU32,
    pub(super) counts: Counts,
    /// Whether its last probes passed; true where nothing is asked.
    pub(super) healthy: AtomicBool,
    /// Failures in a row of requests, or that there were none: what a good answer has to look at.
    has_failed: AtomicBool,
    outlier: Mutex<Outlier>,
    pool: Pool,
    http2: tokio::sync::Mutex<Option<Http2>>,
    /// Whether it was offered HTTP/2 and took HTTP/1.1.
    prefers_http1: AtomicBool,
}

/// What is counted of a server.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) requests: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) ejections: AtomicU64,
    pub(super) connects: AtomicU64,
    pub(super) probes_passed: AtomicU64,
    pub(super) probes_failed: AtomicU64,
}

/// A connection that takes the next request.
pub(super) enum Connection {
    Http1 { connection: Box<Http1>, reused: bool },
    Http2 { sender: Http2, reused: bool },
}

impl Connection {
    /// Whether it has carried other requests, so that the server may just be closing it.
    pub(super) fn is_reused(&self) -> bool {
        matches!(self, Self::Http1 { reused: true, .. } | Self::Http2 { reused: true, .. })
    }
}

impl Server {
    pub(super) fn new(target: TargetUrl) -> Arc<Self> {
        let name: Arc<str> = target.to_string().into();
        Arc::new(Self {
            target,
            point: point(name.as_bytes()),
            name,
            in_flight: AtomicU32::new(0),
            counts: Counts::default(),
            healthy: AtomicBool::new(true),
            has_failed: AtomicBool::new(false),
            outlier: Mutex::default(),
            pool: Pool::default(),
            http2: tokio::sync::Mutex::default(),
            prefers_http1: AtomicBool::new(false),
        })
    }

    /// A connection that waits, or a new one.
    pub(super) async fn connection(
        &self,
        policy: &UpstreamPolicy,
        trust: &Trust,
        only_http1: bool,
    ) -> Result<Connection, ConnectError> {
        match self.pool.take().await {
            Some(connection) => Ok(Connection::Http1 { connection, reused: true }),
            // On the heap: every request would else carry the room that a handshake needs.
            None => Box::pin(self.shared_or_new(policy, trust, only_http1)).await,
        }
    }

    async fn shared_or_new(
        &self,
        policy: &UpstreamPolicy,
        trust: &Trust,
        only_http1: bool,
    ) -> Result<Connection, ConnectError> {
        let is_h2c = self.target.scheme() == TargetScheme::H2c;
        if self.target.scheme() == TargetScheme::Http || (only_http1 && !is_h2c) {
            return self.open(policy, trust, Alpn::Http1).await;
        }
        if self.prefers_http1() {
            return self.open_any(policy, trust).await;
        }
        // One that asks for a connection opens it for all that wait, which do not wait for ever:
        // one after the other would else find out that the server is not there.
        let turn = tokio::time::timeout(policy.connect_timeout, self.http2.lock()).await;
        let mut shared = turn.map_err(|_| ConnectError::Timeout(policy.connect_timeout))?;
        if let Some(sender) = shared.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(Connection::Http2 { sender: sender.clone(), reused: true });
        }
        if self.prefers_http1() {
            drop(shared);
            return self.open_any(policy, trust).await;
        }
        let opened = self.open_any(policy, trust).await?;
        if let Connection::Http2 { sender, .. } = &opened {
            *shared = Some(sender.clone());
        }
        Ok(opened)
    }

    /// A new connection of whatever the server likes best, which is remembered.
    async fn open_any(
        &self,
        policy: &UpstreamPolicy,
        trust: &Trust,
    ) -> Result<Connection, ConnectError> {
        let opened = self.open(policy, trust, Alpn::Any).await?;
        let is_http1 = matches!(opened, Connection::Http1 { .. });
        self.prefers_http1.store(is_http1, Ordering::Relaxed);
        Ok(opened)
    }

    fn prefers_http1(&self) -> bool {
        self.prefers_http1.load(Ordering::Relaxed)
    }

    /// A new connection.
    pub(super) async fn open(
        &self,
        policy: &UpstreamPolicy,
        trust: &Trust,
        alpn: Alpn,
    ) -> Result<Connection, ConnectError> {
        self.counts.connects.fetch_add(1, Ordering::Relaxed);
        let opened = connect::connect(&self.target, trust, policy.connect_timeout, alpn).await?;
        Ok(match opened.http2 {
            true => {
                let sender = begin_http2(opened.io).await?;
                Connection::Http2 { sender, reused: false }
            }
            false => {
                let connection = Http1::new(opened.io).await?;
                Connection::Http1 { connection, reused: false }
            }
        })
    }

    /// Keeps a connection whose response has ended, if it can take another request. One that was
    /// opened for an upgrade goes where HTTP/2 is spoken: others would lose that by taking it.
    pub(super) fn give_back(
        self: &Arc<Self>,
        mut connection: Box<Http1>,
        cx: &mut std::task::Context<'_>,
    ) {
        let speaks_http1 = self.target.scheme() == TargetScheme::Http || self.prefers_http1();
        if speaks_http1 && connection.is_usable(cx) && self.pool.put(connection) {
            let server = Arc::clone(self);
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(SWEEP_INTERVAL).await;
                    if !server.pool.sweep() {
                        break;
                    }
                }
            });
        }
    }

    /// Takes an answer into account. Whether the server should be ejected.
    pub(super) fn note(&self, failed: bool, policy: &Ejection) -> bool {
        self.counts.requests.fetch_add(1, Ordering::Relaxed);
        if failed {
            self.counts.failures.fetch_add(1, Ordering::Relaxed);
            self.has_failed.store(true, Ordering::Relaxed);
        } else if !self.has_failed.load(Ordering::Relaxed) {
            return false;
        }
        let mut outlier = self.outlier.lock();
        self.has_failed.store(failed, Ordering::Relaxed);
        outlier.note(failed, policy)
    }

    pub(super) fn eject(&self, policy: &Ejection, now: Instant) -> Instant {
        self.counts.ejections.fetch_add(1, Ordering::Relaxed);
        self.outlier.lock().eject(policy, now)
    }

    /// Until when it is left alone, if it is.
    pub(super) fn out_until(&self, now: Instant) -> Option<Instant> {
        self.outlier.lock().out_until(now)
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// Closes what is not in use.
    pub(super) fn close(&self) {
        self.pool.clear();
        if let Ok(mut shared) = self.http2.try_lock() {
            *shared = None;
        }
    }

    /// Whether it is left alone now.
    pub(super) fn is_out(&self) -> bool {
        self.out_until(clock::now()).is_some()
    }
}

async fn begin_http2(io: Io) -> Result<Http2, hyper::Error> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_header_list_size(MOST_HEADER_LIST_BYTES)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    let (sender, connection) = builder.handshake::<_, Outgoing>(io).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to an upstream ended");
        }
    });
    Ok(sender)
}

/// A request of a server, from its choice to the last byte of the response.
pub(super) struct InFlight(pub(super) Arc<Server>);

impl InFlight {
    /// Takes a place, if the server has one.
    pub(super) fn take(server: &Arc<Server>, most: u32) -> Option<Self> {
        if server.in_flight.fetch_add(1, Ordering::Relaxed) < most {
            return Some(Self(Arc::clone(server)));
        }
        server.in_flight.fetch_sub(1, Ordering::Relaxed);
        None
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request's head, for another attempt.
pub(super) fn again(request: &Request<Outgoing>) -> Option<Request<Outgoing>> {
    let harmless = request.method().is_idempotent() && matches!(request.body(), Outgoing::Empty);
    harmless.then(|| {
        let mut copy = Request::new(Outgoing::Empty);
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.version_mut() = request.version();
        *copy.headers_mut() = request.headers().clone();
        copy
    })
}

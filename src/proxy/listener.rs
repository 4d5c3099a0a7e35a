//! Accepts connections, bounds them, and lets them finish when the node stops.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::runtime::{Routes, Runtime};
use crate::shutdown::Shutdown;
use crate::telemetry::AccessLog;

use super::forward::Front;
use super::io::{Broken, GuardedIo};

/// The bounds of the front door.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// Connections at once. Further ones wait in the kernel's queue.
    pub max_connections: usize,
    /// How long a client may take for a request's head. An idle connection is closed after it.
    pub head_timeout: Duration,
    /// How long a client may pause within a request's body, or in taking a response.
    pub idle_timeout: Duration,
    /// How long requests under way are waited for at shutdown.
    pub drain: Duration,
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            max_connections: 8_192,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            drain: Duration::from_secs(30),
        }
    }
}

/// Why the load balancer cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("the load balancer cannot listen on {address}")]
pub struct ProxyError {
    /// The address that was asked for.
    pub address: SocketAddr,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// How long accepting pauses when the process lacks something, such as file descriptors: time
/// for other connections to be closed.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(100);
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

/// A load balancer that listens.
pub struct Proxy {
    listener: TcpListener,
    front: Arc<Front>,
    config: ProxyConfig,
}

impl Proxy {
    /// Takes the address. Connections queue from now on and are served by [`Proxy::run`].
    pub async fn bind(
        address: SocketAddr,
        config: ProxyConfig,
        routes: Arc<Routes>,
        runtime: Runtime,
        log: Option<AccessLog>,
    ) -> Result<Self, ProxyError> {
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|source| ProxyError { address, source })?;
        let front = Arc::new(Front::new(routes, runtime, log, config.idle_timeout));
        Ok(Self { listener, front, config })
    }

    /// The address that was taken.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the signal is given, then lets requests under way finish.
    pub async fn run(self, shutdown: Shutdown) {
        let places = Arc::new(Semaphore::new(self.config.max_connections));
        while let Some(place) = shutdown.unless_begun(places.clone().acquire_owned()).await {
            let Ok(place) = place else { break };
            let Some(accepted) = shutdown.unless_begun(self.listener.accept()).await else { break };
            match accepted {
                Ok((stream, client)) => self.serve(stream, client, place, shutdown.clone()),
                Err(error) => self.pause_after(&error).await,
            }
        }
        self.serve_backlog(&places, &shutdown);
        drop(self.listener);
        let all = u32::try_from(self.config.max_connections).unwrap_or(u32::MAX);
        let drained = tokio::time::timeout(self.config.drain, places.acquire_many(all)).await;
        if drained.is_err() {
            tracing::warn!(drain_s = self.config.drain.as_secs(), "connections were cut off");
        }
    }

    /// Takes what the kernel has connected already: closing the listener would reset it, and with
    /// it requests that clients have sent.
    fn serve_backlog(&self, places: &Arc<Semaphore>, shutdown: &Shutdown) {
        while let Ok(place) = Arc::clone(places).try_acquire_owned() {
            let Some(Ok((stream, client))) = self.listener.accept().now_or_never() else { return };
            self.serve(stream, client, place, shutdown.clone());
        }
    }

    fn serve(
        &self,
        stream: TcpStream,
        client: SocketAddr,
        place: OwnedSemaphorePermit,
        shutdown: Shutdown,
    ) {
        let _ = stream.set_nodelay(true);
        let broken = Broken::default();
        let (head, idle) = (self.config.head_timeout, self.config.idle_timeout);
        let io = GuardedIo::new(stream, head, idle, broken.clone());
        let front = Arc::clone(&self.front);
        let builder = connection_builder(self.config.head_timeout);
        tokio::spawn(async move {
            let _place = place;
            let served = AtomicBool::new(false);
            let service = service_fn(|request| {
                served.store(true, Ordering::Relaxed);
                let front = Arc::clone(&front);
                async move { Ok::<_, Infallible>(front.handle(request, client).await) }
            });
            let mut connection = pin!(builder.serve_connection(io, service));
            let result = match shutdown.unless_begun(connection.as_mut()).await {
                Some(result) => result,
                None => {
                    // Whoever has just connected has a request on the way.
                    let fresh = !served.load(Ordering::Relaxed);
                    let grace = if fresh { FIRST_REQUEST } else { Duration::ZERO };
                    match tokio::time::timeout(grace, connection.as_mut()).await {
                        Ok(result) => result,
                        Err(_) => {
                            connection.as_mut().graceful_shutdown();
                            connection.as_mut().await
                        }
                    }
                }
            };
            // A connection that breaks is its client's business; the exchange was logged.
            let error = result.err().and_then(|error| error.downcast::<hyper::Error>().ok());
            if error.is_some_and(|error| error.is_user()) {
                broken.set();
            }
        });
    }

    /// A connection that broke before it was accepted concerns nobody else. Whatever else is
    /// wrong, such as a lack of file descriptors or memory, needs time.
    async fn pause_after(&self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
        if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
            tracing::warn!(%error, "connections cannot be accepted for now");
            tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
        }
    }
}

fn connection_builder(head_timeout: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
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

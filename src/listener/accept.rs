//! Accepts connections as long as there are places for them.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::shutdown::{Draining, Shutdown};

use super::connection::Connection;
use super::count::Connections;
use super::entrance::Entrance;
use super::{Bounds, Inherited, Networks, Role, Serve};

/// How long accepting pauses when the process lacks something, such as file descriptors: time
/// for other connections to be closed.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(100);

/// How long connections have to say their last words when their requests were stopped, and how
/// long to close when they were told to.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Addresses that were taken. Connections queue there until [`Listener::run`] serves them. They
/// share the bounds.
pub struct Listener {
    sockets: Vec<Socket>,
    announced_by: Arc<Networks>,
    bounds: Bounds,
    draining: Option<Draining>,
    open: Connections,
}

struct Socket {
    role: Role,
    inner: TcpListener,
    entrance: Entrance,
}

/// What the connections of all sockets share.
struct Shared<S> {
    places: Arc<Semaphore>,
    bounds: Bounds,
    service: Arc<S>,
    shutdown: Shutdown,
    draining: Draining,
    open: Connections,
    /// Ends the connections that outlive the drain.
    cut: Shutdown,
}

impl Listener {
    /// Takes the address, for cleartext.
    pub async fn bind(address: SocketAddr, bounds: Bounds) -> io::Result<Self> {
        Self::inherit(&Inherited::default(), Role::Http, address, bounds).await
    }

    /// The same with a socket that another process has opened, if there is one for this.
    pub async fn inherit(
        inherited: &Inherited,
        role: Role,
        address: SocketAddr,
        bounds: Bounds,
    ) -> io::Result<Self> {
        let inner = inherited.bind(role, address).await?;
        Ok(Self::over(role, inner, bounds))
    }

    /// The same with a socket that listens already.
    pub fn over(role: Role, inner: TcpListener, bounds: Bounds) -> Self {
        let socket = Socket { role, inner, entrance: Entrance::default() };
        let (announced_by, open) = (Arc::default(), Connections::default());
        Self { sockets: vec![socket], announced_by, bounds, draining: None, open }
    }

    /// The same, where clients are told to go elsewhere while the node drains. What they ask for
    /// is answered.
    pub fn drained_by(self, draining: Draining) -> Self {
        Self { draining: Some(draining), ..self }
    }

    /// The connections that are open.
    pub fn open(&self) -> &Connections {
        &self.open
    }

    /// The same, where each connection of these senders begins with a header of the PROXY protocol
    /// that names the client, and is closed if it does not.
    pub fn expect_proxy_headers(mut self, senders: Networks) -> Self {
        self.announced_by = Arc::new(senders);
        for socket in &mut self.sockets {
            socket.entrance.announced_by = Arc::clone(&self.announced_by);
        }
        self
    }

    /// Takes another address, for TLS, and returns it.
    pub async fn bind_tls(
        &mut self,
        inherited: &Inherited,
        address: SocketAddr,
        config: Arc<ServerConfig>,
    ) -> io::Result<SocketAddr> {
        let announced_by = Arc::clone(&self.announced_by);
        let entrance = Entrance { announced_by, tls: Some(config) };
        let inner = inherited.bind(Role::Https, address).await?;
        let address = inner.local_addr()?;
        self.sockets.push(Socket { role: Role::Https, inner, entrance });
        Ok(address)
    }

    /// The address that was taken for cleartext.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.sockets[0].inner.local_addr()
    }

    /// The same sockets once more, for another process, or for a listener after this.
    pub fn sockets(&self) -> io::Result<Vec<(Role, std::net::TcpListener)>> {
        let again = |socket: &Socket| {
            let inner = socket.inner.as_fd().try_clone_to_owned()?;
            Ok((socket.role, inner.into()))
        };
        self.sockets.iter().map(again).collect()
    }

    /// Serves until the signal is given, then lets requests under way finish. `stop` stops those
    /// that outlive the drain; then their connections end.
    pub async fn run<S: Serve>(self, service: Arc<S>, shutdown: Shutdown, stop: impl FnOnce()) {
        let Self { sockets, bounds, draining, open, .. } = self;
        let places = Arc::new(Semaphore::new(bounds.max_connections));
        let draining = draining.unwrap_or_else(|| Draining::of(&shutdown));
        let cut = Shutdown::new();
        let shared = Shared { places, bounds, service, shutdown, draining, open, cut };
        join_all(sockets.iter().map(|socket| socket.run(&shared))).await;
        drop(sockets);
        if shared.are_gone_within(shared.bounds.drain).await {
            return;
        }
        tracing::warn!(drain_s = shared.bounds.drain.as_secs(), "connections outlived the drain");
        stop();
        if !shared.are_gone_within(LAST_WORDS).await {
            shared.cut.begin();
            shared.are_gone_within(LAST_WORDS).await;
        }
    }
}

impl<S> Shared<S> {
    /// Whether all connections have ended within the time.
    async fn are_gone_within(&self, time: Duration) -> bool {
        let all = u32::try_from(self.bounds.max_connections).unwrap_or(u32::MAX);
        tokio::time::timeout(time, self.places.acquire_many(all)).await.is_ok()
    }
}

impl Socket {
    async fn run<S: Serve>(&self, shared: &Shared<S>) {
        let Shared { places, shutdown, .. } = shared;
        while let Some(place) = shutdown.unless_begun(places.clone().acquire_owned()).await {
            let Ok(place) = place else { break };
            let Some(accepted) = shutdown.unless_begun(self.inner.accept()).await else { break };
            match accepted {
                Ok(accepted) => self.serve(accepted, place, shared),
                Err(error) => pause_after(&error).await,
            }
        }
        // Whoever goes on with the socket goes on with those who wait in it.
        if !shutdown.is_replaced() {
            self.serve_backlog(shared);
        }
    }

    /// Takes what the kernel has connected already: closing the socket would reset it, and with
    /// it requests that clients have sent.
    fn serve_backlog<S: Serve>(&self, shared: &Shared<S>) {
        while let Ok(place) = Arc::clone(&shared.places).try_acquire_owned() {
            let Some(Ok(accepted)) = self.inner.accept().now_or_never() else { return };
            self.serve(accepted, place, shared);
        }
    }

    fn serve<S: Serve>(
        &self,
        (stream, client): (TcpStream, SocketAddr),
        place: OwnedSemaphorePermit,
        shared: &Shared<S>,
    ) {
        let _ = stream.set_nodelay(true);
        let (service, bounds) = (Arc::clone(&shared.service), shared.bounds.clone());
        let (entrance, cut) = (self.entrance.clone(), shared.cut.clone());
        let (shutdown, draining) = (shared.shutdown.clone(), shared.draining.clone());
        let counted = shared.open.one_more();
        tokio::spawn(async move {
            let _held = (place, counted);
            let opened = entrance.open(stream, client, bounds.handshake_timeout, &shutdown).await;
            if let Some((stream, peer)) = opened {
                let connection = Connection { stream, peer, service, bounds, draining };
                connection.serve(shutdown, cut).await;
            }
        });
    }
}

/// A connection that broke before it was accepted concerns nobody else. Whatever else is wrong,
/// such as a lack of file descriptors or memory, needs time.
async fn pause_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::warn!(%error, "connections cannot be accepted for now");
        tokio::time::sleep(PAUSE_AFTER_FAILURE).await;
    }
}

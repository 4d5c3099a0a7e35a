//! The load balancer: a listener with the front door behind it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use crate::listener::{Bounds, Connections, Inherited, Listener, Role};
use crate::runtime::{Routes, Runtime};
use crate::shutdown::{Draining, Shutdown};
use crate::telemetry::{AccessLog, Unparsed};

use super::edge::{Edge, TlsListen};
use super::forward::Front;

/// Why the load balancer cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("the load balancer cannot listen on {address}")]
pub struct ProxyError {
    /// The address that was asked for.
    pub address: SocketAddr,
    /// Whether TLS was to be spoken there.
    pub tls: bool,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// What a load balancer is made of.
pub struct ProxyParts {
    /// Where it listens for cleartext; port 0 takes a free one.
    pub address: SocketAddr,
    /// Sockets that listen already.
    pub inherited: Arc<Inherited>,
    /// What it grants its clients.
    pub bounds: Bounds,
    /// TLS, and whom to believe.
    pub edge: Edge,
    /// Where requests go.
    pub routes: Arc<Routes>,
    /// What runs them.
    pub runtime: Runtime,
    /// Whether its clients are told to go elsewhere.
    pub draining: Draining,
    /// Where their lines go.
    pub log: Option<AccessLog>,
}

/// A load balancer that listens.
pub struct Proxy {
    listener: Listener,
    http: SocketAddr,
    https: Option<SocketAddr>,
    front: Arc<Front>,
}

impl Proxy {
    /// Takes the addresses. Connections queue from now on and are served by [`Proxy::run`].
    pub async fn bind(mut parts: ProxyParts) -> Result<Self, ProxyError> {
        let (address, bounds) = (parts.address, parts.bounds.clone());
        let failed = |address, tls| move |source| ProxyError { address, tls, source };
        let listener = Listener::inherit(&parts.inherited, Role::Http, address, bounds).await;
        let listener = listener.map_err(failed(address, false))?;
        let http = listener.local_addr().map_err(failed(address, false))?;
        let listener = listener.drained_by(parts.draining.clone());
        let mut listener = listener.expect_proxy_headers(parts.edge.proxy_protocol.clone());
        let mut https = None;
        if let Some(TlsListen { address, config }) = parts.edge.tls.clone() {
            let bound = listener.bind_tls(&parts.inherited, address, config).await;
            https = Some(bound.map_err(failed(address, true))?);
        }
        parts.edge.know_port(https);
        Ok(Self { listener, http, https, front: Arc::new(Front::new(parts)) })
    }

    /// The address that was taken for cleartext.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// The address that was taken for TLS.
    pub fn https(&self) -> Option<SocketAddr> {
        self.https
    }

    /// Its sockets once more, for another process.
    pub fn sockets(&self) -> io::Result<Vec<(Role, TcpListener)>> {
        self.listener.sockets()
    }

    /// The connections of its clients.
    pub fn open(&self) -> &Connections {
        self.listener.open()
    }

    /// Counters of what was no request.
    pub fn unparsed(&self) -> &Arc<Unparsed> {
        self.front.unparsed()
    }

    /// Serves until the signal is given, then lets requests under way finish. `stop` stops those
    /// that outlive the drain.
    pub async fn run(self, shutdown: Shutdown, stop: impl FnOnce()) {
        self.listener.run(self.front, shutdown, stop).await;
    }
}

//! The load balancer: a listener with the front door behind it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::listener::{Bounds, Listener};
use crate::runtime::{Routes, Runtime};
use crate::shutdown::Shutdown;
use crate::telemetry::{AccessLog, Unparsed};

use super::forward::Front;

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

/// A load balancer that listens.
pub struct Proxy {
    listener: Listener,
    front: Arc<Front>,
}

impl Proxy {
    /// Takes the address. Connections queue from now on and are served by [`Proxy::run`].
    pub async fn bind(
        address: SocketAddr,
        bounds: Bounds,
        routes: Arc<Routes>,
        runtime: Runtime,
        log: Option<AccessLog>,
    ) -> Result<Self, ProxyError> {
        let front = Arc::new(Front::new(routes, runtime, log, bounds.idle_timeout));
        let listener = Listener::bind(address, bounds).await;
        let listener = listener.map_err(|source| ProxyError { address, source })?;
        Ok(Self { listener, front })
    }

    /// The address that was taken.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Counters of what was no request.
    pub fn unparsed(&self) -> &Arc<Unparsed> {
        self.front.unparsed()
    }

    /// Serves until the signal is given, then lets requests under way finish.
    pub async fn run(self, shutdown: Shutdown) {
        self.listener.run(self.front, shutdown).await;
    }
}

//! What faces the clients, made without the data folder: the engine, the load balancer, and the
//! sockets of both listeners.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::config::{EdgeConfig, NodeConfig};
use crate::listener::{Bounds, Inherited, Listener, Role};
use crate::proxy::{Edge, Proxy, ProxyParts, TlsListen};
use crate::runtime::{Engine, Machine, Outside, Routes, Runtime, SystemResolver};
use crate::shutdown::{Draining, Shutdown};
use crate::telemetry::AccessLog;
use crate::tls::Certificates;

use super::body::Parts;
use super::error::ServeError;
use super::plane;
use super::ready::Addresses;
use super::successor::Sockets;

/// Connections of the load balancer at most, however many file descriptors there are: each may
/// buffer 64 KiB.
const MOST_CONNECTIONS: u64 = 65_536;
/// How often the node looks whether swap appeared under the fast reset.
const HAZARD_INTERVAL: Duration = Duration::from_secs(60);

/// See the module documentation.
pub(super) struct Front {
    pub(super) guests: StopThreads,
    pub(super) log: Option<AccessLog>,
    pub(super) proxy: Proxy,
    pub(super) sockets: Sockets,
    /// Ends the load balancer.
    pub(super) gate: Shutdown,
    /// What looks after certificates and the machine until then.
    pub(super) watches: Vec<JoinHandle<()>>,
    draining: Draining,
    runtime: Runtime,
    routes: Arc<Routes>,
    addresses: Addresses,
}

impl Front {
    /// Takes the addresses, or the sockets that are there for them.
    pub(super) async fn open(
        config: &NodeConfig,
        machine: &Machine,
        inherited: Arc<Inherited>,
    ) -> Result<Self, ServeError> {
        let (api_address, bounds) = (config.api_listen, plane::bounds(machine));
        let api = Listener::inherit(&inherited, Role::Api, api_address, bounds).await;
        let api = api.map_err(|source| ServeError::ApiListen { address: api_address, source })?;
        let engine = Engine::new(machine, config.reset)?;
        let guests = Runtime::guest_threads(machine.cores).map_err(ServeError::Start)?;
        let guests = StopThreads(Some(guests));
        let (networks, resolver) = (config.guest_networks.clone(), SystemResolver::default());
        let outside = Outside::new(networks, Arc::new(resolver), Handle::current());
        let runtime = Runtime::new(engine.clone(), guests.handle(), machine.cores).seeing(outside);
        let log = AccessLog::open(&config.access_log).map_err(ServeError::Start)?;
        let (routes, gate) = (Arc::new(Routes::default()), Shutdown::new());
        let draining = Draining::of(&gate);
        let (edge, certificates) = open_edge(&config.edge)?;
        let mut watches = vec![tokio::spawn(watch_hazard(engine, gate.clone()))];
        if let Some(certificates) = certificates {
            let watch = certificates.watch(gate.clone()).map_err(ServeError::Start)?;
            watches.push(tokio::spawn(watch));
        }
        let proxy = Proxy::bind(ProxyParts {
            address: config.listen,
            inherited: inherited.clone(),
            bounds: bounds_for(machine),
            edge,
            routes: routes.clone(),
            runtime: runtime.clone(),
            draining: draining.clone(),
            log: log.clone(),
        })
        .await?;
        for address in inherited.close_rest() {
            tracing::warn!(%address, "a socket was handed over that this node does not use");
        }
        let api_address = api.local_addr().map_err(ServeError::Start)?;
        if !api_address.ip().is_loopback() && !config.remote_api {
            return Err(ServeError::RemoteApi(api_address));
        }
        let addresses = Addresses { http: proxy.http(), https: proxy.https(), api: api_address };
        runtime.outside().listens_at(addresses.all());
        let mut sockets = proxy.sockets().map_err(ServeError::Start)?;
        sockets.extend(api.sockets().map_err(ServeError::Start)?);
        let sockets = Arc::new(sockets);
        let front = Self {
            guests,
            log,
            proxy,
            sockets,
            gate,
            watches,
            draining,
            runtime,
            routes,
            addresses,
        };
        Ok(front)
    }

    /// What else is made of it.
    pub(super) fn parts(&self) -> Parts {
        Parts {
            runtime: self.runtime.clone(),
            routes: self.routes.clone(),
            unparsed: self.proxy.unparsed().clone(),
            draining: self.draining.clone(),
            open: self.proxy.open().clone(),
            api_address: self.addresses.api,
        }
    }

    pub(super) fn sockets(&self) -> &Sockets {
        &self.sockets
    }

    pub(super) fn addresses(&self) -> &Addresses {
        &self.addresses
    }
}

/// Reads the certificates, so that those that cannot be used keep the node from starting.
fn open_edge(config: &EdgeConfig) -> Result<(Edge, Option<Arc<Certificates>>), ServeError> {
    let certificates = config.tls.as_ref().map(|tls| Certificates::open(tls.sources.clone()));
    let certificates = certificates.transpose()?;
    let mut edge = Edge {
        tls: None,
        redirect: config.redirect,
        hsts: config.hsts,
        trusted_proxies: config.trusted_proxies.clone(),
        proxy_protocol: config.proxy_protocol.clone(),
    };
    if let (Some(tls), Some(certificates)) = (&config.tls, &certificates) {
        let config = Arc::new(certificates.server_config()?);
        edge.tls = Some(TlsListen { address: tls.listen, config });
    }
    Ok((edge, certificates))
}

fn bounds_for(machine: &Machine) -> Bounds {
    let max_connections = MOST_CONNECTIONS.min(machine.max_open_files / 2) as usize;
    Bounds { max_connections, ..Bounds::default() }
}

/// The fast reset is chosen where no page can be swapped out. Should that change under a running
/// node, its operator must know at once.
async fn watch_hazard(engine: Engine, shutdown: Shutdown) {
    while shutdown.unless_begun(tokio::time::sleep(HAZARD_INTERVAL)).await.is_some() {
        if let Some(why) = engine.reset_hazard() {
            tracing::error!(
                why,
                "the fast reset is not safe any more: turn swap off, or restart \
                the node, which then chooses the safe reset"
            );
        }
    }
}

/// Guest threads end without waiting for guests: whoever still runs was drained or gave up on.
pub(super) struct StopThreads(Option<tokio::runtime::Runtime>);

impl StopThreads {
    fn handle(&self) -> tokio::runtime::Handle {
        let runtime = self.0.as_ref();
        runtime.map_or_else(tokio::runtime::Handle::current, |runtime| runtime.handle().clone())
    }
}

impl Drop for StopThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

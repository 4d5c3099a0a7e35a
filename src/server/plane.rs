//! The control plane of a node: everything that works on the state. It can be stopped and started
//! anew while requests are served.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use registry::Server as RegistryServer;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::agent::Agent;
use crate::api::ApiService;
use crate::config::NodeConfig;
use crate::control::Control;
use crate::listener::{Bounds, Listener, Role};
use crate::runtime::{Machine, TaskTable};
use crate::shutdown::Shutdown;
use crate::store::{OpenError, SqliteOptions, SqliteStore, Store};

use super::body::Body;
use super::successor::Sockets;

/// Connections of the API at most, however many file descriptors there are: some hundred clients,
/// each with a followed log or a push under way.
const MOST_API_CONNECTIONS: u64 = 1_024;
/// How long a client of the API may take for a request's head. Clients that keep a connection for
/// their next call should find it there.
const API_HEAD: Duration = Duration::from_secs(30);
/// How long a client of the API may take nothing of a response: somebody who reads a followed log
/// may stop to think.
const API_IDLE: Duration = Duration::from_secs(300);
/// How long the API may take to finish what it answers when the node stops.
const API_DRAIN: Duration = Duration::from_secs(5);
/// How often the embedded registry looks for blobs that nothing refers to.
const COLLECT_INTERVAL: Duration = Duration::from_secs(3_600);
/// How often services that are being put in place are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// See the module documentation.
pub(super) struct Plane {
    signal: Shutdown,
    store: Arc<SqliteStore>,
    routed: oneshot::Receiver<()>,
    parts: Vec<JoinHandle<()>>,
}

/// Opens the state; the lock beside it keeps every other process out.
pub(super) async fn open_store(config: &NodeConfig) -> Result<SqliteStore, OpenError> {
    SqliteStore::open(SqliteOptions::new(config.data_dir.join("state.db"))).await
}

impl Plane {
    /// Starts everything but the API.
    pub(super) fn start(body: &Body, store: SqliteStore) -> Self {
        let (signal, store) = (Shutdown::new(), Arc::new(store));
        let shared: Arc<dyn Store> = store.clone();
        let (agent, routed) = Agent::new(body.agent_parts(shared.clone(), signal.clone()));
        let control = Control::new(shared).run(signal.clone());
        let collect = collect_garbage(body.registry.clone(), signal.clone());
        let parts = vec![
            tokio::spawn(vital("control plane", control, body.ready.clone())),
            tokio::spawn(vital("agent", agent.run(), body.ready.clone())),
            tokio::spawn(collect),
        ];
        Self { signal, store, routed, parts }
    }

    /// Lets the API answer.
    pub(super) fn open_api(&mut self, body: &Body, sockets: &Sockets) -> io::Result<()> {
        let socket = sockets.iter().find(|(role, _)| *role == Role::Api);
        let Some((_, socket)) = socket else { return Ok(()) };
        let socket = TcpListener::from_std(socket.try_clone()?)?;
        let listener = Listener::over(Role::Api, socket, bounds(&body.machine));
        let api = body.api(self.store.clone(), self.signal.clone());
        let serve = listener.run(Arc::new(ApiService::from(api)), self.signal.clone(), || {});
        self.parts.push(tokio::spawn(serve));
        Ok(())
    }

    /// Completes when the routes of everything that was served before are known.
    pub(super) async fn routed(&mut self) {
        let _ = (&mut self.routed).await;
    }

    /// Stops it, and closes the state. `is_replaced` when another process goes on with the API's
    /// socket.
    pub(super) async fn stop(self, is_replaced: bool) {
        match is_replaced {
            true => self.signal.begin_replaced(),
            false => self.signal.begin(),
        }
        for part in self.parts {
            let _ = part.await;
        }
        self.store.close().await;
    }
}

/// Completes when requests would find every service in its place, or when the time is over.
pub(super) async fn settled(table: &TaskTable, patience: Duration) {
    let is_settled = || {
        let services = table.all();
        services.iter().all(|service| service.revisions().iter().all(|one| one.is_settled()))
    };
    let settled = async {
        while !is_settled() {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    };
    if tokio::time::timeout(patience, settled).await.is_err() {
        tracing::warn!("some services are still being prepared; their requests wait");
    }
}

/// What the API grants its clients.
pub(super) fn bounds(machine: &Machine) -> Bounds {
    let max_connections = MOST_API_CONNECTIONS.min(machine.max_open_files / 8) as usize;
    Bounds {
        max_connections,
        head_timeout: API_HEAD,
        idle_timeout: API_IDLE,
        drain: API_DRAIN,
        // The next process waits for this one.
        replaced_idle: Duration::ZERO,
        ..Bounds::default()
    }
}

/// Runs a part without which the node only goes on with what it has. Should it end by a fault, the
/// node says that it is not ready, so that whoever watches it starts it again.
async fn vital(
    name: &str,
    part: impl Future<Output = ()> + Send + 'static,
    ready: Arc<AtomicBool>,
) {
    if let Err(panic) = tokio::spawn(part).await {
        ready.store(false, Ordering::Release);
        tracing::error!(%panic, "the {name} died: the node has to be started again");
    }
}

/// Removes what nothing refers to from the embedded registry.
async fn collect_garbage(registry: RegistryServer, shutdown: Shutdown) {
    while shutdown.unless_begun(tokio::time::sleep(COLLECT_INTERVAL)).await.is_some() {
        let registry = registry.clone();
        match tokio::task::spawn_blocking(move || registry.collect()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the registry's garbage stays"),
            Err(panic) => tracing::error!(%panic, "the registry's garbage stays"),
        }
    }
}

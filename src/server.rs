//! Puts a node together and runs it.
//!
//! *Invariant:* this is the only place that knows every part.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use registry::{Client, ContentStore, Server as RegistryServer};
use tokio::sync::oneshot;

use crate::agent::{Agent, AgentParts, Images, Pulls};
use crate::api::{Api, ApiParts, ApiService};
use crate::config::{EdgeConfig, NodeConfig};
use crate::control::Control;
use crate::listener::{Bounds, Listener};
use crate::model::{ByteSize, Capacity, CpuUnits, Node};
use crate::proxy::{Edge, Proxy, ProxyError, ProxyParts, TlsListen};
use crate::runtime::{
    AotCache, Compiler, Engine, EngineError, Loader, Machine, Routes, Runtime, TaskTable,
};
use crate::shutdown::Shutdown;
use crate::store::{OpenError, SqliteOptions, SqliteStore, Store};
use crate::telemetry::{AccessLog, Unparsed};
use crate::tls::{self, Certificates};
use crate::upstream::UpstreamTable;

/// Bytes of pulled components that are kept, those in use included. Those are never evicted.
const CONTENT_BYTES: u64 = 8 << 30;
/// Connections of the load balancer at most, however many file descriptors there are: each may
/// buffer 64 KiB.
const MOST_CONNECTIONS: u64 = 65_536;
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
/// How long the last access lines may take to be written when the node stops.
const LAST_LINES: Duration = Duration::from_secs(5);
/// How often the node looks whether swap appeared under the fast reset.
const HAZARD_INTERVAL: Duration = Duration::from_secs(60);
/// How often the embedded registry looks for blobs that nothing refers to.
const COLLECT_INTERVAL: Duration = Duration::from_secs(3_600);

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The data folder cannot be used.
    #[error("the data folder {} cannot be used", .path.display())]
    DataDir {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The state cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The content store cannot be opened.
    #[error("the content store cannot be opened")]
    Content(#[from] registry::content::Error),
    /// The embedded registry cannot be opened.
    #[error("the embedded registry cannot be opened")]
    Registry(#[source] registry::server::Error),
    /// The registry client cannot be made.
    #[error("the registry client cannot be made")]
    Client(#[from] registry::client::Error),
    /// The engine cannot be made.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The load balancer cannot listen.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// The certificates of the load balancer cannot be used.
    #[error("the certificates cannot be used")]
    Certificates(#[from] tls::Error),
    /// TLS cannot be spoken with them.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    /// The API cannot listen.
    #[error("the API cannot listen on {address}")]
    ApiListen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It cannot be said that the node serves.
    #[error("the ready file {} cannot be written", .path.display())]
    ReadyFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Something that every process needs cannot be had.
    #[error("the node cannot start")]
    Start(#[source] io::Error),
}

impl ServeError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let taken = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
        match self {
            Self::Proxy(error) if taken(&error.source) => {
                let option = if error.tls { "--tls-listen" } else { "--listen" };
                Some(format!(
                    "another process has the address; choose one with {option}, or stop it"
                ))
            }
            Self::Certificates(error) => Some(error.hint()),
            Self::ApiListen { source, .. } if taken(source) => Some(
                "another process has the address, perhaps another node; choose one with \
                 --api-listen, or stop it"
                    .to_owned(),
            ),
            Self::DataDir { path, .. } => {
                Some(format!("check that {} can be written to, or give --data-dir", path.display()))
            }
            Self::ReadyFile { .. } => {
                Some("name a file in a folder that is there and can be written to".to_owned())
            }
            Self::Engine(_) => Some("`wharf doctor` shows the limits of this machine".to_owned()),
            _ => None,
        }
    }
}

/// Runs a node until the signal is given and what was under way is done.
pub async fn serve(config: NodeConfig, shutdown: Shutdown) -> Result<(), ServeError> {
    let machine = Machine::read();
    if let Some(path) = &config.ready_file {
        // A process that was killed left its word behind.
        let _ = std::fs::remove_file(path);
        // Whoever waits for the file must not learn late that it cannot come.
        draft_beside(path)?;
    }
    prepare_folder(&config.data_dir)?;
    // The store's lock keeps a second node out of the folder, so it comes first.
    let store = SqliteStore::open(SqliteOptions::new(config.data_dir.join("state.db"))).await?;
    let store: Arc<dyn Store> = Arc::new(store);
    let api_listener = Listener::bind(config.api_listen, api_bounds(&machine))
        .await
        .map_err(|source| ServeError::ApiListen { address: config.api_listen, source })?;
    let api_address = api_listener.local_addr().map_err(ServeError::Start)?;
    let engine = Engine::new(&machine, config.reset)?;
    let guests = Runtime::guest_threads(machine.cores).map_err(ServeError::Start)?;
    let guests = StopThreads(Some(guests));
    let runtime = Runtime::new(engine.clone(), guests.handle());
    let log = AccessLog::open(&config.access_log).map_err(ServeError::Start)?;
    let routes = Arc::new(Routes::default());
    let bounds = proxy_bounds(&machine);
    let (edge, certificates) = open_edge(&config.edge)?;
    let renewals = watch_certificates(certificates, shutdown.clone()).map_err(ServeError::Start)?;
    let proxy = Proxy::bind(ProxyParts {
        address: config.listen,
        bounds,
        edge,
        routes: routes.clone(),
        runtime: runtime.clone(),
        log: log.clone(),
    })
    .await?;
    let (http_address, https_address) = (proxy.http(), proxy.https());
    let unparsed = Arc::clone(proxy.unparsed());
    let parts = Parts { store: store.clone(), runtime, routes, api_address, unparsed };
    let Assembled { agent, table, routed, api, ready, registry } =
        assemble(&config, &machine, parts, shutdown.clone())?;
    let control = Control::new(store).run(shutdown.clone());
    let control = tokio::spawn(vital("control plane", control, ready.clone()));
    let agent = tokio::spawn(vital("agent", agent.run(shutdown.clone()), ready.clone()));
    let api = Arc::new(ApiService::from(api));
    let api = api_listener.run(api, shutdown.clone(), || {});
    let api = tokio::spawn(api);
    let hazard = tokio::spawn(watch_hazard(engine, shutdown.clone()));
    let collect = tokio::spawn(collect_garbage(registry, shutdown.clone()));
    let renewals = tokio::spawn(renewals);
    // A node that says that it serves knows the routes of everything that it served before.
    let _ = shutdown.unless_begun(routed).await;
    ready.store(true, Ordering::Release);
    let said = say_ready(&config, http_address, https_address, api_address);
    if said.is_err() {
        shutdown.begin();
    }
    proxy.run(shutdown, || table.stop()).await;
    let _ = tokio::join!(control, agent, api, hazard, collect, renewals);
    if let Some(path) = &config.ready_file {
        let _ = std::fs::remove_file(path);
    }
    // Requests that were cut off have their lines as well.
    drop(guests);
    if let Some(log) = log
        && tokio::time::timeout(LAST_LINES, log.written()).await.is_err()
    {
        tracing::warn!("the last access lines are lost: their writer does not get on");
    }
    said
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

/// Puts certificates in force that were renewed, until the signal is given.
fn watch_certificates(
    certificates: Option<Arc<Certificates>>,
    shutdown: Shutdown,
) -> io::Result<impl Future<Output = ()> + Send> {
    let watch = certificates.map(|certificates| certificates.watch(shutdown)).transpose()?;
    Ok(async move {
        if let Some(watch) = watch {
            watch.await;
        }
    })
}

fn proxy_bounds(machine: &Machine) -> Bounds {
    let max_connections = MOST_CONNECTIONS.min(machine.max_open_files / 2) as usize;
    Bounds { max_connections, ..Bounds::default() }
}

fn api_bounds(machine: &Machine) -> Bounds {
    let max_connections = MOST_API_CONNECTIONS.min(machine.max_open_files / 8) as usize;
    Bounds {
        max_connections,
        head_timeout: API_HEAD,
        idle_timeout: API_IDLE,
        drain: API_DRAIN,
        ..Bounds::default()
    }
}

/// The parts of a node that run by themselves.
struct Assembled {
    agent: Agent,
    table: TaskTable,
    routed: oneshot::Receiver<()>,
    api: Api,
    ready: Arc<AtomicBool>,
    registry: RegistryServer,
}

/// What they are made of.
struct Parts {
    store: Arc<dyn Store>,
    runtime: Runtime,
    routes: Arc<Routes>,
    api_address: SocketAddr,
    unparsed: Arc<Unparsed>,
}

fn assemble(
    config: &NodeConfig,
    machine: &Machine,
    parts: Parts,
    shutdown: Shutdown,
) -> Result<Assembled, ServeError> {
    let Parts { store, runtime, routes, api_address, unparsed } = parts;
    let data = |name: &str| config.data_dir.join(name);
    let folder = |path: PathBuf| move |source| ServeError::DataDir { path, source };
    let engine = runtime.engine().clone();
    let cache = AotCache::open(&data("compiled")).map_err(folder(data("compiled")))?;
    let compiler = Compiler::new(engine.clone(), cache.clone(), machine.cores);
    let compiler = compiler.map_err(ServeError::Start)?;
    let loader = Loader::new(engine.clone(), cache.clone());
    let (table, broken) = TaskTable::new(loader.clone());
    let client = Client::new(config.registry.clone())?;
    let content = ContentStore::open(data("content"), CONTENT_BYTES)?;
    let images = Images::open(&data("images"), content, client.clone(), api_address);
    let images = images.map_err(folder(data("images")))?;
    let registry = RegistryServer::open(data("registry")).map_err(ServeError::Registry)?;
    let node = this_node(config, machine, &engine);
    let ready = Arc::new(AtomicBool::new(false));
    let (pulls, upstreams) = (Pulls::default(), UpstreamTable::default());
    let api = Api::new(ApiParts {
        store: store.clone(),
        table: table.clone(),
        upstreams: upstreams.clone(),
        runtime: runtime.clone(),
        loader: loader.clone(),
        compiler: compiler.clone(),
        images: client,
        pulls: pulls.clone(),
        registry: registry.clone(),
        node: node.id.clone(),
        api_address,
        ready: ready.clone(),
        unparsed,
    });
    let api = api.allow_hosts(config.api_hosts.iter().cloned()).until(shutdown);
    let parts = AgentParts {
        node,
        store,
        images,
        pulls,
        compiler,
        cache,
        loader,
        runtime,
        table: table.clone(),
        upstreams,
        routes,
        granted: Arc::default(),
    };
    let (agent, routed) = Agent::new(parts, broken);
    Ok(Assembled { agent, table, routed, api, ready, registry })
}

fn this_node(config: &NodeConfig, machine: &Machine, engine: &Engine) -> Node {
    let cores = u32::try_from(machine.cores).unwrap_or(u32::MAX);
    let capacity = Capacity {
        cpu: CpuUnits(cores.saturating_mul(1_024)),
        memory: ByteSize(engine.sizing().memory_bytes),
        instances: engine.sizing().slots,
    };
    Node { id: config.node.clone(), capacity, version: env!("CARGO_PKG_VERSION").to_owned() }
}

fn prepare_folder(path: &Path) -> Result<(), ServeError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| ServeError::DataDir { path: path.to_owned(), source })
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

fn say_ready(
    config: &NodeConfig,
    http: SocketAddr,
    https: Option<SocketAddr>,
    api: SocketAddr,
) -> Result<(), ServeError> {
    let tls = https.map(tracing::field::display);
    let data_dir = config.data_dir.display();
    tracing::info!(%http, https = tls, %api, %data_dir, "the node serves");
    let Some(path) = &config.ready_file else { return Ok(()) };
    let mut ready = serde_json::json!({ "http": http, "api": api, "pid": std::process::id() });
    if let Some(https) = https {
        ready["https"] = https.to_string().into();
    }
    let failed = |source| ServeError::ReadyFile { path: path.clone(), source };
    let mut temp = draft_beside(path)?;
    writeln!(temp, "{ready}").map_err(failed)?;
    temp.persist(path).map(drop).map_err(|error| failed(error.error))
}

/// A file that may become the ready file.
fn draft_beside(path: &Path) -> Result<tempfile::NamedTempFile, ServeError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let made = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")));
    made.map_err(|source| ServeError::ReadyFile { path: path.to_owned(), source })
}

/// Guest threads end without waiting for guests: whoever still runs was drained or gave up on.
struct StopThreads(Option<tokio::runtime::Runtime>);

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

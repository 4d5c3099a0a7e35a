//! The request path of a node without its control plane: engine, tasks and load balancer in this
//! process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use registry::Digest;
use tempfile::TempDir;
use tokio::sync::mpsc;
use wharf::model::{
    Code, Limits, Name, Percent, QueueBounds, Role, Route, RoutePattern, Scale, Service, Steering,
    TaskDefinition,
};
use wharf::proxy::{Edge, Proxy, ProxyConfig, ProxyParts};
use wharf::runtime::{
    AotCache, Backend, CompileError, Compiler, CompilerSetup, Deployment, Engine, LiveRules,
    Loader, Machine, Outside, ResetPolicy, RevisionCell, Routes, Runtime, Target, TaskTable,
};
use wharf::shutdown::{Draining, Shutdown};
use wharf::telemetry::{AccessLog, AccessTarget, Unparsed};

use super::node::http_client;
use super::raw::within;

/// How a service of a test is deployed.
#[derive(Clone, Debug)]
pub struct ServiceOptions {
    pub limits: Limits,
    pub scale: Scale,
    pub queue: QueueBounds,
    pub drain: Duration,
    pub env: Vec<(String, String)>,
    pub role: Role,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        let limits = Limits { timeout: Duration::from_secs(20), ..Limits::default() };
        Self {
            limits,
            scale: Scale::default(),
            queue: QueueBounds::default(),
            drain: Service::DEFAULT_DRAIN,
            env: Vec::new(),
            role: Role::default(),
        }
    }
}

/// A running front.
pub struct Front {
    pub address: SocketAddr,
    pub https: Option<SocketAddr>,
    pub loader: Loader,
    pub compiler: Compiler,
    pub cache: AotCache,
    pub runtime: Runtime,
    pub shutdown: Shutdown,
    pub draining: Draining,
    pub access_log: PathBuf,
    pub unparsed: Arc<Unparsed>,
    /// Services whose code was found missing.
    pub broken: mpsc::Receiver<(Name, u64)>,
    table: TaskTable,
    routes: Arc<Routes>,
    guests: Option<tokio::runtime::Runtime>,
    proxy: Option<tokio::task::JoinHandle<()>>,
    dir: TempDir,
}

impl Front {
    pub async fn start() -> Self {
        Self::start_with(ProxyConfig::default(), ResetPolicy::Auto).await
    }

    pub async fn start_with(config: ProxyConfig, reset: ResetPolicy) -> Self {
        Self::start_whole(small_machine(), config, Edge::default(), (reset, None)).await
    }

    /// A front with TLS, or with proxies before it.
    pub async fn start_at_edge(config: ProxyConfig, edge: Edge) -> Self {
        Self::start_whole(small_machine(), config, edge, (ResetPolicy::Auto, None)).await
    }

    /// A front whose guests are led outside of the node as this says.
    pub async fn start_seeing(outside: Outside) -> Self {
        let engine = (ResetPolicy::Auto, Some(outside));
        Self::start_whole(small_machine(), ProxyConfig::default(), Edge::default(), engine).await
    }

    /// A front whose engine is sized for this machine.
    pub async fn start_on(machine: Machine, config: ProxyConfig, reset: ResetPolicy) -> Self {
        Self::start_whole(machine, config, Edge::default(), (reset, None)).await
    }

    async fn start_whole(
        machine: Machine,
        config: ProxyConfig,
        edge: Edge,
        (reset, outside): (ResetPolicy, Option<Outside>),
    ) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let engine = Engine::new(&machine, reset).expect("an engine");
        let cache = AotCache::open(&dir.path().join("compiled")).expect("a cache");
        let compiler = Compiler::new(engine.clone(), cache.clone(), compiler_setup());
        let loader = Loader::new(engine.clone(), cache.clone());
        let (table, broken) = TaskTable::new(loader.clone());
        let guests = Runtime::guest_threads(2).expect("threads");
        let runtime = Runtime::new(engine, guests.handle().clone(), 2);
        let runtime = match outside {
            Some(outside) => runtime.seeing(outside),
            None => runtime,
        };
        let routes = Arc::new(Routes::default());
        let access_log = dir.path().join("access.log");
        let log = AccessLog::open(&AccessTarget::File(access_log.clone())).expect("a log");
        let shutdown = Shutdown::new();
        let draining = Draining::of(&shutdown);
        let proxy = Proxy::bind(ProxyParts {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            inherited: Arc::default(),
            bounds: config,
            edge,
            routes: routes.clone(),
            runtime: runtime.clone(),
            draining: draining.clone(),
            log,
        });
        let proxy = proxy.await.expect("a free port");
        let (address, https) = (proxy.http(), proxy.https());
        let unparsed = Arc::clone(proxy.unparsed());
        let (ends, services) = (shutdown.clone(), table.clone());
        let proxy = tokio::spawn(async move { proxy.run(ends, || services.stop()).await });
        let proxy = Some(proxy);
        Self {
            address,
            https,
            loader,
            compiler,
            cache,
            runtime,
            shutdown,
            draining,
            access_log,
            unparsed,
            broken,
            table,
            routes,
            guests: Some(guests),
            proxy,
            dir,
        }
    }

    /// Compiles the component and serves it at `<name>.test`.
    pub async fn deploy(
        &self,
        name: &str,
        wasm: &[u8],
        options: ServiceOptions,
    ) -> Arc<RevisionCell> {
        let deployment = self.prepare(name, wasm, options).await;
        let cell = self.route(name);
        cell.deploy(Arc::new(deployment), None);
        cell
    }

    /// The service at `<name>.test`, whether or not anything is deployed there.
    pub fn route(&self, name: &str) -> Arc<RevisionCell> {
        self.also_at(&format!("{name}.test/*").parse().expect("a route"), name);
        let service = self.table.get_or_insert(&name.parse().expect("a name"));
        service.split([(1, Percent::ALL)]);
        service.revision(1)
    }

    /// How the requests to a service ended.
    pub fn outcomes(&self, name: &str) -> Vec<(Code, u64)> {
        let service = self.table.get_or_insert(&name.parse().expect("a name"));
        service.stats().snapshot().by_code
    }

    /// Serves a service that is deployed at another route, too.
    pub fn also_at(&self, route: &RoutePattern, name: &str) {
        self.rule(&route.clone().into(), name);
    }

    /// Serves a service that is deployed at a route with rules.
    pub fn rule(&self, route: &Route, name: &str) {
        let service = self.table.get_or_insert(&name.parse().expect("a name"));
        let rules = LiveRules::of(route, &Steering::default(), None);
        self.routes.rcu(|routes| {
            let mut table = (**routes).clone();
            let backend = Backend::Service { service: service.clone(), only: None };
            table.insert(&route.pattern, Target { backend, rules: rules.clone() });
            table
        });
    }

    /// Compiles the component, whether or not it can be loaded.
    pub async fn compile(&self, wasm: &[u8]) -> Result<(), Arc<CompileError>> {
        compile(&self.compiler, wasm).await
    }

    /// Compiles the component, without serving it.
    pub async fn prepare(&self, name: &str, wasm: &[u8], options: ServiceOptions) -> Deployment {
        let component = Digest::of(wasm);
        if !self.compiler.is_compiled(&component) {
            self.compile(wasm).await.expect("it compiles");
        }
        let definition = TaskDefinition {
            id: format!("{name}:1").parse().expect("an id"),
            image: format!("example.com/{name}:1").parse().expect("a reference"),
            manifest: component,
            env: options.env.into_iter().collect(),
            limits: options.limits,
            role: options.role,
            registered_at_ms: 0,
        };
        let (scale, queue, drain) = (options.scale, options.queue, options.drain);
        Deployment {
            definition,
            component,
            generation: 1,
            scale,
            scaling: None,
            may_shrink: true,
            queue,
            drain,
        }
    }

    /// An HTTP client that reaches `<name>.test`.
    pub fn client(&self) -> Client {
        Client { address: self.address, inner: http_client() }
    }

    /// Where compiled components are kept.
    pub fn compiled_dir(&self) -> PathBuf {
        self.dir.path().join("compiled")
    }

    /// Gives the signal to stop, and completes when the load balancer has stopped.
    pub async fn stop(&mut self) {
        self.shutdown.begin();
        if let Some(proxy) = self.proxy.take() {
            within("the load balancer stops", proxy).await.expect("no panic");
        }
    }

    /// The access line of the request with this id.
    pub async fn access_line(&self, id: &str) -> serde_json::Value {
        for count in 0.. {
            let lines = self.access_lines(count).await;
            if let Some(line) = lines.iter().find(|line| line["id"] == id) {
                return line.clone();
            }
        }
        unreachable!("there is always a further line to wait for")
    }

    /// The access lines so far, once there are at least `count`.
    pub async fn access_lines(&self, count: usize) -> Vec<serde_json::Value> {
        for _ in 0..400 {
            let text = std::fs::read_to_string(&self.access_log).unwrap_or_default();
            let lines: Vec<_> = text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
            if lines.len() >= count {
                return lines;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("there are fewer than {count} access lines");
    }
}

/// Has the component compiled for a service that all tests share.
pub async fn compile(compiler: &Compiler, wasm: &[u8]) -> Result<(), Arc<CompileError>> {
    let service = "compiled".parse().expect("a name");
    let read = async { Ok::<_, Arc<CompileError>>(wasm.to_vec().into()) };
    compiler.compile(&service, Digest::of(wasm), read).await
}

/// Compiles with the binary under test.
pub fn compiler_setup() -> CompilerSetup {
    let program = env!("CARGO_BIN_EXE_wharf").into();
    CompilerSetup { program, ..CompilerSetup::with_this_program(2) }
}

/// Tests run side by side in one process: a small engine each, within the mappings of one.
fn small_machine() -> Machine {
    Machine { max_mappings: 12_000, ..Machine::read() }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.shutdown.begin();
        if let Some(guests) = self.guests.take() {
            guests.shutdown_background();
        }
    }
}

/// The status of a response, and the code that the load balancer gave with it.
pub fn error_of(response: &reqwest::Response) -> (u16, &str) {
    let code = response.headers().get("wharf-error");
    (response.status().as_u16(), code.map_or("", |code| code.to_str().expect("text")))
}

/// A client whose requests name their service.
#[derive(Clone)]
pub struct Client {
    address: SocketAddr,
    inner: reqwest::Client,
}

impl Client {
    pub fn request(&self, method: &str, service: &str, path: &str) -> reqwest::RequestBuilder {
        let method = method.parse().expect("a method");
        let url = format!("http://{}{path}", self.address);
        self.inner.request(method, url).header("host", format!("{service}.test"))
    }

    pub fn get(&self, service: &str, path: &str) -> reqwest::RequestBuilder {
        self.request("GET", service, path)
    }
}

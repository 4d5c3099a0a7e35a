//! What requests need: it is made once, and outlives a control plane.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use registry::{Client, ContentStore, Server as RegistryServer};

use crate::agent::{AgentParts, Broken, Images, Pulls};
use crate::api::{Api, ApiParts};
use crate::config::NodeConfig;
use crate::listener::Connections;
use crate::model::{ByteSize, Capacity, CpuUnits, Node, NodeStatus};
use crate::runtime::{
    AotCache, Compiler, CompilerSetup, Engine, Loader, Machine, Routes, Runtime, TaskTable,
};
use crate::shutdown::{Draining, Shutdown};
use crate::store::Store;
use crate::telemetry::Unparsed;
use crate::upstream::UpstreamTable;

use super::error::ServeError;

/// Bytes of pulled components that are kept, those in use included. Those are never evicted.
const CONTENT_BYTES: u64 = 8 << 30;

/// See the module documentation.
pub(super) struct Body {
    pub(super) config: NodeConfig,
    pub(super) machine: Machine,
    pub(super) table: TaskTable,
    upstreams: UpstreamTable,
    pub(super) registry: RegistryServer,
    /// Whether the node serves.
    pub(super) ready: Arc<AtomicBool>,
    api_address: SocketAddr,
    runtime: Runtime,
    routes: Arc<Routes>,
    unparsed: Arc<Unparsed>,
    draining: Draining,
    open: Connections,
    cache: AotCache,
    compiler: Compiler,
    loader: Loader,
    client: Client,
    images: Images,
    pulls: Pulls,
    broken: Broken,
}

/// What a body is made of, besides the data folder.
pub(super) struct Parts {
    pub(super) runtime: Runtime,
    pub(super) routes: Arc<Routes>,
    pub(super) unparsed: Arc<Unparsed>,
    pub(super) draining: Draining,
    /// Connections of the load balancer.
    pub(super) open: Connections,
    pub(super) api_address: SocketAddr,
}

impl Body {
    /// Opens the data folder, which must belong to this process.
    pub(super) fn open(
        config: NodeConfig,
        machine: Machine,
        parts: Parts,
    ) -> Result<Self, ServeError> {
        let Parts { runtime, routes, unparsed, draining, open, api_address } = parts;
        let data = |name: &str| config.data_dir.join(name);
        let folder = |path: PathBuf| move |source| ServeError::DataDir { path, source };
        let engine = runtime.engine().clone();
        let cache = AotCache::open(&data("compiled")).map_err(folder(data("compiled")))?;
        let setup = CompilerSetup::with_this_program(machine.cores);
        let compiler = Compiler::new(engine.clone(), cache.clone(), setup);
        let loader = Loader::new(engine, cache.clone());
        let (table, broken) = TaskTable::new(loader.clone());
        let client = Client::new(config.registry.clone())?;
        let content = ContentStore::open(data("content"), CONTENT_BYTES)?;
        let images = Images::open(&data("images"), content, client.clone(), api_address);
        let images = images.map_err(folder(data("images")))?;
        let registry = RegistryServer::open(data("registry")).map_err(ServeError::Registry)?;
        let broken = Arc::new(tokio::sync::Mutex::new(broken));
        let (ready, pulls) = (Arc::default(), Pulls::default());
        Ok(Self {
            config,
            machine,
            table,
            upstreams: UpstreamTable::default(),
            registry,
            ready,
            api_address,
            runtime,
            routes,
            unparsed,
            draining,
            open,
            cache,
            compiler,
            loader,
            client,
            images,
            pulls,
            broken,
        })
    }

    /// What an agent works with.
    pub(super) fn agent_parts(&self, store: Arc<dyn Store>, until: Shutdown) -> AgentParts {
        AgentParts {
            node: self.node(),
            store,
            images: self.images.clone(),
            pulls: self.pulls.clone(),
            compiler: self.compiler.clone(),
            cache: self.cache.clone(),
            loader: self.loader.clone(),
            runtime: self.runtime.clone(),
            table: self.table.clone(),
            upstreams: self.upstreams.clone(),
            routes: self.routes.clone(),
            granted: Arc::default(),
            looks: Arc::default(),
            broken: self.broken.clone(),
            draining: self.draining.clone(),
            until,
        }
    }

    /// An API over this state.
    pub(super) fn api(&self, store: Arc<dyn Store>, until: Shutdown) -> Api {
        let api = Api::new(ApiParts {
            store,
            table: self.table.clone(),
            upstreams: self.upstreams.clone(),
            runtime: self.runtime.clone(),
            loader: self.loader.clone(),
            compiler: self.compiler.clone(),
            images: self.client.clone(),
            pulls: self.pulls.clone(),
            registry: self.registry.clone(),
            node: self.config.node.clone(),
            api_address: self.api_address,
            ready: self.ready.clone(),
            unparsed: self.unparsed.clone(),
            draining: self.draining.clone(),
            open: self.open.clone(),
        });
        api.allow_hosts(self.config.api_hosts.iter().cloned()).until(until)
    }

    /// The record of this node.
    fn node(&self) -> Node {
        let cores = u32::try_from(self.machine.cores).unwrap_or(u32::MAX);
        let sizing = self.engine().sizing();
        let capacity = Capacity {
            cpu: CpuUnits(cores.saturating_mul(1_024)),
            memory: ByteSize(sizing.memory_bytes),
            instances: sizing.slots,
        };
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let status = NodeStatus::default();
        Node { id: self.config.node.clone(), status, capacity, version }
    }

    fn engine(&self) -> &Engine {
        self.runtime.engine()
    }
}

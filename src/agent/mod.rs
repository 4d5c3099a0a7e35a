//! The node: makes grants into services that take requests.
//!
//! For each granted service a worker pulls, compiles, links and tries the component, then puts
//! the deployment in force and reports. Until that succeeds an earlier deployment goes on serving.
//!
//! *Invariant:* a grant with a lower generation than the one in hand is refused.
//!
//! *Invariant:* the store is written at transitions, never because of a request.
//!
//! Start reading at [`Agent::run`], then `prepare.rs`.

mod grants;
mod prepare;
mod images;
mod report;
mod routes;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

use registry::Digest;

use crate::model::{Grant, Name, Node, NodeId};
use crate::runtime::{AotCache, Compiler, Loader, Routes, Runtime, TaskTable};
use crate::shutdown::Shutdown;
use crate::store::{self, Op, Store, Txn, codec, keys};

pub use images::{Images, ImagesError, OWN_REGISTRY, reachable};

use grants::{Change, Grants};
use prepare::Preparer;

/// Services that are prepared at once: each may hold an image of 64 MiB.
const PREPARED_AT_ONCE: usize = 4;
/// How long requests of a deleted service are waited for.
const DRAIN: Duration = Duration::from_secs(30);
/// How long the agent waits before it watches the store again after a failure.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// What an agent works with.
#[derive(Clone)]
pub struct AgentParts {
    /// The node that it is.
    pub node: Node,
    /// Where grants come from and reports go.
    pub store: Arc<dyn Store>,
    /// Where components come from.
    pub images: Images,
    /// Makes them runnable.
    pub compiler: Compiler,
    /// Keeps what the compiler made.
    pub cache: AotCache,
    /// Brings them into memory.
    pub loader: Loader,
    /// Tries them out.
    pub runtime: Runtime,
    /// Where prepared services go.
    pub table: TaskTable,
    /// Where their routes go.
    pub routes: Arc<Routes>,
}

impl AgentParts {
    /// Lets go of an image that nothing runs any more.
    fn release(&self, manifest: &Digest) {
        let in_use = self.table.all().into_iter().any(|cell| {
            let deployment = cell.view().deployment;
            deployment.is_some_and(|deployment| deployment.definition.manifest == *manifest)
        });
        if !in_use {
            self.images.release(manifest, &self.compiler, &self.cache);
        }
    }
}

/// The agent of a node.
pub struct Agent {
    parts: AgentParts,
    /// Services whose compiled code was found missing.
    broken: mpsc::Receiver<Name>,
    preparing: Arc<Semaphore>,
    held: HashMap<Name, Held>,
    /// Told once, when the routes of all grants are in force.
    listed: Option<oneshot::Sender<()>>,
}

/// A grant in hand and the worker that prepares it.
struct Held {
    grant: Arc<Grant>,
    worker: JoinHandle<()>,
}

impl Agent {
    /// An agent that holds nothing yet, and the word that the routes of all grants are in force.
    pub fn new(parts: AgentParts, broken: mpsc::Receiver<Name>) -> (Self, oneshot::Receiver<()>) {
        let preparing = Arc::new(Semaphore::new(PREPARED_AT_ONCE));
        let (listed, routed) = oneshot::channel();
        let held = HashMap::new();
        (Self { parts, broken, preparing, held, listed: Some(listed) }, routed)
    }

    /// Registers the node, then follows its grants until the signal is given.
    pub async fn run(mut self, shutdown: Shutdown) {
        while !shutdown.has_begun() {
            let Some(result) = shutdown.unless_begun(self.follow()).await else { break };
            if let Err(error) = result {
                tracing::warn!(%error, "the agent lost the store; it will be tried again");
                shutdown.unless_begun(tokio::time::sleep(PAUSE_AFTER_FAILURE)).await;
            }
        }
        for held in self.held.values() {
            held.worker.abort();
        }
    }

    async fn follow(&mut self) -> Result<(), store::Error> {
        register(&*self.parts.store, &self.parts.node).await?;
        let (mut grants, all) = Grants::list(&*self.parts.store, &self.parts.node.id).await?;
        let gone: Vec<Name> = self
            .held
            .keys()
            .filter(|name| !all.iter().any(|g| g.service == **name))
            .cloned()
            .collect();
        for name in gone {
            self.withdraw(&name);
        }
        for grant in all {
            self.accept(grant);
        }
        if let Some(listed) = self.listed.take() {
            let _ = listed.send(());
        }
        loop {
            tokio::select! {
                change = grants.next() => match change? {
                    Change::Put(grant) => self.accept(*grant),
                    Change::Gone(service) => self.withdraw(&service),
                },
                Some(service) = self.broken.recv() => self.prepare_again(&service),
            }
        }
    }

    fn accept(&mut self, grant: Grant) {
        let earlier = self.held.get(&grant.service);
        if let Some(held) = earlier {
            if held.grant.generation > grant.generation || *held.grant == grant {
                return;
            }
            held.worker.abort();
        }
        let earlier = earlier.map(|held| Arc::clone(&held.grant));
        let cell = self.parts.table.get_or_insert(&grant.service);
        cell.expect();
        routes::update(&self.parts.routes, earlier.as_deref(), Some(&grant), &cell);
        self.start(Arc::new(grant), false);
    }

    /// Prepares a grant in hand once more, because the code that it had is gone.
    /// A worker that is at it already goes on: it has its pauses for a reason.
    fn prepare_again(&mut self, service: &Name) {
        if let Some(held) = self.held.get(service).filter(|held| held.worker.is_finished()) {
            self.start(Arc::clone(&held.grant), true);
        }
    }

    fn start(&mut self, grant: Arc<Grant>, again: bool) {
        let preparer = Preparer::new(self.parts.clone(), Arc::clone(&grant), again);
        let preparing = Arc::clone(&self.preparing);
        let worker = tokio::spawn(preparer.run(preparing));
        self.held.insert(grant.service.clone(), Held { grant, worker });
    }

    /// Out of the routes first; then no new requests; then, once those under way are done, gone.
    fn withdraw(&mut self, service: &Name) {
        let Some(held) = self.held.remove(service) else { return };
        held.worker.abort();
        let Some(cell) = self.parts.table.remove(service) else { return };
        routes::update(&self.parts.routes, Some(&held.grant), None, &cell);
        cell.withdraw();
        let parts = self.parts.clone();
        let node: NodeId = parts.node.id.clone();
        tokio::spawn(async move {
            if tokio::time::timeout(DRAIN, cell.drained()).await.is_err() {
                tracing::warn!(service = %cell.name(), "requests outlived the drain");
            }
            report::forget(&*parts.store, &node, cell.name()).await;
            parts.release(&held.grant.definition.manifest);
        });
    }
}

async fn register(store: &dyn Store, node: &Node) -> Result<(), store::Error> {
    let put = Op::put(keys::node(node.id.as_str()), codec::encode(node)?);
    store.txn(Txn::of(vec![put])).await.map(drop)
}

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
mod pulls;
mod report;
mod routes;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use registry::Digest;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::model::{Grant, Name, Node};
use crate::runtime::{AotCache, Compiler, Loader, Routes, Runtime, ServiceCell, TaskTable};
use crate::shutdown::Shutdown;
use crate::store::{self, Op, Store, Txn, codec, keys};

pub use images::{Images, ImagesError, OWN_REGISTRY, reachable};
pub use pulls::{Pulled, Pulls};

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
    /// How far they are.
    pub pulls: Pulls,
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
    /// The images that grants name, by service.
    pub granted: Arc<Mutex<HashMap<Name, Digest>>>,
    /// The images that an earlier process served, by service, until their worker has taken them
    /// over.
    pub recalled: Arc<Mutex<HashMap<Name, Digest>>>,
}

impl AgentParts {
    /// Lets go of every image that no grant names and no service runs.
    fn release_unused(&self) {
        let mut in_use: HashSet<Digest> = self.granted.lock().values().copied().collect();
        in_use.extend(self.recalled.lock().values());
        let deployments = self.table.all().into_iter().filter_map(|cell| cell.view().deployment);
        in_use.extend(deployments.map(|deployment| deployment.definition.manifest));
        self.images.retain(&in_use, &self.compiler, &self.cache);
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
    cell: Arc<ServiceCell>,
    worker: JoinHandle<()>,
    /// Whether a worker that prepares the grant once more waits for this one to end.
    again: bool,
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
        if self.listed.is_some() {
            let served = report::served(&*self.parts.store, &self.parts.node.id).await?;
            self.parts.recalled.lock().extend(served);
        }
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
            let parts = self.parts.clone();
            tokio::task::spawn_blocking(move || {
                parts.images.recall();
                parts.release_unused();
            });
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
        let manifest = grant.definition.manifest;
        self.parts.granted.lock().insert(grant.service.clone(), manifest);
        let grant = Arc::new(grant);
        let preparer = Preparer::new(self.parts.clone(), Arc::clone(&grant), Arc::clone(&cell));
        let worker = tokio::spawn(preparer.run(Arc::clone(&self.preparing)));
        let service = grant.service.clone();
        self.held.insert(service, Held { grant, cell, worker, again: false });
    }

    /// Prepares a grant in hand once more, because the code that it had is gone. A worker that is
    /// at it already ends first: it has its pauses for a reason.
    fn prepare_again(&mut self, service: &Name) {
        let Some(held) = self.held.get_mut(service) else { return };
        if held.again && !held.worker.is_finished() {
            return;
        }
        let (grant, cell) = (Arc::clone(&held.grant), Arc::clone(&held.cell));
        let preparer = Preparer::new(self.parts.clone(), grant, cell);
        let preparing = Arc::clone(&self.preparing);
        let earlier = std::mem::replace(&mut held.worker, tokio::spawn(async {}));
        held.again = true;
        held.worker = tokio::spawn(async move {
            let mut earlier = StopWorker(earlier);
            let _ = (&mut earlier.0).await;
            preparer.run_again(preparing).await;
        });
    }

    /// Out of the routes first; then no new requests; then, once those under way are done, gone.
    fn withdraw(&mut self, service: &Name) {
        let Some(held) = self.held.remove(service) else { return };
        held.worker.abort();
        self.parts.granted.lock().remove(service);
        self.parts.recalled.lock().remove(service);
        self.parts.table.remove(service);
        routes::update(&self.parts.routes, Some(&held.grant), None, &held.cell);
        held.cell.withdraw();
        let parts = self.parts.clone();
        tokio::spawn(async move {
            if tokio::time::timeout(DRAIN, held.cell.drained()).await.is_err() {
                tracing::warn!(service = %held.cell.name(), "requests outlived the drain");
            }
            report::forget(&*parts.store, &held.grant).await;
            parts.table.forget(&held.cell);
            let _ = tokio::task::spawn_blocking(move || parts.release_unused()).await;
        });
    }
}

/// Stops a worker when whoever waits for it is stopped.
struct StopWorker(JoinHandle<()>);

impl Drop for StopWorker {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn register(store: &dyn Store, node: &Node) -> Result<(), store::Error> {
    let put = Op::put(keys::node(node.id.as_str()), codec::encode(node)?);
    store.txn(Txn::of(vec![put])).await.map(drop)
}

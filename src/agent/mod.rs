//! The node: makes grants into services that take requests.
//!
//! For each granted revision a worker pulls, compiles, links and tries the component, waits for its
//! startup probe, then puts the deployment in force and reports. The grant says which revision gets
//! which requests.
//!
//! *Invariant:* a grant with a lower generation than the one in hand is refused.
//!
//! *Invariant:* the store is written at transitions, and every second while a deployment is under
//! way, never because of a request.
//!
//! Start reading at [`Agent::run`], then `held.rs` and `prepare.rs`.

mod feed;
mod held;
mod place;
mod prepare;
mod health;
mod images;
mod pulls;
mod report;
mod routes;
mod status;
mod upstreams;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use registry::Digest;
use tokio::sync::{mpsc, oneshot};

use crate::model::{Grant, GrantStatus, Name, Node};
use crate::runtime::{AotCache, Compiler, Loader, Routes, Runtime, TaskTable, Turns};
use crate::shutdown::{Draining, Shutdown};
use crate::store::{self, Store, keys};
use crate::upstream::UpstreamTable;

pub use images::{Images, ImagesError, OWN_REGISTRY, reachable};
pub use pulls::{Pulled, Pulls};

use feed::{Change, Feed};
use held::Held;
use upstreams::Upstreams;

/// Revisions that are pulled, loaded or tried at once: each may hold an image of 64 MiB. Those that
/// wait for the compiler hold nothing.
const PREPARED_AT_ONCE: usize = 4;
/// How long images that nobody needs may stay while many services come and go.
const PAUSE_BETWEEN_LOOKS: Duration = Duration::from_millis(100);
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
    /// Where servers go that requests are forwarded to.
    pub upstreams: UpstreamTable,
    /// Where their routes go.
    pub routes: Arc<Routes>,
    /// The images that grants name, by service.
    pub granted: Arc<Mutex<HashMap<Name, Vec<Digest>>>>,
    /// Looks for images that nobody needs.
    pub looks: Arc<Looks>,
    /// Revisions whose compiled code was found missing: of one agent after the other.
    pub broken: Broken,
    /// Told what the node's record says.
    pub draining: Draining,
    /// Given when this process is not, or not any more, the one that decides what is kept.
    pub until: Shutdown,
}

/// Names of revisions that have to be prepared again.
pub type Broken = Arc<tokio::sync::Mutex<mpsc::Receiver<(Name, u64)>>>;

impl AgentParts {
    /// Lets go of every image that no grant names and no service runs. That takes a look at every
    /// service, so one look does for all who ask while another is under way.
    fn release_unused(&self) {
        self.looks.run(|| self.release_now());
    }

    fn release_now(&self) {
        if self.until.has_begun() {
            return;
        }
        let mut in_use: HashSet<Digest> = self.granted.lock().values().flatten().copied().collect();
        let revisions = self.table.all().into_iter().flat_map(|service| service.revisions());
        let deployments = revisions.filter_map(|revision| revision.view().deployment);
        in_use.extend(deployments.map(|deployment| deployment.definition.manifest));
        self.images.retain(&in_use, &self.compiler, &self.cache);
    }
}

/// Work that is asked for often and done rarely.
#[derive(Debug, Default)]
pub struct Looks {
    /// How often it was asked for since it last ended; zero while nobody is at it.
    asked: AtomicUsize,
}

impl Looks {
    /// Does the work, and once more after a pause if somebody asks for it meanwhile; returns at
    /// once if somebody is at it. May block.
    fn run(&self, work: impl Fn()) {
        if self.asked.fetch_add(1, Ordering::AcqRel) > 0 {
            return;
        }
        loop {
            let asked = self.asked.load(Ordering::Acquire);
            work();
            let ended = self.asked.compare_exchange(asked, 0, Ordering::AcqRel, Ordering::Acquire);
            if ended.is_ok() {
                return;
            }
            std::thread::sleep(PAUSE_BETWEEN_LOOKS);
        }
    }
}

/// The agent of a node.
pub struct Agent {
    parts: AgentParts,
    preparing: Turns,
    held: HashMap<Name, Held>,
    upstreams: Upstreams,
    /// What an earlier process of this node said, until its grant is taken up.
    said: BTreeMap<Name, GrantStatus>,
    /// Told once, when the routes of all grants are in force.
    listed: Option<oneshot::Sender<()>>,
}

impl Agent {
    /// An agent that holds nothing yet, and the word that the routes of all grants are in force.
    pub fn new(parts: AgentParts) -> (Self, oneshot::Receiver<()>) {
        let preparing = Turns::new(PREPARED_AT_ONCE);
        let (listed, routed) = oneshot::channel();
        let (held, said) = (HashMap::new(), BTreeMap::new());
        let upstreams = Upstreams::new(parts.upstreams.clone(), Arc::clone(&parts.routes));
        let listed = Some(listed);
        (Self { parts, preparing, held, upstreams, said, listed }, routed)
    }

    /// Registers the node, then follows its grants until the signal is given.
    pub async fn run(mut self) {
        let shutdown = self.parts.until.clone();
        while !shutdown.has_begun() {
            let Some(result) = shutdown.unless_begun(self.follow()).await else { break };
            if let Err(error) = result {
                tracing::warn!(%error, "the agent lost the store; it will be tried again");
                shutdown.unless_begun(tokio::time::sleep(PAUSE_AFTER_FAILURE)).await;
            }
        }
    }

    async fn follow(&mut self) -> Result<(), store::Error> {
        let (mut own, node) = status::register(&*self.parts.store, &self.parts.node).await?;
        status::follow(&self.parts.draining, &node);
        let (mut feed, upstreams) = Feed::list(&*self.parts.store, keys::UPSTREAMS.into()).await?;
        self.upstreams.replace_all(upstreams);
        let prefix = keys::node_grants(self.parts.node.id.as_str());
        let (mut grants, all) = Feed::<Grant>::list(&*self.parts.store, prefix).await?;
        if self.listed.is_some() {
            self.said = report::last(&*self.parts.store, &self.parts.node.id).await?;
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
            // Services that were deleted, and whose requests an earlier agent waited for.
            for service in std::mem::take(&mut self.said).into_keys() {
                report::forget(&*self.parts.store, &self.parts.node.id, &service).await;
            }
            let parts = self.parts.clone();
            tokio::task::spawn_blocking(move || {
                parts.images.recall();
                parts.release_unused();
            });
        }
        let broken = Arc::clone(&self.parts.broken);
        let mut broken = broken.lock().await;
        loop {
            tokio::select! {
                change = grants.next() => match change? {
                    Change::Put(grant) => self.accept(*grant),
                    Change::Gone(service) => self.withdraw(&service),
                },
                change = feed.next() => self.upstreams.take(change?),
                change = own.next() => match change? {
                    Change::Put(node) if node.id == self.parts.node.id => {
                        status::follow(&self.parts.draining, &node);
                    }
                    _ => {}
                },
                Some((service, revision)) = broken.recv() => {
                    if let Some(held) = self.held.get_mut(&service) {
                        held.prepare_again(revision);
                    }
                }
            }
        }
    }

    fn accept(&mut self, grant: Grant) {
        match self.held.get_mut(&grant.service) {
            Some(held) => held.change(grant),
            None => {
                let last = self.said.remove(&grant.service);
                let (parts, preparing) = (self.parts.clone(), self.preparing.clone());
                let service = grant.service.clone();
                self.held.insert(service, Held::begin(parts, preparing, grant, last));
            }
        }
    }

    fn withdraw(&mut self, service: &Name) {
        if let Some(held) = self.held.remove(service) {
            held.withdraw();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_while_a_look_is_under_way_gets_one_more() {
        let (looks, done) = (Looks::default(), AtomicUsize::new(0));
        looks.run(|| {
            if done.fetch_add(1, Ordering::Relaxed) == 0 {
                (0..5).for_each(|_| looks.run(|| unreachable!("one is at it")));
            }
        });
        assert_eq!(done.load(Ordering::Relaxed), 2);
        looks.run(|| _ = done.fetch_add(1, Ordering::Relaxed));
        assert_eq!(done.load(Ordering::Relaxed), 3);
    }
}

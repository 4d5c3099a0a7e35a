//! The services of this node, by name.

use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::model::Name;
use crate::routing::RouteTable;
use crate::upstream::UpstreamCell;

use super::loader::Loader;
use super::rules::LiveRules;
use super::service::ServiceCell;

/// The routes of this node, swapped as a whole: the agent writes them, the load balancer reads.
pub type Routes = ArcSwap<RouteTable<Target>>;

/// Where a route leads.
#[derive(Clone, Debug)]
pub struct Target {
    /// What answers.
    pub backend: Backend,
    /// What the route asks of its requests, if it asks for anything.
    pub rules: Option<Arc<LiveRules>>,
}

/// What answers the requests of a route.
#[derive(Clone, Debug)]
pub enum Backend {
    /// A service of this node.
    Service {
        /// The service.
        service: Arc<ServiceCell>,
        /// The revision that takes all requests of the route; else they are split.
        only: Option<u64>,
    },
    /// Servers that are not Wharf's.
    Upstream(Arc<UpstreamCell>),
}

impl Backend {
    /// Whether it is this service, in whatever revision.
    pub fn is_service(&self, other: &Arc<ServiceCell>) -> bool {
        matches!(self, Self::Service { service, .. } if Arc::ptr_eq(service, other))
    }

    /// Whether it is this upstream.
    pub fn is_upstream(&self, other: &Arc<UpstreamCell>) -> bool {
        matches!(self, Self::Upstream(upstream) if Arc::ptr_eq(upstream, other))
    }
}

/// Services by name.
pub(super) type Services = DashMap<Name, Arc<ServiceCell>>;

/// What all services of a node share.
pub(super) struct Shared {
    pub(super) loader: Loader,
    /// Told when a deployment has to be prepared again, because its code is gone from the cache.
    pub(super) broken: mpsc::Sender<(Name, u64)>,
    /// All of them: one sends copies of its requests to another.
    pub(super) services: Weak<Services>,
}

/// Revisions whose code was found missing, waiting for the agent.
const MOST_BROKEN: usize = 1_024;

/// Every service that this node has a grant for. Cheap to clone.
#[derive(Clone)]
pub struct TaskTable {
    cells: Arc<Services>,
    /// Services that were taken out and have requests in flight, for whoever waits for those.
    leaving: Arc<Mutex<Vec<Arc<ServiceCell>>>>,
    shared: Arc<Shared>,
}

impl TaskTable {
    /// An empty table, and the feed of revisions that have to be prepared again.
    pub fn new(loader: Loader) -> (Self, mpsc::Receiver<(Name, u64)>) {
        let (broken, to_prepare) = mpsc::channel(MOST_BROKEN);
        let cells = Arc::default();
        let shared = Arc::new(Shared { loader, broken, services: Arc::downgrade(&cells) });
        (Self { cells, leaving: Arc::default(), shared }, to_prepare)
    }

    /// The service, if this node has it.
    pub fn get(&self, name: &Name) -> Option<Arc<ServiceCell>> {
        self.cells.get(name).map(|cell| Arc::clone(&cell))
    }

    /// The service, made if this node does not have it yet.
    pub fn get_or_insert(&self, name: &Name) -> Arc<ServiceCell> {
        let make = || ServiceCell::new(name.clone(), Arc::clone(&self.shared));
        Arc::clone(&self.cells.entry(name.clone()).or_insert_with(make))
    }

    /// Takes the service out. Requests in flight go on, and [`Self::get_or_leaving`] finds it
    /// until [`Self::forget`].
    pub fn remove(&self, name: &Name) {
        let mut leaving = self.leaving.lock();
        leaving.extend(self.cells.remove(name).map(|(_, cell)| cell));
    }

    /// The service, if this node has it or had it last and its requests are waited for.
    pub fn get_or_leaving(&self, name: &Name) -> Option<Arc<ServiceCell>> {
        let last = || self.leaving.lock().iter().rfind(|cell| cell.name() == name).cloned();
        self.get(name).or_else(last)
    }

    /// Lets go of a service that was taken out.
    pub fn forget(&self, gone: &Arc<ServiceCell>) {
        self.leaving.lock().retain(|cell| !Arc::ptr_eq(cell, gone));
    }

    /// Stops every request on this node, because it has no more time for them.
    pub fn stop(&self) {
        let leaving = self.leaving.lock().clone();
        let services = self.all().into_iter().chain(leaving);
        services.flat_map(|service| service.revisions()).for_each(|revision| revision.stop());
    }

    /// How many services there are.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Every service, in no order.
    pub fn all(&self) -> Vec<Arc<ServiceCell>> {
        self.cells.iter().map(|cell| Arc::clone(&cell)).collect()
    }
}

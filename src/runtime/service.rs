//! One service on this node: its revisions, and which of them takes a request.
//!
//! *Invariant:* a revision leaves the split before it stops taking requests. Whoever was sent to
//! it meanwhile is sent on, so that no request is lost when a revision goes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::model::{Code, Limits, Name, Percent};
use crate::routing::Split;
use crate::telemetry::{LogBook, ServiceStats};

use super::deployment::{Refusal, ServiceView};
use super::mirrors::Mirrors;
use super::outgoing::Outlet;
use super::revision::RevisionCell;
use super::table::Shared;
use super::task::Slot;

/// Revisions that a request may be sent on from. Each of them goes once, when it is replaced: so
/// many in the time that one request waits are a fault of the node.
const MOST_MOVES: usize = 16;

/// Which revision a request is to go to, as far as its route and the request itself say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pick {
    /// The revision that takes it and no other, because its route is that of a tag.
    pub only: Option<u64>,
    /// The revision that takes it if it is ready, because of what the request carries.
    pub preferred: Option<u64>,
    /// The point of its client on the circle that the shares divide.
    pub point: Option<u32>,
}

/// What a service sends, if it has sent anything.
pub(super) type Outlets = Arc<OnceLock<Arc<Outlet>>>;

/// A service on this node.
pub struct ServiceCell {
    name: Name,
    shared: Arc<Shared>,
    logs: Arc<LogBook>,
    stats: OnceLock<Arc<ServiceStats>>,
    mirrors: Mirrors,
    split: ArcSwap<Split<Arc<RevisionCell>>>,
    /// How the requests are to be split, and which revisions are not ready to take theirs.
    wanted: Mutex<Wanted>,
    /// Requests that were split.
    count: AtomicU32,
    /// Tasks that were started: their numbers are unique within the service.
    tasks: Arc<AtomicU64>,
    /// What its requests send, shared by its revisions.
    outlet: Outlets,
    revisions: Mutex<BTreeMap<u64, Arc<RevisionCell>>>,
    /// Revisions that were let go and finish their requests. Locked after `revisions`.
    leaving: Mutex<Vec<Arc<RevisionCell>>>,
}

#[derive(Default)]
struct Wanted {
    shares: Vec<(u64, Percent)>,
    unready: BTreeSet<u64>,
}

impl std::fmt::Debug for ServiceCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceCell").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ServiceCell {
    pub(super) fn new(name: Name, shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self {
            logs: LogBook::new(name.clone()),
            name,
            shared,
            stats: OnceLock::new(),
            mirrors: Mirrors::default(),
            split: ArcSwap::from_pointee(Split::new([])),
            wanted: Mutex::default(),
            count: AtomicU32::new(0),
            tasks: Arc::default(),
            outlet: Outlets::default(),
            revisions: Mutex::default(),
            leaving: Mutex::default(),
        })
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// What its guests print.
    pub fn logs(&self) -> &Arc<LogBook> {
        &self.logs
    }

    /// Its counters, made with the first request.
    pub fn stats(&self) -> &Arc<ServiceStats> {
        self.stats.get_or_init(Arc::default)
    }

    /// Its counters, if it has had a request.
    pub fn stats_if_any(&self) -> Option<&Arc<ServiceStats>> {
        self.stats.get()
    }

    /// Copies of its requests.
    pub fn mirrors(&self) -> &Mirrors {
        &self.mirrors
    }

    /// What its requests have sent, if any has.
    pub fn outlet_if_any(&self) -> Option<&Arc<Outlet>> {
        self.outlet.get()
    }

    /// Another service of this node.
    pub fn other(&self, name: &Name) -> Option<Arc<Self>> {
        let services = self.shared.services.upgrade()?;
        services.get(name).map(|service| Arc::clone(&service))
    }

    /// The revision of this number, made if there is none.
    pub fn revision(&self, number: u64) -> Arc<RevisionCell> {
        let make = || {
            let (name, logs) = (self.name.clone(), Arc::clone(&self.logs));
            let of_service = (Arc::clone(&self.tasks), Arc::clone(&self.outlet));
            RevisionCell::new(name, number, logs, of_service, self.shared.clone())
        };
        Arc::clone(self.revisions.lock().entry(number).or_insert_with(make))
    }

    /// The revision of this number, if there is one.
    pub fn find(&self, number: u64) -> Option<Arc<RevisionCell>> {
        self.revisions.lock().get(&number).cloned()
    }

    /// The same if it can take requests now.
    fn find_ready(&self, number: u64) -> Option<Arc<RevisionCell>> {
        let is_ready = !self.wanted.lock().unready.contains(&number);
        self.find(number).filter(|revision| is_ready && revision.is_deployed())
    }

    /// Whether the revision of this number is there, and can take requests now.
    pub fn is_ready(&self, number: u64) -> bool {
        self.find_ready(number).is_some()
    }

    /// Every revision, by number, those included that finish their requests.
    pub fn revisions(&self) -> Vec<Arc<RevisionCell>> {
        let revisions = self.revisions.lock();
        revisions.values().chain(self.leaving.lock().iter()).cloned().collect()
    }

    /// Splits the requests that come from now on.
    pub fn split(&self, shares: impl IntoIterator<Item = (u64, Percent)>) {
        let mut wanted = self.wanted.lock();
        wanted.shares = shares.into_iter().collect();
        self.split_among_ready(&wanted);
    }

    /// How the requests are to be split, ready or not.
    pub fn shares(&self) -> Vec<(u64, Percent)> {
        self.wanted.lock().shares.clone()
    }

    /// Says whether a revision is ready to take its share. While it is not, those that are take
    /// it; while none is, all take theirs.
    pub fn set_ready(&self, number: u64, is_ready: bool) {
        let mut wanted = self.wanted.lock();
        let is_new = match is_ready {
            true => wanted.unready.remove(&number),
            false => wanted.unready.insert(number),
        };
        if is_new {
            self.split_among_ready(&wanted);
        }
    }

    fn split_among_ready(&self, wanted: &Wanted) {
        let is_ready = |cell: &Arc<RevisionCell>| !wanted.unready.contains(&cell.number());
        let shares = wanted.shares.iter().map(|(number, share)| (self.revision(*number), *share));
        self.split.store(Arc::new(Split::of_ready(shares, is_ready)));
    }

    /// Takes a revision out, which finishes its requests until [`Self::forget`]. Should its number
    /// come back meanwhile, that is another cell.
    pub fn let_go(&self, revision: &Arc<RevisionCell>) {
        self.take_out(revision);
        revision.withdraw();
    }

    /// Makes room for another cell of the same number. Requests go on to the one that is taken
    /// out until the next [`Self::split`], and must be let go after that.
    pub fn take_out(&self, revision: &Arc<RevisionCell>) {
        let mut revisions = self.revisions.lock();
        if revisions.get(&revision.number()).is_some_and(|found| Arc::ptr_eq(found, revision)) {
            revisions.remove(&revision.number());
            self.leaving.lock().push(Arc::clone(revision));
        }
    }

    /// Forgets a revision that was let go and has finished.
    pub fn forget(&self, revision: &Arc<RevisionCell>) {
        self.leaving.lock().retain(|leaving| !Arc::ptr_eq(leaving, revision));
    }

    /// The revision that takes the next request.
    pub fn choose(&self, pick: Pick) -> Result<Arc<RevisionCell>, Refusal> {
        if let Some(only) = pick.only {
            return self.find(only).ok_or(Refusal::NotReady);
        }
        if let Some(ready) = pick.preferred.and_then(|number| self.find_ready(number)) {
            return Ok(ready);
        }
        let split = self.split.load();
        let chosen = match (split.only(), pick.point) {
            (Some(only), _) => Some(only),
            (None, Some(point)) => split.at(point),
            (None, None) => split.nth(self.count.fetch_add(1, Ordering::Relaxed)),
        };
        chosen.cloned().ok_or(Refusal::NotReady)
    }

    /// Takes a place on one of the tasks of a revision, for a request that its limits admit.
    ///
    /// Dropping the future gives up the place in the queue.
    pub async fn acquire(
        &self,
        pick: Pick,
        fits: impl Fn(&Limits) -> Result<(), Code>,
    ) -> Result<Slot, Refusal> {
        for _ in 0..MOST_MOVES {
            match self.choose(pick)?.acquire_if(&fits).await {
                // It left the split before it refused, so the next choice is another one.
                Err(Refusal::Moved) => {}
                decided => return decided,
            }
        }
        Err(Refusal::NotReady)
    }

    /// Takes the service away for good: no more requests, and those that wait are refused.
    pub fn withdraw(&self) {
        self.split([]);
        self.revisions().iter().for_each(|revision| revision.withdraw());
    }

    /// Completes when no request is in flight.
    pub async fn drained(&self) {
        for revision in self.revisions() {
            revision.drained().await;
        }
    }

    /// How it is now.
    pub fn view(&self) -> ServiceView {
        let revisions: Vec<_> = self.revisions().iter().map(|revision| revision.view()).collect();
        let split = self.split.load();
        let serving = split.targets().last().and_then(|revision| revision.view().deployment);
        ServiceView {
            tasks: revisions.iter().flat_map(|revision| revision.tasks.clone()).collect(),
            in_flight: revisions.iter().map(|revision| revision.in_flight).sum(),
            waiting: revisions.iter().map(|revision| revision.waiting).sum(),
            loaded: revisions.iter().any(|revision| revision.loaded),
            deployment: serving,
        }
    }
}

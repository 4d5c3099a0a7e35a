//! A grant in hand: its revisions, their workers, and the order in which they come and go.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::model::{Grant, GrantStatus};
use crate::runtime::{RevisionCell, ServiceCell, Turns};

use super::health::Prober;
use super::place::{Place, Probes};
use super::prepare::Preparer;
use super::report::{Reporter, forget};
use super::{AgentParts, routes};

/// See the module documentation.
pub(super) struct Held {
    parts: AgentParts,
    preparing: Turns,
    pub(super) grant: Grant,
    service: Arc<ServiceCell>,
    reporter: Arc<Reporter>,
    workers: BTreeMap<u64, Worker>,
    watcher: Option<StopOnDrop>,
}

/// A revision and whoever prepares it.
struct Worker {
    place: Arc<Place>,
    task: StopOnDrop,
    /// Asks the revision whether it is well, if the service has probes.
    prober: Option<StopOnDrop>,
    /// Whether one that prepares the revision once more waits for another to end.
    again: bool,
}

impl Held {
    /// Takes up the first grant of a service.
    pub(super) fn begin(
        parts: AgentParts,
        preparing: Turns,
        grant: Grant,
        last: Option<GrantStatus>,
    ) -> Self {
        let service = parts.table.get_or_insert(&grant.service);
        let (store, node) = (Arc::clone(&parts.store), grant.node.clone());
        let reporter = Reporter::new(store, node, Arc::clone(&service), last);
        let workers = BTreeMap::new();
        let mut held = Self { parts, preparing, grant, service, reporter, workers, watcher: None };
        held.put_in_force(None);
        held
    }

    /// Takes up a later grant. An older one, or the same, changes nothing.
    pub(super) fn change(&mut self, grant: Grant) {
        if self.grant.generation > grant.generation || self.grant == grant {
            return;
        }
        let before = std::mem::replace(&mut self.grant, grant);
        self.put_in_force(Some(&before));
    }

    /// New revisions come first; then the requests are sent where they belong from now on; and
    /// only then the revisions go that have no place any more.
    fn put_in_force(&mut self, before: Option<&Grant>) {
        self.reporter.take_up(&self.grant);
        let images = self.grant.revisions.iter().map(|revision| revision.definition.manifest);
        let images = images.chain(self.grant.kept.iter().copied()).collect();
        self.parts.granted.lock().insert(self.grant.service.clone(), images);
        let mut replaced = Vec::new();
        for revision in &self.grant.revisions {
            match self.workers.get(&revision.number) {
                Some(worker) if worker.place.definition == revision.definition => {
                    worker.place.change(&self.grant, revision);
                }
                earlier => {
                    // A service that was deleted and made again counts its revisions anew.
                    if let Some(earlier) = earlier {
                        replaced.push(Arc::clone(&earlier.place.cell));
                        self.service.take_out(&earlier.place.cell);
                    }
                    let cell = self.service.revision(revision.number);
                    let place = Arc::new(Place::new(&self.grant, revision, cell));
                    let worker = self.start(place);
                    self.workers.insert(revision.number, worker);
                }
            }
        }
        if before.is_some_and(|before| Probes::of(before) != Probes::of(&self.grant)) {
            self.ask_anew();
        }
        self.service.split(self.grant.revisions.iter().map(|one| (one.number, one.share)));
        routes::update(&self.parts.routes, before, Some(&self.grant), &self.service);
        let placed = |number: &u64| self.grant.revision(*number).is_some();
        let gone: Vec<u64> =
            self.workers.keys().filter(|number| !placed(number)).copied().collect();
        replaced.into_iter().for_each(|cell| self.let_go(cell));
        for number in gone {
            if let Some(worker) = self.workers.remove(&number) {
                self.let_go(Arc::clone(&worker.place.cell));
            }
        }
        let watch = || StopOnDrop(tokio::spawn(Arc::clone(&self.reporter).watch()));
        self.watcher = match (self.grant.watched, self.watcher.take()) {
            (true, watcher) => Some(watcher.unwrap_or_else(watch)),
            (false, _) => None,
        };
        let reporter = Arc::clone(&self.reporter);
        if before.is_some() {
            tokio::spawn(async move { reporter.write().await });
        }
    }

    fn start(&self, place: Arc<Place>) -> Worker {
        place.cell.expect();
        let preparer = self.preparer(&place);
        let task = StopOnDrop(tokio::spawn(preparer.run()));
        let prober = self.prober(&place);
        Worker { place, task, prober, again: false }
    }

    fn prober(&self, place: &Arc<Place>) -> Option<StopOnDrop> {
        let (parts, place) = (self.parts.clone(), Arc::clone(place));
        let prober =
            Prober::new(parts, place, Arc::clone(&self.service), Arc::clone(&self.reporter))?;
        Some(StopOnDrop(tokio::spawn(prober.run())))
    }

    /// Asks every revision in the way that the grant says from now on.
    fn ask_anew(&mut self) {
        self.reporter.forget_health();
        let mut workers = std::mem::take(&mut self.workers);
        for worker in workers.values_mut() {
            worker.prober = None;
            worker.prober = self.prober(&worker.place);
        }
        self.workers = workers;
    }

    fn preparer(&self, place: &Arc<Place>) -> Preparer {
        let (parts, preparing) = (self.parts.clone(), self.preparing.clone());
        Preparer::new(parts, Arc::clone(place), Arc::clone(&self.reporter), preparing)
    }

    /// Prepares a revision in hand once more, because the code that it had is gone. A worker that
    /// is at it already ends first: it has its pauses for a reason.
    pub(super) fn prepare_again(&mut self, number: u64) {
        let Some(worker) = self.workers.get(&number) else { return };
        if worker.again && !worker.task.0.is_finished() {
            return;
        }
        let preparer = self.preparer(&worker.place);
        let Some(worker) = self.workers.get_mut(&number) else { return };
        let idle = StopOnDrop(tokio::spawn(async {}));
        let mut earlier = std::mem::replace(&mut worker.task, idle);
        worker.again = true;
        worker.task = StopOnDrop(tokio::spawn(async move {
            let _ = (&mut earlier.0).await;
            preparer.run_again().await;
        }));
    }

    /// Lets a revision finish what it has, or stop it when its time is over.
    fn let_go(&self, cell: Arc<RevisionCell>) {
        self.service.let_go(&cell);
        let (parts, service) = (self.parts.clone(), Arc::clone(&self.service));
        tokio::spawn(async move {
            cell.drained().await;
            service.forget(&cell);
            let _ = tokio::task::spawn_blocking(move || parts.release_unused()).await;
        });
    }

    /// Out of the routes first; then no new requests; then, once those under way are done, gone.
    pub(super) fn withdraw(self) {
        let Self { parts, grant, service, workers, watcher, .. } = self;
        drop((workers, watcher));
        parts.granted.lock().remove(&grant.service);
        parts.table.remove(&grant.service);
        routes::update(&parts.routes, Some(&grant), None, &service);
        service.withdraw();
        tokio::spawn(async move {
            service.drained().await;
            forget(&*parts.store, &grant.node, &grant.service).await;
            parts.table.forget(&service);
            let _ = tokio::task::spawn_blocking(move || parts.release_unused()).await;
        });
    }
}

/// Stops a task when whoever started it is gone.
struct StopOnDrop(JoinHandle<()>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

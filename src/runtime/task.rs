//! A task, and a place on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::clock;
use crate::telemetry::{Exchange, LogBook, RevisionStats};

use super::cpu::{Account, Who};
use super::deployment::{Deployment, TaskView};
use super::drain::Stop;
use super::loader::Loaded;
use super::memory::Budget;
use super::revision::RevisionCell;

/// One running copy of a deployment. It costs this record; its instances come with requests.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) number: u64,
    pub(super) deployment: Arc<Deployment>,
    pub(super) loaded: Arc<Loaded>,
    pub(super) memory: Arc<Budget>,
    /// Requests that it serves at once.
    pub(super) concurrency: u32,
    /// Changed only under the service's lock.
    in_flight: AtomicU32,
    /// Probes that take a place beside the requests.
    probes: AtomicU32,
    /// What its guests have had of the CPU.
    pub(super) turns: Arc<Account>,
    /// Stops the requests that outlive its end.
    pub(super) stop: Stop,
    started_at_ms: u64,
}

impl Task {
    pub(super) fn start(
        number: u64,
        deployment: Arc<Deployment>,
        loaded: Arc<Loaded>,
    ) -> Arc<Self> {
        let limits = &deployment.definition.limits;
        Arc::new(Self {
            number,
            concurrency: loaded.concurrency(limits),
            memory: Budget::new(limits.memory.0),
            turns: Account::new(limits.cpu, limits.cpu_cap),
            deployment,
            loaded,
            in_flight: AtomicU32::new(0),
            probes: AtomicU32::new(0),
            stop: Stop::default(),
            started_at_ms: clock::unix_ms(),
        })
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn has_room(&self) -> bool {
        self.in_flight() + self.probes.load(Ordering::Relaxed) < self.concurrency
    }

    /// One more request for `cell`, whose lock is held.
    pub(super) fn take(
        self: &Arc<Self>,
        cell: &Arc<RevisionCell>,
        cold_start: Option<Duration>,
    ) -> Slot {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.slot(cell, cold_start, false)
    }

    /// One more probe. It takes a place, because its instance needs one, and counts as no request.
    pub(super) fn take_for_probe(self: &Arc<Self>, cell: &Arc<RevisionCell>) -> Slot {
        self.probes.fetch_add(1, Ordering::Relaxed);
        self.slot(cell, None, true)
    }

    fn slot(
        self: &Arc<Self>,
        cell: &Arc<RevisionCell>,
        cold_start: Option<Duration>,
        is_probe: bool,
    ) -> Slot {
        let (task, cell) = (Arc::clone(self), Arc::clone(cell));
        Slot { task, cell, is_probe, waited: Duration::ZERO, cold_start }
    }

    pub(super) fn release_probe(&self) {
        self.probes.fetch_sub(1, Ordering::Relaxed);
    }

    /// One request less; returns how many are left.
    pub(super) fn release(&self) -> u32 {
        self.in_flight.fetch_sub(1, Ordering::Relaxed) - 1
    }

    pub(super) fn view(&self) -> TaskView {
        TaskView {
            number: self.number,
            in_flight: self.in_flight(),
            concurrency: self.concurrency,
            memory_bytes: self.memory.used(),
            started_at_ms: self.started_at_ms,
        }
    }
}

/// A task's promise to serve one request. Dropping it gives the place to whoever waits.
#[derive(Debug)]
pub struct Slot {
    pub(super) task: Arc<Task>,
    cell: Arc<RevisionCell>,
    is_probe: bool,
    /// How long the request waited for the slot; zero if there was one at once.
    pub waited: Duration,
    /// How long the start took that this request had to wait for.
    pub cold_start: Option<Duration>,
}

impl Slot {
    /// What the task runs.
    pub fn deployment(&self) -> &Deployment {
        &self.task.deployment
    }

    /// The task's number within its service.
    pub fn task_number(&self) -> u64 {
        self.task.number
    }

    /// The number of its revision within its service.
    pub fn revision(&self) -> u64 {
        self.cell.number()
    }

    /// The counters of its revision.
    pub fn stats(&self) -> &Arc<RevisionStats> {
        self.cell.stats()
    }

    /// On whose behalf a guest runs in this place.
    pub(super) fn who(&self, exchange: Arc<Exchange>) -> Who {
        Who {
            account: Arc::clone(&self.task.turns),
            exchange,
            cell: Arc::clone(&self.cell),
            is_metered: self.task.deployment.scaling.is_some(),
        }
    }

    /// The revision, and the task's number.
    pub(super) fn sender(&self) -> (Arc<RevisionCell>, u64) {
        (Arc::clone(&self.cell), self.task.number)
    }

    /// Does the work of the request until it completes, or the task goes and the time of its
    /// requests is over; `None` in the second case.
    pub async fn unless_stopped<F: Future>(&self, work: F) -> Option<F::Output> {
        self.task.stop.unless_given(work).await
    }

    /// The service's log.
    pub fn logs(&self) -> &Arc<LogBook> {
        self.cell.logs()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        match self.is_probe {
            true => self.cell.release_probe(&self.task),
            false => self.cell.release(&self.task),
        }
    }
}

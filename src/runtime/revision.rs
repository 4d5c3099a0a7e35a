//! One revision of a service on this node: its tasks, the requests in flight, and those that wait.
//!
//! *Invariant:* a revision that sleeps has no task, no loaded component, no timer and no file
//! descriptor; only this record.
//!
//! *Invariant:* exactly one load happens when a sleeping revision is asked for, however many
//! requests wait; each of them is answered or refused by its deadline.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock;
use crate::model::{Code, Limits, Name};
use crate::telemetry::{LogBook, RevisionStats};

use super::deployment::{Deployment, Refusal, RevisionView};
use super::loader::{LoadError, Loaded};
use super::scaling::ScalingView;
use super::service::Outlets;
use super::state::{Component, Grants, Reaped, State};
use super::table::Shared;
use super::task::{Slot, Task};
use super::waiting::Place;

/// A revision of a service on this node.
pub struct RevisionCell {
    service: Name,
    number: u64,
    pub(super) shared: Arc<Shared>,
    logs: Arc<LogBook>,
    stats: OnceLock<Arc<RevisionStats>>,
    /// Tasks that the whole service has started.
    last_task: Arc<AtomicU64>,
    /// What its service sends.
    pub(super) outlet: Outlets,
    state: Mutex<State>,
    drained: Notify,
    /// Told when the first task has come or the last one has gone.
    turned: Notify,
    /// CPU time that guests have used, where policies ask for it.
    cpu_ns: AtomicU64,
}

impl std::fmt::Debug for RevisionCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RevisionCell")
            .field("service", &self.service)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl RevisionCell {
    pub(super) fn new(
        service: Name,
        number: u64,
        logs: Arc<LogBook>,
        (last_task, outlet): (Arc<AtomicU64>, Outlets),
        shared: Arc<Shared>,
    ) -> Arc<Self> {
        let state = Mutex::new(State::new(rand::random()));
        let (stats, drained, turned) = (OnceLock::new(), Notify::new(), Notify::new());
        let cpu_ns = AtomicU64::new(0);
        Arc::new(Self {
            service,
            number,
            shared,
            logs,
            stats,
            last_task,
            outlet,
            state,
            drained,
            turned,
            cpu_ns,
        })
    }

    /// The service that it belongs to.
    pub fn service(&self) -> &Name {
        &self.service
    }

    /// Its number within its service.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What the guests of its service print.
    pub fn logs(&self) -> &Arc<LogBook> {
        &self.logs
    }

    /// How its requests end: counters that are made with the first one.
    pub fn stats(&self) -> &Arc<RevisionStats> {
        self.stats.get_or_init(Arc::default)
    }

    /// The same, if there was a request.
    pub fn stats_if_any(&self) -> Option<&Arc<RevisionStats>> {
        self.stats.get()
    }

    pub(super) fn next_task(&self) -> u64 {
        self.last_task.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Takes a place on one of the tasks; starts one, or wakes the revision, or waits, as it
    /// needs. [`Refusal::Moved`] when it was withdrawn.
    ///
    /// Dropping the future gives up the place in the queue.
    pub async fn acquire(self: &Arc<Self>) -> Result<Slot, Refusal> {
        self.acquire_if(|_| Ok(())).await
    }

    /// The same for a request that the limits in force admit: one that they do not wakes nobody,
    /// and takes nobody's place.
    pub(super) async fn acquire_if(
        self: &Arc<Self>,
        fits: impl Fn(&Limits) -> Result<(), Code>,
    ) -> Result<Slot, Refusal> {
        let (ticket, wait) = {
            let mut state = self.state.lock();
            if let Some(deployment) = &state.deployment {
                fits(&deployment.definition.limits).map_err(Refusal::Unfit)?;
            }
            if let Some(slot) = state.take(self) {
                drop(state);
                return Ok(slot);
            }
            state.queue(self)?
        };
        let arrived = clock::now();
        let mut leaving = LeaveOnDrop { cell: self, id: Some(ticket.id) };
        match tokio::time::timeout(wait, ticket.answer).await {
            Ok(answer) => {
                leaving.id = None;
                let mut slot = answer.unwrap_or(Err(Refusal::NotReady))?;
                slot.waited = clock::now().saturating_duration_since(arrived);
                Ok(slot)
            }
            Err(_) => Err(self.refusal_in_time()),
        }
    }

    /// Says that a deployment is on its way. Until it is there, or [`Self::give_up`] says that it
    /// is not coming, requests wait for it.
    pub fn expect(&self) {
        self.state.lock().expected = true;
    }

    /// Says that no deployment is coming for now. An earlier one goes on serving; where there is
    /// none, or its code is gone, requests that wait are refused, and the next one asks again.
    pub fn give_up(&self) {
        let places = {
            let mut state = self.state.lock();
            state.expected = false;
            match std::mem::take(&mut state.mending) || state.deployment.is_none() {
                true => {
                    state.component = Component::Asleep;
                    state.waiting.take_all()
                }
                false => Vec::new(),
            }
        };
        for place in places {
            place.answer(Err(Refusal::NotReady));
        }
    }

    /// Puts a deployment in force. Tasks of the one before take no more requests; as many tasks
    /// as there were are started anew. `loaded` spares a second load where the caller has it.
    ///
    /// An older deployment than the one in force changes nothing.
    pub fn deploy(self: &Arc<Self>, deployment: Arc<Deployment>, loaded: Option<Arc<Loaded>>) {
        // What is not needed any more is dropped after the lock: unmapping code takes its time.
        let (grants, _retired, _component, _loaded) = {
            let mut state = self.state.lock();
            let scale = deployment.scale;
            if state.accept(deployment).is_err() {
                return;
            }
            let had = u32::try_from(state.tasks.len()).unwrap_or(u32::MAX);
            let retired = state.retire_all(self);
            state.mending = false;
            let component = std::mem::take(&mut state.component);
            let needed = scale.bound(had).max(u32::from(!state.waiting.is_empty()));
            let grants = match (needed, &loaded) {
                (0, _) => Grants::new(),
                (_, Some(loaded)) => state.awake(self, Arc::clone(loaded), needed),
                (_, None) => {
                    state.begin_loading(self, needed);
                    Grants::new()
                }
            };
            (grants, retired, component, loaded)
        };
        tell(grants);
    }

    /// Changes the bounds without touching the tasks that are within them.
    pub fn rescale(self: &Arc<Self>, deployment: Arc<Deployment>) {
        let (grants, _retired) = {
            let mut state = self.state.lock();
            let scale = deployment.scale;
            if state.accept(deployment).is_err() {
                return;
            }
            let retired = state.shrink_to(scale.max as usize, self);
            self.has_turned();
            let grants = match &state.component {
                Component::Loaded(loaded) => {
                    let loaded = Arc::clone(loaded);
                    state.stop_reaper();
                    state.awake(self, loaded, scale.min)
                }
                Component::Asleep if scale.min > 0 => {
                    state.begin_loading(self, scale.min);
                    Grants::new()
                }
                _ => Grants::new(),
            };
            (grants, retired)
        };
        tell(grants);
    }

    /// Takes the revision away for good: no more requests, and those that wait are sent on.
    pub fn withdraw(&self) {
        let (places, _retired, _component) = {
            let mut state = self.state.lock();
            state.withdrawn = true;
            state.expected = false;
            state.scaling = None;
            let retired = state.retire_all(self);
            state.deployment = None;
            let component = std::mem::take(&mut state.component);
            (state.waiting.take_all(), retired, component)
        };
        for place in places {
            place.answer(Err(Refusal::Moved));
        }
        self.has_turned();
        self.drained.notify_waiters();
    }

    /// Stops every request, under way or waiting, because the node has no more time for them.
    pub fn stop(&self) {
        let (tasks, places) = {
            let mut state = self.state.lock();
            (state.all_tasks(), state.waiting.take_all())
        };
        for place in places {
            place.answer(Err(Refusal::Drained));
        }
        tasks.iter().for_each(|task| task.stop.give());
    }

    /// Completes when no request is in flight.
    pub async fn drained(&self) {
        loop {
            let notified = self.drained.notified();
            let idle = {
                let state = self.state.lock();
                state.in_flight == 0 && state.retiring == 0
            };
            if idle {
                return;
            }
            notified.await;
        }
    }

    /// Whether nothing is on its way that requests would have to wait for.
    pub fn is_settled(&self) -> bool {
        let state = self.state.lock();
        !state.expected && !matches!(state.component, Component::Loading)
    }

    /// Completes when it has tasks, or when it has none.
    pub async fn until_awake(&self, awake: bool) {
        loop {
            let notified = self.turned.notified();
            if self.state.lock().tasks.is_empty() != awake {
                return;
            }
            notified.await;
        }
    }

    /// Replaces the tasks of a revision that serves by as many new ones. Those that were replaced
    /// finish the requests that they have.
    pub fn restart(self: &Arc<Self>, loaded: Arc<Loaded>) {
        let (grants, _retired, _component) = {
            let mut state = self.state.lock();
            let is_same = |deployment: &Arc<Deployment>| deployment.component == *loaded.digest();
            if !state.deployment.as_ref().is_some_and(is_same) || state.tasks.is_empty() {
                return;
            }
            let had = u32::try_from(state.tasks.len()).unwrap_or(u32::MAX);
            let idle_since = state.idle_since.filter(|_| state.in_flight == 0);
            let retired = state.retire_all(self);
            let component = std::mem::take(&mut state.component);
            let grants = state.awake(self, loaded, had);
            // Nobody asked for anything: the service goes to sleep when it would have.
            state.idle_since = idle_since.or(state.idle_since);
            (grants, retired, component)
        };
        tell(grants);
    }

    pub(super) fn with_tasks<T>(&self, look: impl FnOnce(&[Arc<Task>]) -> T) -> T {
        look(&self.state.lock().tasks)
    }

    /// How it is now.
    pub fn view(&self) -> RevisionView {
        let state = self.state.lock();
        RevisionView {
            number: self.number,
            tasks: state.tasks.iter().map(|task| task.view()).collect(),
            in_flight: state.in_flight + state.retiring,
            waiting: state.waiting.len(),
            loaded: matches!(state.component, Component::Loaded(_)),
            deployment: state.deployment.clone(),
        }
    }

    /// What its policies decided, if it has any and was awake since.
    pub fn scaling(&self) -> Option<ScalingView> {
        let state = self.state.lock();
        let scaling = state.scaling.as_ref()?;
        Some(scaling.view(self.number, state.tasks.len()))
    }

    pub(super) fn add_cpu(&self, ns: u64) {
        self.cpu_ns.fetch_add(ns, Ordering::Relaxed);
    }

    pub(super) fn cpu_ns(&self) -> u64 {
        self.cpu_ns.load(Ordering::Relaxed)
    }

    /// Whether there is something that requests can be sent to.
    pub(super) fn is_deployed(&self) -> bool {
        self.state.lock().deployment.is_some()
    }

    /// Whoever waits for tasks, or for their end, looks again.
    pub(super) fn has_turned(&self) {
        self.turned.notify_waiters();
    }

    fn refusal_in_time(&self) -> Refusal {
        match &self.state.lock().component {
            Component::Loaded(_) => Refusal::AtMaximum,
            _ => Refusal::QueueTimeout,
        }
    }

    pub(super) fn release(self: &Arc<Self>, task: &Arc<Task>) {
        let (grants, retired) = {
            let mut state = self.state.lock();
            let left = task.release();
            let position = state.tasks.iter().position(|current| Arc::ptr_eq(current, task));
            let Some(position) = position else {
                state.release_leaving(task, left);
                drop(state);
                self.drained.notify_waiters();
                return;
            };
            state.in_flight -= 1;
            state.measure(self, false);
            let grants = state.serve_waiting(self);
            let retired = match left == 0 && grants.is_empty() {
                true => state.give_back(position),
                false => None,
            };
            if state.in_flight == 0 {
                state.idle_since = Some(clock::now());
                self.drained.notify_waiters();
            }
            (grants, retired)
        };
        drop(retired);
        tell(grants);
    }

    /// Gives the place of a probe to whoever waits. For the autoscaler nothing has happened.
    pub(super) fn release_probe(self: &Arc<Self>, task: &Arc<Task>) {
        let grants = {
            let mut state = self.state.lock();
            task.release_probe();
            state.serve_waiting(self)
        };
        tell(grants);
    }

    pub(super) async fn load(self: Arc<Self>, needed: u32) {
        let began = clock::now();
        loop {
            let Some(deployment) = self.state.lock().deployment.clone() else { return };
            let result = self.shared.loader.load(deployment.component).await;
            let mut state = self.state.lock();
            let current = state.deployment.as_ref();
            if current.is_some_and(|current| current.component != deployment.component) {
                continue;
            }
            if !matches!(state.component, Component::Loading) {
                return;
            }
            match result {
                Ok(loaded) => {
                    state.last_start = clock::now().saturating_duration_since(began);
                    let grants = state.awake(&self, loaded, needed);
                    drop(state);
                    tell(grants);
                }
                Err(error) => {
                    // The agent prepares code that is gone again, unless it is far behind: then
                    // the next request asks again.
                    let mended = matches!(*error, LoadError::NotCompiled)
                        && self.shared.broken.try_send((self.service.clone(), self.number)).is_ok();
                    let places = state.load_failed(mended);
                    drop(state);
                    self.report_load_failure(&error, places);
                }
            }
            return;
        }
    }

    /// Requests go on waiting while the component is compiled again; any other failure refuses
    /// them now.
    fn report_load_failure(&self, error: &LoadError, places: Vec<Place>) {
        let (service, revision) = (&self.service, self.number);
        tracing::warn!(%service, revision, %error, "the service cannot be woken");
        let refusal = match error {
            LoadError::TooMany(_) => Refusal::NoCapacity,
            _ => Refusal::NotReady,
        };
        for place in places {
            place.answer(Err(refusal));
        }
    }

    /// Sends an idle service back to its minimum, then ends: an idle service has no timer.
    pub(super) async fn reap(cell: Weak<Self>) {
        loop {
            let (due, retired) = {
                let Some(cell) = cell.upgrade() else { return };
                let mut state = cell.state.lock();
                match state.reap(&cell, clock::now()) {
                    Reaped::Later(due, retired) => (due, retired),
                    Reaped::Done(freed) => {
                        drop(state);
                        cell.has_turned();
                        // Unmapping code takes its time.
                        tokio::task::spawn_blocking(move || drop(freed));
                        return;
                    }
                }
            };
            drop(retired);
            tokio::time::sleep_until(due.into()).await;
        }
    }
}

/// Takes a request out of the queue when its client leaves.
struct LeaveOnDrop<'a> {
    cell: &'a RevisionCell,
    id: Option<u64>,
}

impl Drop for LeaveOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.cell.state.lock().waiting.leave(id);
        }
    }
}

/// Outside the lock: a waiter that has just left drops its slot, and that takes the lock again.
fn tell(grants: Grants) {
    for (place, slot) in grants {
        place.answer(Ok(slot));
    }
}

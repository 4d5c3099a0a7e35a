//! What a revision's lock protects: its tasks, its queue, and the decisions about both.
//!
//! *Invariant:* nothing here waits. Whoever must be told is returned, and told once the lock is
//! released: a waiter that has just left drops its slot, and that takes the lock again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;

use crate::autoscaler;
use crate::clock;
use crate::model::QueueBounds;
use crate::routing::{self, power_of_two};

use super::deployment::{Deployment, Refusal};
use super::drain::stop_after;
use super::loader::Loaded;
use super::revision::RevisionCell;
use super::scaling::Scaling;
use super::task::{Slot, Task};
use super::waiting::{Place, Ticket, Waiting};

#[derive(Default)]
pub(super) struct State {
    pub(super) deployment: Option<Arc<Deployment>>,
    /// Whether a first deployment is on its way: requests wait for it.
    pub(super) expected: bool,
    /// Whether the code is gone and is being made anew.
    pub(super) mending: bool,
    /// Whether the service was taken away for good.
    pub(super) withdrawn: bool,
    pub(super) component: Component,
    pub(super) tasks: Vec<Arc<Task>>,
    pub(super) waiting: Waiting,
    /// Requests on current tasks.
    pub(super) in_flight: u32,
    /// Tasks that take no more requests and have some.
    leaving: Vec<Arc<Task>>,
    /// Requests on those.
    pub(super) retiring: u32,
    pub(super) last_start: Duration,
    pub(super) idle_since: Option<Instant>,
    /// Stops the reaper, if there is one.
    reaper: Option<AbortHandle>,
    /// Its policies at work, if it has any.
    pub(super) scaling: Option<Box<Scaling>>,
    random: u64,
}

#[derive(Default)]
pub(super) enum Component {
    #[default]
    Asleep,
    Loading,
    Loaded(Arc<Loaded>),
}

/// Waiters with their slots, to be told once the lock is released.
pub(super) type Grants = Vec<(Place, Slot)>;

/// What a reaper does next.
pub(super) enum Reaped {
    Later(Instant, Vec<Arc<Task>>),
    Done((Vec<Arc<Task>>, Component)),
}

impl State {
    /// A service with nothing deployed. `random` seeds the choice between tasks.
    pub(super) fn new(random: u64) -> Self {
        Self { random, ..Self::default() }
    }

    /// Puts the deployment in its place, or gives it back: when it is older than what is there,
    /// or the service was taken away.
    pub(super) fn accept(&mut self, deployment: Arc<Deployment>) -> Result<(), Arc<Deployment>> {
        let current = self.deployment.as_ref().map_or(0, |current| current.generation);
        if self.withdrawn || current > deployment.generation {
            return Err(deployment);
        }
        self.deployment = Some(deployment);
        self.expected = false;
        Ok(())
    }

    /// A slot on a task that has room; a new task if none has and one more is allowed.
    pub(super) fn take(&mut self, cell: &Arc<RevisionCell>) -> Option<Slot> {
        if !self.waiting.is_empty() {
            return None;
        }
        if let Some(position) = self.pick() {
            return Some(self.slot_on(position, cell, None));
        }
        let Component::Loaded(loaded) = &self.component else { return None };
        let loaded = Arc::clone(loaded);
        if self.tasks.len() >= self.deployment.as_ref()?.scale.max as usize {
            return None;
        }
        self.start_task(cell, loaded);
        self.has_grown();
        self.ensure_reaper(cell);
        Some(self.slot_on(self.tasks.len() - 1, cell, None))
    }

    /// Power of two choices; if both are full, any task with room.
    fn pick(&mut self) -> Option<usize> {
        self.random = self.random.wrapping_add(routing::STRIDE);
        let random = routing::mix(self.random);
        let picked = power_of_two(self.tasks.len(), random, |i| self.tasks[i].in_flight())?;
        match self.tasks[picked].has_room() {
            true => Some(picked),
            false => self.tasks.iter().position(|task| task.has_room()),
        }
    }

    fn slot_on(
        &mut self,
        position: usize,
        cell: &Arc<RevisionCell>,
        cold_start: Option<Duration>,
    ) -> Slot {
        self.in_flight += 1;
        let slot = self.tasks[position].take(cell, cold_start);
        self.measure(cell, true);
        slot
    }

    /// A place in the queue, and how long it may be waited in. Wakes the service if it sleeps.
    pub(super) fn queue(
        &mut self,
        cell: &Arc<RevisionCell>,
    ) -> Result<(Ticket, Duration), Refusal> {
        if self.withdrawn {
            return Err(Refusal::Moved);
        }
        let bounds = match &self.deployment {
            Some(deployment) => deployment.queue,
            None if self.expected => QueueBounds::default(),
            None => return Err(Refusal::NotReady),
        };
        let tasks = u32::try_from(self.tasks.len()).unwrap_or(u32::MAX);
        let (most, refusal) = match (&self.component, self.tasks.first()) {
            (Component::Loaded(_), Some(task)) => {
                let most = autoscaler::longest_queue(bounds.depth, tasks, task.concurrency);
                (most, Refusal::AtMaximum)
            }
            _ => (bounds.depth, Refusal::QueueFull),
        };
        if self.waiting.len() >= most {
            return Err(refusal);
        }
        let ticket = self.waiting.join();
        self.measure(cell, false);
        if matches!(self.component, Component::Asleep) && self.deployment.is_some() {
            self.begin_loading(cell, 1);
        }
        Ok((ticket, autoscaler::longest_wait(bounds.wait, self.last_start)))
    }

    pub(super) fn begin_loading(&mut self, cell: &Arc<RevisionCell>, needed: u32) {
        self.component = Component::Loading;
        tokio::spawn(Arc::clone(cell).load(needed));
    }

    /// Takes requests from now on, with at least `needed` tasks.
    pub(super) fn awake(
        &mut self,
        cell: &Arc<RevisionCell>,
        loaded: Arc<Loaded>,
        needed: u32,
    ) -> Grants {
        let Some(deployment) = self.deployment.clone() else { return Grants::new() };
        if matches!(self.component, Component::Loading) {
            self.waiting.mark_cold();
        }
        let limits = &deployment.definition.limits;
        let load = self.waiting.len() + self.in_flight;
        let wanted = autoscaler::wanted(load, loaded.concurrency(limits), &deployment.scale);
        self.component = Component::Loaded(Arc::clone(&loaded));
        while self.tasks.len() < wanted.max(needed) as usize {
            self.start_task(cell, Arc::clone(&loaded));
        }
        self.begin_scaling(cell);
        self.idle_since = Some(clock::now());
        self.ensure_reaper(cell);
        self.serve_waiting(cell)
    }

    /// Who is refused now. When the code is being made anew nobody is, and it counts as loading,
    /// so that requests do not ask for it again and again: `deploy` or `give_up` follows.
    pub(super) fn load_failed(&mut self, mended: bool) -> Vec<Place> {
        self.mending = mended;
        if mended {
            return Vec::new();
        }
        self.component = Component::Asleep;
        self.waiting.take_all()
    }

    pub(super) fn start_task(&mut self, cell: &RevisionCell, loaded: Arc<Loaded>) {
        let Some(deployment) = self.deployment.clone() else { return };
        self.tasks.push(Task::start(cell.next_task(), deployment, loaded));
        if self.tasks.len() == 1 {
            cell.has_turned();
        }
    }

    /// Hands free places to those that wait, in the order in which they came.
    pub(super) fn serve_waiting(&mut self, cell: &Arc<RevisionCell>) -> Grants {
        let mut grants = Grants::new();
        let Component::Loaded(loaded) = &self.component else { return grants };
        let loaded = Arc::clone(loaded);
        let max = self.deployment.as_ref().map_or(0, |d| d.scale.max) as usize;
        while !self.waiting.is_empty() {
            let position = match self.pick() {
                Some(position) => position,
                None if self.tasks.len() < max => {
                    self.start_task(cell, Arc::clone(&loaded));
                    self.has_grown();
                    self.tasks.len() - 1
                }
                None => break,
            };
            let Some(place) = self.waiting.next() else { break };
            let cold_start = place.waited_for_start.then_some(self.last_start);
            grants.push((place, self.slot_on(position, cell, cold_start)));
        }
        grants
    }

    /// Stops the idle task at `position` if the load needs fewer. Where there are policies they
    /// decide that.
    pub(super) fn give_back(&mut self, position: usize) -> Option<Arc<Task>> {
        if self.scaling.is_some() {
            return None;
        }
        let deployment = self.deployment.as_ref()?;
        let concurrency = self.tasks[position].concurrency;
        let kept = autoscaler::kept(self.in_flight, concurrency, &deployment.scale);
        (self.tasks.len() > kept as usize).then(|| self.tasks.swap_remove(position))
    }

    pub(super) fn retire_all(&mut self, cell: &RevisionCell) -> Vec<Arc<Task>> {
        self.shrink_to(0, cell)
    }

    /// Takes the tasks beyond `most` out. They finish the requests that they have, for as long as
    /// the deployment in force says.
    pub(super) fn shrink_to(&mut self, most: usize, cell: &RevisionCell) -> Vec<Arc<Task>> {
        let retired = self.tasks.split_off(self.tasks.len().min(most));
        let busy: Vec<_> = retired.iter().filter(|task| task.in_flight() > 0).cloned().collect();
        if let (Some(deployment), false) = (&self.deployment, busy.is_empty()) {
            stop_after(deployment.drain, &busy, cell);
        }
        let moved: u32 = busy.iter().map(|task| task.in_flight()).sum();
        self.in_flight -= moved;
        self.retiring += moved;
        self.leaving.extend(busy);
        retired
    }

    /// One request less on a task that is leaving, which has so many left.
    pub(super) fn release_leaving(&mut self, task: &Arc<Task>, left: u32) {
        self.retiring -= 1;
        if left == 0 {
            self.leaving.retain(|leaving| !Arc::ptr_eq(leaving, task));
        }
    }

    /// Every task that may have a request.
    pub(super) fn all_tasks(&self) -> Vec<Arc<Task>> {
        self.tasks.iter().chain(&self.leaving).cloned().collect()
    }

    pub(super) fn ensure_reaper(&mut self, cell: &Arc<RevisionCell>) {
        let min = self.deployment.as_ref().map_or(0, |d| d.scale.min) as usize;
        let is_counted = self.scaling.is_some() && self.in_flight > 0;
        if self.reaper.is_none() && (self.tasks.len() > min || is_counted) {
            let reaper = tokio::spawn(RevisionCell::reap(Arc::downgrade(cell)));
            self.reaper = Some(reaper.abort_handle());
        }
    }

    /// Stops the reaper, which sleeps until the bounds that it saw are due.
    pub(super) fn stop_reaper(&mut self) {
        if let Some(reaper) = self.reaper.take() {
            reaper.abort();
        }
    }

    pub(super) fn reap(&mut self, cell: &Arc<RevisionCell>, now: Instant) -> Reaped {
        let Some(deployment) = self.deployment.clone() else {
            self.reaper = None;
            return Reaped::Done((Vec::new(), Component::Asleep));
        };
        let scale = deployment.scale;
        let is_busy = self.in_flight > 0 || !self.waiting.is_empty();
        let due = match is_busy {
            true => now + scale.idle,
            false => autoscaler::idle_until(self.idle_since.unwrap_or(now), &scale),
        };
        if due > now {
            let reaped = match self.scaling {
                Some(_) => self.turn(cell, due),
                None => Reaped::Later(due, Vec::new()),
            };
            if matches!(reaped, Reaped::Done(_)) {
                self.reaper = None;
            }
            return reaped;
        }
        self.reaper = None;
        let stopped = self.tasks.split_off(self.tasks.len().min(scale.min as usize));
        self.has_idled();
        let component =
            match self.tasks.is_empty() && matches!(self.component, Component::Loaded(_)) {
                true => std::mem::take(&mut self.component),
                false => Component::Asleep,
            };
        Reaped::Done((stopped, component))
    }
}

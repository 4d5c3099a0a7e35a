//! The policies of a revision at work: what happens is pushed to its scaler, and what that decides
//! is carried out.
//!
//! *Invariant:* a revision without policies pays one look at an `Option`. One with policies pays,
//! for each request, two readings of the clock and some additions under the lock that is held
//! anyway; once a second it decides.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::autoscaler::{self, Decision, Facts, Input, Reason, Scaler};
use crate::clock;
use crate::model::ScalePolicies;

use super::deployment::Deployment;
use super::loader::Loaded;
use super::revision::RevisionCell;
use super::state::{Component, Reaped, State};
use super::task::Task;

const SECOND_NS: u64 = 1_000_000_000;

/// A scaler and where it stands.
pub(super) struct Scaling {
    policies: Arc<ScalePolicies>,
    scaler: Scaler,
    origin: Instant,
    /// When the next decision is due.
    due_ns: u64,
    /// CPU time of the revision that the scaler was told.
    cpu_told_ns: u64,
}

/// What the policies of a revision decided, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct ScalingView {
    /// The revision's number.
    pub revision: u64,
    /// Tasks that it has.
    pub tasks: u32,
    /// The policies.
    pub policies: Arc<ScalePolicies>,
    /// What was decided last.
    pub last: Change,
    /// What each target said of it.
    pub inputs: Vec<Input>,
    /// The decisions that changed the number, the oldest first.
    pub changes: Vec<Change>,
}

/// A decision, by the wall clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// When, as milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// What.
    pub decision: Decision,
}

impl Scaling {
    fn now_ns(&self) -> u64 {
        let elapsed = clock::now().saturating_duration_since(self.origin);
        u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
    }

    fn due(&self) -> Instant {
        self.origin + Duration::from_nanos(self.due_ns)
    }

    pub(super) fn view(&self, revision: u64, tasks: usize) -> ScalingView {
        let (now_ns, now_ms) = (self.now_ns(), clock::unix_ms());
        let change = |decision: &Decision| Change {
            at_ms: now_ms.saturating_sub(now_ns.saturating_sub(decision.at_ns) / 1_000_000),
            decision: *decision,
        };
        ScalingView {
            revision,
            tasks: u32::try_from(tasks).unwrap_or(u32::MAX),
            policies: Arc::clone(&self.policies),
            last: change(self.scaler.last()),
            inputs: self.scaler.inputs().copied().collect(),
            changes: self.scaler.changes().map(change).collect(),
        }
    }
}

impl State {
    /// Begins to count, or goes on, when the revision has got tasks or other terms.
    pub(super) fn begin_scaling(&mut self, cell: &RevisionCell) {
        let policies = self.deployment.as_ref().and_then(|deployment| deployment.scaling.clone());
        let Some(policies) = policies else {
            self.scaling = None;
            return;
        };
        let tasks = self.task_count();
        match &mut self.scaling {
            Some(scaling) if scaling.policies == policies && scaling.scaler.is_awake() => {
                let now_ns = scaling.now_ns();
                scaling.scaler.follow(&scaling.policies, tasks, Reason::Bounds, now_ns);
            }
            Some(scaling) => {
                let now_ns = scaling.now_ns();
                scaling.scaler.wake(&policies, tasks, now_ns);
                (scaling.policies, scaling.cpu_told_ns) = (policies, cell.cpu_ns());
            }
            None => {
                let scaler = Scaler::new(&policies, tasks, 0);
                let (origin, cpu_told_ns) = (clock::now(), cell.cpu_ns());
                let scaling = Scaling { policies, scaler, origin, due_ns: 0, cpu_told_ns };
                self.scaling = Some(Box::new(scaling));
            }
        }
    }

    /// Tells the scaler what is in flight now, and whether a request has begun.
    pub(super) fn measure(&mut self, cell: &Arc<RevisionCell>, has_begun: bool) {
        let Some(scaling) = &mut self.scaling else { return };
        let load = self.in_flight + self.waiting.len();
        let now_ns = scaling.now_ns();
        let window = scaling.scaler.window();
        window.set_load(now_ns, load);
        if has_begun {
            window.add_request();
        }
        if now_ns >= scaling.due_ns {
            self.decide(cell, now_ns);
        }
        self.ensure_reaper(cell);
    }

    /// A request has started a task: no decision makes them fewer before it is due.
    pub(super) fn has_grown(&mut self) {
        let tasks = self.task_count();
        if let Some(scaling) = &mut self.scaling {
            let now_ns = scaling.now_ns();
            scaling.scaler.follow(&scaling.policies, tasks, Reason::Request, now_ns);
        }
    }

    /// Decides, and starts what is missing. What is too much goes with the next turn of the
    /// reaper: a request does not wait for it.
    fn decide(&mut self, cell: &Arc<RevisionCell>, now_ns: u64) {
        let Some(scaling) = &mut self.scaling else { return };
        scaling.due_ns = (now_ns / SECOND_NS + 1) * SECOND_NS;
        let (Some(deployment), Component::Loaded(loaded)) = (&self.deployment, &self.component)
        else {
            return;
        };
        let (loaded, facts) = (Arc::clone(loaded), facts(deployment, loaded, self.task_count()));
        let Some(scaling) = &mut self.scaling else { return };
        let (cpu_ns, memory) = (cell.cpu_ns(), self.tasks.iter().map(|t| t.memory.used()).sum());
        let used_ns = cpu_ns.saturating_sub(scaling.cpu_told_ns);
        scaling.cpu_told_ns = cpu_ns;
        scaling.scaler.window().set_usage(now_ns, used_ns, memory);
        let decided = scaling.scaler.decide(&scaling.policies, &facts, now_ns);
        let wanted = decided.map_or(facts.tasks, |decision| decision.tasks);
        while self.task_count() < wanted {
            self.start_task(cell, Arc::clone(&loaded));
        }
    }

    /// One turn of the reaper of a revision with policies: decides if that is due, and takes away
    /// what was decided to be too much. Ends when nothing can change without a request.
    ///
    /// `idle` is when the revision has been without requests for too long.
    pub(super) fn turn(&mut self, cell: &Arc<RevisionCell>, idle: Instant) -> Reaped {
        let Some(scaling) = &mut self.scaling else { return Reaped::Later(idle, Vec::new()) };
        let now_ns = scaling.now_ns();
        scaling.scaler.window().set_load(now_ns, self.in_flight + self.waiting.len());
        if now_ns >= scaling.due_ns {
            self.decide(cell, now_ns);
        }
        let retired = self.retire_surplus(cell);
        let min = self.deployment.as_ref().map_or(0, |deployment| deployment.scale.min);
        let is_busy = self.in_flight > 0 || !self.waiting.is_empty();
        match &self.scaling {
            Some(scaling) if is_busy || self.task_count() > min => {
                Reaped::Later(scaling.due().min(idle), retired)
            }
            _ => Reaped::Done((retired, Component::Asleep)),
        }
    }

    /// Tasks beyond those that were decided, the emptiest, which finish what they have.
    fn retire_surplus(&mut self, cell: &RevisionCell) -> Vec<Arc<Task>> {
        let (Some(scaling), Some(task)) = (&self.scaling, self.tasks.first()) else {
            return Vec::new();
        };
        let decided = scaling.scaler.tasks().max(self.in_flight.div_ceil(task.concurrency.max(1)));
        let most = decided.max(1) as usize;
        if self.tasks.len() <= most {
            return Vec::new();
        }
        self.tasks.sort_unstable_by_key(|task| std::cmp::Reverse(task.in_flight()));
        self.shrink_to(most, cell)
    }

    /// The revision went down to its minimum because nobody asked for anything.
    pub(super) fn has_idled(&mut self) {
        let tasks = self.task_count();
        if let Some(scaling) = &mut self.scaling {
            let now_ns = scaling.now_ns();
            scaling.scaler.follow(&scaling.policies, tasks, Reason::Idle, now_ns);
            if tasks == 0 {
                scaling.scaler.sleep();
            }
        }
    }

    fn task_count(&self) -> u32 {
        u32::try_from(self.tasks.len()).unwrap_or(u32::MAX)
    }
}

fn facts(deployment: &Deployment, loaded: &Loaded, tasks: u32) -> Facts {
    let limits = &deployment.definition.limits;
    Facts {
        tasks,
        min: deployment.scale.min,
        max: deployment.scale.max,
        concurrency: loaded.concurrency(limits),
        cpu_units: limits.cpu.0,
        memory_bytes: limits.memory.0,
        may_shrink: deployment.may_shrink,
    }
}

impl ScalingView {
    /// A decision in words.
    pub fn why(&self, change: &Change) -> String {
        autoscaler::why(&change.decision.reason, &self.policies)
    }
}

//! One step further, if there is one.

use std::time::Duration;

use crate::model::{
    Failure, Order, Percent, Rollout, Scale, Stage, Strategy, TaskCounts, duration,
};

use super::judge;
use super::observed::Observed;
use super::parts::kept_tasks;
use super::rolling::Bounds;

/// How long a stage may take without anything happening before the deployment has failed: the
/// progress deadline of Knative and Kubernetes.
const PROGRESS_DEADLINE: Duration = Duration::from_secs(600);
/// Steps that follow from each other at one moment, at most: every stage once, with room.
const MOST_STEPS: usize = 16;

/// What becomes of a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advance {
    /// The record as it is to be.
    pub rollout: Rollout,
    /// When time alone changes it next.
    pub wake_at_ms: Option<u64>,
}

/// Decides what follows from what the nodes see of the new revision and the old one.
pub fn advance(
    rollout: &Rollout,
    scale: &Scale,
    new: &Observed,
    old: Option<&Observed>,
    now_ms: u64,
) -> Advance {
    let mut step = Step { rollout: rollout.clone(), scale, new, old, now_ms };
    for _ in 0..MOST_STEPS {
        if !step.take() {
            break;
        }
    }
    if step.rollout != *rollout {
        step.rollout.version = rollout.version + 1;
    }
    let wake_at_ms = step.deadline_ms();
    Advance { rollout: step.rollout, wake_at_ms }
}

struct Step<'a> {
    rollout: Rollout,
    scale: &'a Scale,
    new: &'a Observed,
    old: Option<&'a Observed>,
    now_ms: u64,
}

impl Step<'_> {
    /// Takes one step, or returns that there is none.
    fn take(&mut self) -> bool {
        let is_over = self.rollout.stage.is_over();
        if self.rollout.since_ms == 0 && self.now_ms > 0 && !is_over {
            // It has just begun, or a control plane that starts again counts its stage anew.
            self.rollout.since_ms = self.now_ms;
            return true;
        }
        if let Some(order) = self.rollout.order.take() {
            if !is_over {
                self.obey(order);
            }
            return true;
        }
        if is_over {
            return false;
        }
        if let Some(why) = judge::failure(&self.rollout, self.new, self.old) {
            self.fail(why);
            return true;
        }
        if self.rollout.paused_after_ms.is_some() {
            return false;
        }
        match self.rollout.stage {
            Stage::Preparing => self.prepare(),
            Stage::Shifting { share, tasks } => self.shift(share, tasks),
            Stage::Baking => self.bake(),
            Stage::Completed | Stage::Failed { .. } | Stage::Aborted => false,
        }
    }

    fn obey(&mut self, order: Order) {
        let number = self.rollout.number;
        match (order, self.rollout.paused_after_ms) {
            (Order::Pause, None) => {
                self.rollout.paused_after_ms = Some(self.elapsed_ms());
                self.note(format!("deployment {number} was paused"));
            }
            (Order::Resume, Some(after_ms)) => {
                self.resume(after_ms);
                self.note(format!("deployment {number} was resumed"));
            }
            (Order::Pause, Some(_)) | (Order::Resume, None) => {}
            (Order::Promote, paused) => {
                self.resume(paused.unwrap_or_default());
                self.note(format!("deployment {number} was promoted"));
                if self.rollout.stage != Stage::Preparing {
                    self.finish_stage();
                }
            }
            (Order::Abort, _) => {
                self.enter(Stage::Aborted);
                let who = self.who_serves();
                self.note(format!("deployment {number} was aborted; {who}"));
            }
        }
    }

    fn resume(&mut self, after_ms: u64) {
        if self.rollout.paused_after_ms.take().is_some() {
            self.rollout.since_ms = self.now_ms.saturating_sub(after_ms);
        }
    }

    /// Until the new revision can run, and has the tasks that its first step needs.
    fn prepare(&mut self) -> bool {
        if !self.new.ready {
            return self.give_up_in_time();
        }
        let Some(old) = self.old else {
            self.complete();
            return true;
        };
        if self.rollout.tasks.is_none() {
            // The autoscaler owns the count: the new revision inherits it, not the minimum.
            self.rollout.tasks = Some(self.scale.bound(old.tasks));
            return true;
        }
        let tasks = kept_tasks(self.scale, &self.rollout);
        let first = match self.rollout.policy.strategy {
            // A rolling deployment may have to stop old tasks before it starts new ones.
            Strategy::Rolling { .. } | Strategy::AllAtOnce => 0,
            _ => tasks,
        };
        if self.new.tasks < first {
            return self.give_up_in_time();
        }
        self.rollout.baseline = judge::baseline(self.new, self.old);
        let revision = self.rollout.revision;
        self.note(format!("revision {revision} is ready"));
        self.begin_shifting(tasks);
        true
    }

    fn begin_shifting(&mut self, tasks: u32) {
        match self.rollout.policy.strategy {
            Strategy::Rolling { min_healthy, max_healthy } if tasks > 0 => {
                let counts = Bounds::new(tasks, min_healthy, max_healthy).first();
                self.roll_to(counts);
            }
            Strategy::Canary { percent, .. } | Strategy::Linear { percent, .. } => {
                self.shift_to(percent);
            }
            Strategy::Rolling { .. } | Strategy::BlueGreen | Strategy::AllAtOnce => {
                self.take_all();
            }
        }
    }

    fn shift(&mut self, share: Percent, tasks: Option<TaskCounts>) -> bool {
        if let Some(counts) = tasks {
            return self.roll(counts);
        }
        let (next, step_bake) = match self.rollout.policy.strategy {
            Strategy::Canary { step_bake, .. } => (Percent::ALL, step_bake),
            Strategy::Linear { percent, step_bake } => (share.plus(percent), step_bake),
            _ => (Percent::ALL, Duration::ZERO),
        };
        if !self.has_passed(step_bake) {
            return false;
        }
        match next {
            Percent::ALL => self.take_all(),
            next => self.shift_to(next),
        }
        true
    }

    fn roll(&mut self, counts: TaskCounts) -> bool {
        if self.new.tasks < counts.new.min(self.scale.max) {
            return self.give_up_in_time();
        }
        let Some(bounds) = self.rolling_bounds() else {
            self.take_all();
            return true;
        };
        match bounds.is_done(counts) {
            true => self.take_all(),
            false => self.roll_to(bounds.next(counts)),
        }
        true
    }

    fn rolling_bounds(&self) -> Option<Bounds> {
        match (self.rollout.policy.strategy, self.rollout.tasks) {
            (Strategy::Rolling { min_healthy, max_healthy }, Some(_)) => {
                let tasks = kept_tasks(self.scale, &self.rollout);
                Some(Bounds::new(tasks, min_healthy, max_healthy))
            }
            _ => None,
        }
    }

    /// A step of a rolling deployment. The shares follow the tasks that are there already.
    fn roll_to(&mut self, counts: TaskCounts) {
        let there = self.new.tasks.min(counts.new).max(u32::from(counts.old == 0));
        let share = Percent::ratio(there, there + counts.old);
        self.enter(Stage::Shifting { share, tasks: Some(counts) });
        let revision = self.rollout.revision;
        let TaskCounts { new, old } = counts;
        self.note(format!("revision {revision} goes to {new} tasks, the old one to {old}"));
    }

    fn shift_to(&mut self, share: Percent) {
        self.enter(Stage::Shifting { share, tasks: None });
        let revision = self.rollout.revision;
        self.note(format!("revision {revision} takes {share} of the requests"));
    }

    fn take_all(&mut self) {
        self.enter(Stage::Baking);
        let (revision, bake) = (self.rollout.revision, self.rollout.policy.bake);
        let stays = match (self.rollout.stable, bake.is_zero()) {
            (Some(old), false) => {
                format!("; revision {old} stays ready for {}", duration::format(bake))
            }
            _ => String::new(),
        };
        self.note(format!("revision {revision} takes all requests{stays}"));
    }

    fn bake(&mut self) -> bool {
        if !self.has_passed(self.rollout.policy.bake) {
            return false;
        }
        self.complete();
        true
    }

    /// A person does not want to wait for the stage's time.
    fn finish_stage(&mut self) {
        match self.rollout.stage {
            Stage::Shifting { .. } => self.take_all(),
            Stage::Baking => self.complete(),
            _ => {}
        }
    }

    fn complete(&mut self) {
        self.enter(Stage::Completed);
        let (number, revision) = (self.rollout.number, self.rollout.revision);
        self.note(format!("deployment {number} completed: revision {revision} is in service"));
    }

    fn fail(&mut self, failure: Failure) {
        let goes_back = self.rollout.policy.breaker.rollback && self.rollout.stable.is_some();
        let share = if goes_back { Percent::NONE } else { self.share() };
        self.enter(Stage::Failed { share });
        self.rollout.paused_after_ms = None;
        let who = if goes_back { self.who_serves() } else { "nothing was rolled back".to_owned() };
        let (number, revision) = (self.rollout.number, self.rollout.revision);
        let Failure { code, message } = &failure;
        let event = format!("deployment {number} failed: revision {revision}: {code}: {message}");
        self.note(format!("{event}; {who}"));
        self.rollout.failure = Some(failure);
    }

    fn who_serves(&self) -> String {
        match self.rollout.stable {
            Some(old) => format!("revision {old} has the traffic"),
            None => "there is no earlier revision".to_owned(),
        }
    }

    fn share(&self) -> Percent {
        super::parts::share(&self.rollout)
    }

    fn give_up_in_time(&mut self) -> bool {
        if !self.has_passed(PROGRESS_DEADLINE) {
            return false;
        }
        let waited = duration::format(PROGRESS_DEADLINE);
        let message = format!("it made no progress for {waited}: {}", self.new.message);
        self.fail(judge::Cause::NoProgress.failure(message));
        true
    }

    fn enter(&mut self, stage: Stage) {
        self.rollout.stage = stage;
        self.rollout.since_ms = self.now_ms;
    }

    fn note(&mut self, message: String) {
        self.rollout.note(self.now_ms, message);
    }

    fn elapsed_ms(&self) -> u64 {
        self.now_ms.saturating_sub(self.rollout.since_ms)
    }

    fn has_passed(&self, time: Duration) -> bool {
        u128::from(self.elapsed_ms()) >= time.as_millis()
    }

    fn deadline_ms(&self) -> Option<u64> {
        if self.rollout.stage.is_over() || self.rollout.paused_after_ms.is_some() {
            return None;
        }
        let time = match (self.rollout.stage, self.rollout.policy.strategy) {
            (Stage::Shifting { tasks: None, .. }, Strategy::Canary { step_bake, .. })
            | (Stage::Shifting { tasks: None, .. }, Strategy::Linear { step_bake, .. }) => {
                step_bake
            }
            (Stage::Baking, _) => self.rollout.policy.bake,
            _ => PROGRESS_DEADLINE,
        };
        let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Some(self.rollout.since_ms.saturating_add(time))
    }
}

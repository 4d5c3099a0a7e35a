//! How many tasks a service should have, of what all of its policies ask for.
//!
//! The algorithm is that of Knative's pod autoscaler, with the rules of Application Auto Scaling
//! where there are several policies: out if any asks, in only if all agree.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::{Metric, ScalePolicies, Step, duration};

use super::policy::{Facts, Input, Steps, steps};
use super::window::{Means, Window};

/// Changes that are remembered.
const MOST_CHANGES: usize = 20;
/// How many times fewer tasks one decision leaves at least, as in Knative.
const MOST_DOWN: u32 = 2;
/// How full the tasks that stay would have been with the most requests at once of the last window,
/// in tenths: the utilisation that Knative aims at. Requests that come by chance have peaks, and
/// the next one would start again what the last one did not need.
const MOST_FULL_TENTHS: u64 = 7;

/// Why a service should have as many tasks as it should.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reason {
    /// The load is about right for the tasks that there are.
    Steady,
    /// A target asks for more.
    Target(Input),
    /// A target asks for more over the burst window.
    Burst(Input),
    /// Load rose steeply: nothing is taken away for a whole window.
    AfterBurst,
    /// A step asks for more, or for fewer.
    Step(Step),
    /// Every policy agrees to fewer; the target that leaves most.
    Fewer(Input),
    /// As many requests at once as there were lately need so many.
    Peak(u32),
    /// More would be added, but some were a short while ago.
    OutCooldown,
    /// Some would be taken away, but the number changed a short while ago.
    InCooldown,
    /// Some would be taken away, but a deployment is under way.
    Deploying,
    /// The bounds allow no other number.
    Bounds,
    /// A request found no free place.
    Request,
    /// The service slept, or began.
    Woken,
    /// Nobody asked for anything for the idle time.
    Idle,
}

/// A number of tasks, and why.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    /// When, in nanoseconds since the caller's moment.
    pub at_ns: u64,
    /// Tasks that there were.
    pub before: u32,
    /// Tasks that there should be.
    pub tasks: u32,
    /// Why.
    pub reason: Reason,
}

/// What the policies of a service have seen and decided.
#[derive(Clone, Debug)]
pub struct Scaler {
    window: Window,
    /// What the targets said last.
    inputs: [Option<Input>; 4],
    last: Decision,
    changes: VecDeque<Decision>,
    /// Until when nothing is taken away, and the most tasks that were wanted in that time.
    burst: Option<(u64, u32)>,
    out_ns: Option<u64>,
    changed_ns: Option<u64>,
    stepped_ns: Option<u64>,
    /// Tasks when it was decided last: what requests have started since is a rise.
    settled: u32,
    is_awake: bool,
}

impl Scaler {
    /// A scaler that has seen nothing. With more than one task it takes none away for a whole
    /// window, as Knative does when it starts again: it cannot know yet whether they are needed.
    pub fn new(policies: &ScalePolicies, tasks: u32, now_ns: u64) -> Self {
        let last = Decision { at_ns: now_ns, before: tasks, tasks, reason: Reason::Woken };
        Self {
            window: Window::new(policies.window, now_ns),
            inputs: [None; 4],
            last,
            changes: VecDeque::new(),
            burst: (tasks > 1).then(|| (now_ns + nanos(policies.window), tasks)),
            out_ns: None,
            changed_ns: None,
            stepped_ns: None,
            settled: tasks,
            is_awake: true,
        }
    }

    /// Forgets what it has seen, but not what it decided: a service that sleeps costs no window.
    pub fn sleep(&mut self) {
        self.window = Window::new(Duration::ZERO, 0);
        self.is_awake = false;
        self.inputs = [None; 4];
    }

    /// Whether it counts.
    pub fn is_awake(&self) -> bool {
        self.is_awake
    }

    /// Begins to count anew, of tasks that were started for a request or other bounds.
    pub fn wake(&mut self, policies: &ScalePolicies, tasks: u32, now_ns: u64) {
        let changes = std::mem::take(&mut self.changes);
        let before = self.last.tasks;
        *self = Self { changes, ..Self::new(policies, tasks, now_ns) };
        self.note(Decision { before, ..self.last });
    }

    /// What it has seen.
    pub fn window(&mut self) -> &mut Window {
        &mut self.window
    }

    /// The number of tasks that was decided last.
    pub fn tasks(&self) -> u32 {
        self.last.tasks
    }

    /// What was decided last.
    pub fn last(&self) -> &Decision {
        &self.last
    }

    /// What each target said of it.
    pub fn inputs(&self) -> impl Iterator<Item = &Input> {
        self.inputs.iter().flatten()
    }

    /// The decisions that changed the number, the oldest first.
    pub fn changes(&self) -> impl Iterator<Item = &Decision> {
        self.changes.iter()
    }

    /// A request, or new bounds, have changed the number already. Many requests at once are a
    /// steep rise: the windows have not seen it yet.
    pub fn follow(&mut self, policies: &ScalePolicies, tasks: u32, reason: Reason, now_ns: u64) {
        if tasks == self.last.tasks {
            return;
        }
        if tasks > self.last.tasks {
            self.out_ns = Some(now_ns);
        }
        let mark = u64::from(self.settled.max(1)) * u64::from(policies.burst_threshold);
        let is_steep = reason == Reason::Request && u64::from(tasks) * 100 >= mark;
        match &mut self.burst {
            Some((_, most)) => *most = tasks.max(*most),
            None if is_steep => self.burst = Some((now_ns + nanos(policies.window), tasks)),
            None => {}
        }
        let before = self.last.tasks;
        self.note(Decision { at_ns: now_ns, before, tasks, reason });
    }

    /// Decides. `None` if nothing is known yet: then nothing changes.
    pub fn decide(
        &mut self,
        policies: &ScalePolicies,
        facts: &Facts,
        now_ns: u64,
    ) -> Option<Decision> {
        let stable = self.window.means(policies.window)?;
        let burst = self.window.means(policies.burst)?;
        let (tasks, reason) = self.asked(policies, facts, &stable, &burst, now_ns);
        let bound = tasks.max(facts.min).min(facts.max);
        let reason = if bound == tasks { reason } else { Reason::Bounds };
        let decision = Decision { at_ns: now_ns, before: facts.tasks, tasks: bound, reason };
        if bound > facts.tasks {
            self.out_ns = Some(now_ns);
        }
        if matches!(reason, Reason::Step(_)) {
            self.stepped_ns = Some(now_ns);
        }
        self.settled = bound;
        self.note(decision);
        Some(decision)
    }

    fn note(&mut self, decision: Decision) {
        if decision.before != decision.tasks {
            self.changed_ns = Some(decision.at_ns);
            if self.changes.len() == MOST_CHANGES {
                self.changes.pop_front();
            }
            self.changes.push_back(decision);
        }
        self.last = decision;
    }

    fn asked(
        &mut self,
        policies: &ScalePolicies,
        facts: &Facts,
        stable: &Means,
        burst: &Means,
        now_ns: u64,
    ) -> (u32, Reason) {
        let mut inputs = policies.target.all();
        self.inputs =
            [(); 4].map(|()| inputs.next().map(|target| Input::of(target, facts, stable, burst)));
        let steps = steps(policies, facts, stable);
        self.watch_burst(policies, facts, now_ns);
        match self.out(facts, &steps, policies, now_ns) {
            Some(_) if is_within(self.out_ns, policies.out_cooldown, now_ns) => {
                (facts.tasks, Reason::OutCooldown)
            }
            Some(out) => out,
            None => self.fewer(policies, facts, stable, &steps, now_ns),
        }
    }

    /// A steep rise begins, or goes on.
    fn watch_burst(&mut self, policies: &ScalePolicies, facts: &Facts, now_ns: u64) {
        let needs = self.inputs().map(|input| input.burst_needs).max().unwrap_or(0);
        let mark = u64::from(facts.tasks.max(1)) * u64::from(policies.burst_threshold);
        let most = self.burst.filter(|(until_ns, _)| *until_ns > now_ns).map(|(_, most)| most);
        if u64::from(needs) * 100 >= mark {
            let most = most.unwrap_or(0).max(needs).max(facts.tasks);
            self.burst = Some((now_ns + nanos(policies.window), most));
        } else if most.is_none() {
            self.burst = None;
        } else if let Some((_, most)) = &mut self.burst {
            *most = needs.max(*most);
        }
    }

    /// The most tasks that any policy asks for, if one asks for more than there are.
    fn out(
        &self,
        facts: &Facts,
        steps: &Steps,
        policies: &ScalePolicies,
        now_ns: u64,
    ) -> Option<(u32, Reason)> {
        let targets = self.inputs().map(|input| (input.wants, Reason::Target(*input)));
        let in_burst = self.burst.is_some();
        let bursts = self.inputs().filter(|_| in_burst);
        let bursts = bursts.map(|input| (input.burst_needs, Reason::Burst(*input)));
        let most = self.burst.map(|(_, most)| (most, Reason::AfterBurst));
        let may_step = !is_within(self.stepped_ns, policies.window, now_ns);
        let step = steps.out.filter(|_| may_step).map(|(tasks, step)| (tasks, Reason::Step(step)));
        let all = targets.chain(bursts).chain(step).chain(most);
        // The first of those that ask for most.
        all.filter(|(tasks, _)| *tasks > facts.tasks).fold(None, |most, one| match most {
            Some((tasks, _)) if tasks >= one.0 => most,
            _ => Some(one),
        })
    }

    /// As few tasks as all policies agree to.
    fn fewer(
        &self,
        policies: &ScalePolicies,
        facts: &Facts,
        stable: &Means,
        steps: &Steps,
        now_ns: u64,
    ) -> (u32, Reason) {
        let mut least = (room_for(stable.peak, facts), Reason::Peak(stable.peak));
        let mut raise = |tasks: u32, reason: Reason| {
            if tasks >= least.0 {
                least = (tasks, reason);
            }
        };
        for input in self.inputs() {
            raise(input.wants, Reason::Fewer(*input));
        }
        if let Some((tasks, step)) = steps.leave {
            let waits = is_within(self.stepped_ns, policies.window, now_ns);
            match step.filter(|_| !waits) {
                Some(step) => raise(tasks, Reason::Step(step)),
                None => raise(facts.tasks, Reason::Steady),
            }
        }
        if self.burst.is_some() {
            raise(facts.tasks, Reason::AfterBurst);
        }
        let (tasks, reason) = least;
        let allowed = (facts.tasks / MOST_DOWN).max(1);
        if tasks >= facts.tasks {
            let reason = if self.burst.is_some() { Reason::AfterBurst } else { Reason::Steady };
            (facts.tasks, reason)
        } else if !facts.may_shrink {
            (facts.tasks, Reason::Deploying)
        } else if is_within(self.changed_ns, policies.in_cooldown, now_ns) {
            (facts.tasks, Reason::InCooldown)
        } else {
            (tasks.max(allowed), reason)
        }
    }
}

/// Tasks that such a peak leaves room in.
fn room_for(peak: u32, facts: &Facts) -> u32 {
    let places = u64::from(peak) * 10 / MOST_FULL_TENTHS;
    let tasks = places.div_ceil(u64::from(facts.concurrency.max(1)));
    u32::try_from(tasks.max(1)).unwrap_or(u32::MAX)
}

/// Whether `since_ns` is less than `time` ago.
fn is_within(since_ns: Option<u64>, time: Duration, now_ns: u64) -> bool {
    since_ns.is_some_and(|since_ns| now_ns < since_ns.saturating_add(nanos(time)))
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Reason {
    /// A name for programs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Target(_) => "target",
            Self::Burst(_) => "burst",
            Self::AfterBurst => "after-burst",
            Self::Step(_) => "step",
            Self::Fewer(_) => "fewer",
            Self::Peak(_) => "peak",
            Self::OutCooldown => "out-cooldown",
            Self::InCooldown => "in-cooldown",
            Self::Deploying => "deploying",
            Self::Bounds => "bounds",
            Self::Request => "request",
            Self::Woken => "woken",
            Self::Idle => "idle",
        }
    }
}

/// A reason in words.
pub fn why(reason: &Reason, policies: &ScalePolicies) -> String {
    let over = |input: &Input, window: Duration, value: f64, tasks: u32| {
        let (metric, window) = (input.metric, duration::format(window));
        let (value, one) = (shown(metric, value), shown(metric, input.target));
        format!("{value} over {window} ÷ target {one} → {tasks}")
    };
    match reason {
        Reason::Steady => "the load is about right for the tasks".to_owned(),
        Reason::Target(input) | Reason::Fewer(input) => {
            over(input, policies.window, input.stable, input.wants)
        }
        Reason::Burst(input) => over(input, policies.burst, input.burst, input.burst_needs),
        Reason::AfterBurst => {
            let window = duration::format(policies.window);
            format!("load rose steeply within the last {window}: none is taken away")
        }
        Reason::Step(step) => format!("step {step}"),
        Reason::Peak(peak) => {
            format!("{peak} requests at once were the most of late, and fill tasks to 70%")
        }
        Reason::OutCooldown => "more are wanted, but some were added a short while ago".to_owned(),
        Reason::InCooldown => "fewer would do, but the number changed a short while ago".to_owned(),
        Reason::Deploying => {
            "fewer would do, but a deployment is under way: none is taken away".to_owned()
        }
        Reason::Bounds => "the bounds allow no other number".to_owned(),
        Reason::Request => "a request found no free place".to_owned(),
        Reason::Woken => "tasks were started, and nothing is known of their load yet".to_owned(),
        Reason::Idle => "nobody asked for anything for the idle time".to_owned(),
    }
}

/// The value of a measure as people write it.
fn shown(metric: Metric, value: f64) -> String {
    match metric {
        Metric::InFlight => format!("{value:.1} in flight"),
        Metric::Rps => format!("{value:.1} requests/s"),
        Metric::Cpu => format!("{value:.0} CPU units"),
        Metric::Memory => format!("{:.1} MiB", value / f64::from(1 << 20)),
    }
}

#[cfg(test)]
mod tests;

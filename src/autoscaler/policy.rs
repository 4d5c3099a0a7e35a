//! What each policy asks for, alone.

use crate::model::{Adjust, Metric, ScalePolicies, Step, Threshold};

use super::window::Means;

/// How far the load may be above what the tasks are meant for before more are asked for, and below
/// it before fewer are: the tolerance of Kubernetes' autoscaler, on both sides.
const TOLERANCE: f64 = 0.1;

/// What a service is, apart from its load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Tasks that it has.
    pub tasks: u32,
    /// Its lower bound.
    pub min: u32,
    /// Its upper bound.
    pub max: u32,
    /// Requests that a task serves at once.
    pub concurrency: u32,
    /// CPU units of a task: 1024 are a core.
    pub cpu_units: u32,
    /// Bytes that the instances of a task may hold.
    pub memory_bytes: u64,
    /// Whether tasks may be taken away now.
    pub may_shrink: bool,
}

impl Facts {
    fn bound(&self, tasks: u32) -> u32 {
        tasks.max(self.min).min(self.max)
    }

    /// The measure of the service as a whole, and what one task is meant for at `target`. The
    /// first does not depend on the number of tasks, so that changing it cannot feed back.
    fn totals(&self, metric: Metric, target: u32, means: &Means) -> (f64, f64) {
        let target = f64::from(target);
        match metric {
            Metric::InFlight => (means.load, target.min(f64::from(self.concurrency))),
            Metric::Rps => (means.rps, target),
            Metric::Cpu => (means.cores * 1024.0, f64::from(self.cpu_units) * target / 100.0),
            Metric::Memory => (means.memory_bytes, self.memory_bytes as f64 * target / 100.0),
        }
    }

    /// The measure of one task, as it is written in steps.
    fn per_task(&self, metric: Metric, means: &Means) -> f64 {
        let (total, one) = match metric {
            Metric::InFlight => (means.load, 1.0),
            Metric::Rps => (means.rps, 1.0),
            Metric::Cpu | Metric::Memory => self.totals(metric, 1, means),
        };
        total / one.max(f64::MIN_POSITIVE) / f64::from(self.tasks.max(1))
    }
}

/// What a target asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Input {
    /// What is measured.
    pub metric: Metric,
    /// The service's mean over the stable window.
    pub stable: f64,
    /// The same over the burst window.
    pub burst: f64,
    /// What one task is meant for, in the same unit.
    pub target: f64,
    /// Tasks that it asks for.
    pub wants: u32,
    /// Tasks that the burst window alone would need.
    pub burst_needs: u32,
}

impl Input {
    /// What a target says of these means.
    pub(super) fn of(
        (metric, target): (Metric, u32),
        facts: &Facts,
        stable: &Means,
        burst: &Means,
    ) -> Self {
        let (stable, one) = facts.totals(metric, target, stable);
        let (burst, _) = facts.totals(metric, target, burst);
        let wants = settle(stable, one, facts.tasks);
        Self { metric, stable, burst, target: one, wants, burst_needs: needed(burst, one) }
    }
}

/// Tasks that have this much to do together, when each is meant for `one`.
fn needed(total: f64, one: f64) -> u32 {
    // A sum of seconds is not exact: half a millionth of a task is none.
    let tasks = (total / one.max(f64::MIN_POSITIVE) - 5e-7).ceil();
    (tasks.max(1.0) as u64).try_into().unwrap_or(u32::MAX)
}

/// The number of tasks for a load. The one that there is stays while the load is about right for
/// it; fewer only where they would be under their target, so that the next look does not undo it.
fn settle(total: f64, one: f64, tasks: u32) -> u32 {
    let meant_for = one * f64::from(tasks);
    if total > meant_for * (1.0 + TOLERANCE) {
        return needed(total, one).max(tasks);
    }
    needed(total, one * (1.0 - TOLERANCE)).min(tasks)
}

/// What all steps ask for together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Steps {
    /// Most tasks that a step asks for which adds some, and which step that is.
    pub(super) out: Option<(u32, Step)>,
    /// Tasks that those steps leave which take some away; as many as there are where one of their
    /// measures is not past its mark. `None` where no step takes any.
    pub(super) leave: Option<(u32, Option<Step>)>,
}

pub(super) fn steps(policies: &ScalePolicies, facts: &Facts, means: &Means) -> Steps {
    let mut asked = Steps { out: None, leave: None };
    for metric in Metric::ALL {
        let value = facts.per_task(metric, means);
        let mut left: Option<(u32, Option<Step>)> = None;
        for step in policies.steps.iter().filter(|step| step.metric == metric) {
            let tasks = if is_due(step, value) { adjusted(step, facts) } else { facts.tasks };
            match step.mark {
                Threshold::Above(_) if tasks > asked.out.map_or(facts.tasks, |(most, _)| most) => {
                    asked.out = Some((tasks, *step));
                }
                Threshold::Above(_) => {}
                // Of the steps of one measure the one that goes furthest is the one that is meant.
                Threshold::Below(_) if left.is_none_or(|(least, _)| tasks < least) => {
                    left = Some((tasks, (tasks < facts.tasks).then_some(*step)));
                }
                Threshold::Below(_) => {}
            }
        }
        // Of different measures each has to agree.
        let more = |(tasks, step): (u32, Option<Step>)| match asked.leave {
            Some((most, _)) if most >= tasks => asked.leave,
            _ => Some((tasks, step)),
        };
        asked.leave = left.map_or(asked.leave, more);
    }
    asked
}

fn is_due(step: &Step, value: f64) -> bool {
    match step.mark {
        Threshold::Above(mark) => value > f64::from(mark),
        Threshold::Below(mark) => value < f64::from(mark),
    }
}

/// What a step makes of the number of tasks: it never goes the other way than its mark says.
fn adjusted(step: &Step, facts: &Facts) -> u32 {
    let tasks = facts.tasks;
    let part = |percent: u32| {
        let part = u64::from(tasks) * u64::from(percent) / 100;
        u32::try_from(part.max(1)).unwrap_or(u32::MAX)
    };
    let wanted = match step.adjust {
        Adjust::Add(more) => tasks.saturating_add(more),
        Adjust::Remove(fewer) => tasks.saturating_sub(fewer),
        Adjust::AddPercent(percent) => tasks.saturating_add(part(percent)),
        Adjust::RemovePercent(percent) => tasks.saturating_sub(part(percent)),
        Adjust::Set(exactly) => exactly,
    };
    let wanted = facts.bound(wanted);
    match step.mark {
        Threshold::Above(_) => wanted.max(tasks),
        Threshold::Below(_) => wanted.max(1).min(tasks),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(tasks: u32) -> Facts {
        Facts {
            tasks,
            min: 0,
            max: 100,
            concurrency: 10,
            cpu_units: 512,
            memory_bytes: 1_000,
            may_shrink: true,
        }
    }

    #[test]
    fn targets_are_met_by_the_service_as_a_whole() {
        let means = Means { load: 26.0, peak: 30, rps: 900.0, cores: 2.0, memory_bytes: 2_900.0 };
        for (metric, target, tasks) in [
            (Metric::InFlight, 7, 4),
            // A task never serves more than it can at once.
            (Metric::InFlight, 50, 3),
            (Metric::Rps, 200, 5),
            // 2 cores are 2048 units, and each task is meant for 307.
            (Metric::Cpu, 60, 7),
            (Metric::Memory, 70, 5),
        ] {
            let input = Input::of((metric, target), &facts(1), &means, &means);
            assert_eq!((input.wants, input.burst_needs), (tasks, tasks), "{metric}");
        }
    }

    #[test]
    fn the_number_stays_while_the_load_is_about_right() {
        for (total, tasks, wants) in [
            (70.0, 7, 7),
            (76.9, 7, 7),
            (77.1, 7, 8),
            (64.0, 7, 7),
            (54.1, 7, 7),
            (53.9, 7, 6),
            (0.0, 7, 1),
            (1.0, 1, 1),
        ] {
            assert_eq!(settle(total, 10.0, tasks), wants, "{total} on {tasks}");
        }
    }

    fn step(metric: Metric, mark: Threshold, adjust: Adjust) -> Step {
        Step { metric, mark, adjust }
    }

    #[test]
    fn the_furthest_step_of_a_measure_counts_and_all_measures_have_to_agree() {
        let steps_of = |all: &[Step], tasks: u32, means: Means| {
            let policies = ScalePolicies { steps: all.to_vec(), ..ScalePolicies::default() };
            let asked = steps(&policies, &facts(tasks), &means);
            (asked.out.map(|(tasks, _)| tasks), asked.leave.map(|(tasks, _)| tasks))
        };
        let all = [
            step(Metric::Rps, Threshold::Above(100), Adjust::Add(2)),
            step(Metric::Rps, Threshold::Above(200), Adjust::AddPercent(100)),
            step(Metric::Rps, Threshold::Below(20), Adjust::Remove(1)),
            step(Metric::Rps, Threshold::Below(5), Adjust::RemovePercent(50)),
            step(Metric::Memory, Threshold::Below(50), Adjust::Set(2)),
        ];
        let means = |rps: f64, memory_bytes: f64| Means { rps, memory_bytes, ..Means::default() };
        assert_eq!(steps_of(&all, 4, means(404.0, 4_000.0)), (Some(6), Some(4)));
        assert_eq!(steps_of(&all, 4, means(804.0, 4_000.0)), (Some(8), Some(4)));
        assert_eq!(steps_of(&all, 4, means(60.0, 1_000.0)), (None, Some(3)));
        assert_eq!(steps_of(&all, 4, means(16.0, 1_000.0)), (None, Some(2)));
        assert_eq!(steps_of(&all, 4, means(16.0, 3_000.0)), (None, Some(4)));
        assert_eq!(steps_of(&all[..2], 4, means(0.0, 0.0)), (None, None));
    }
}

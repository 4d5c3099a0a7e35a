//! The arithmetic of rolling deployments, as in ECS.
//!
//! With `desired` tasks, at least ceil(desired × min healthy) of both revisions together stay
//! healthy, and there are at most floor(desired × max healthy) of them.

use crate::model::TaskCounts;

/// The two bounds for so many tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    desired: u32,
    lower: u32,
    upper: u32,
}

impl Bounds {
    /// Rounding can leave no room where the percentages do, such as one task within 100 % and
    /// 150 %: then there is one task more.
    pub(super) fn new(desired: u32, min_healthy: u32, max_healthy: u32) -> Self {
        let of = |percent: u32| u64::from(desired) * u64::from(percent);
        let narrow = |tasks: u64| u32::try_from(tasks).unwrap_or(u32::MAX);
        let lower = narrow(of(min_healthy).div_ceil(100)).min(desired);
        let upper = narrow(of(max_healthy) / 100).max(lower + 1);
        Self { desired, lower, upper }
    }

    /// What the new revision starts with.
    pub(super) fn first(&self) -> TaskCounts {
        self.next(TaskCounts { new: 0, old: self.desired })
    }

    /// The step after one whose tasks are all healthy: old tasks stop as far as the lower bound
    /// allows, then new ones start as far as the upper one does.
    pub(super) fn next(&self, counts: TaskCounts) -> TaskCounts {
        let old = counts.old.min(self.lower.saturating_sub(counts.new));
        let new = self.desired.min(self.upper.saturating_sub(old)).max(counts.new);
        TaskCounts { new, old }
    }

    /// Whether the new revision has taken over.
    pub(super) fn is_done(&self, counts: TaskCounts) -> bool {
        counts.old == 0 && counts.new >= self.desired
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn steps(desired: u32, min: u32, max: u32) -> Vec<(u32, u32)> {
        let bounds = Bounds::new(desired, min, max);
        let mut counts = bounds.first();
        let mut steps = vec![(counts.new, counts.old)];
        while !bounds.is_done(counts) {
            counts = bounds.next(counts);
            steps.push((counts.new, counts.old));
        }
        steps
    }

    #[test]
    fn the_examples_of_ecs() {
        assert_eq!(steps(4, 100, 200), [(4, 4), (4, 0)]);
        assert_eq!(steps(4, 50, 100), [(2, 2), (4, 0)]);
        assert_eq!(steps(4, 100, 150), [(2, 4), (4, 2), (4, 0)]);
        assert_eq!(steps(1, 100, 150), [(1, 1), (1, 0)], "one more than the percentage allows");
        assert_eq!(steps(3, 0, 100), [(3, 0)]);
    }

    proptest! {
        #[test]
        fn the_bounds_hold_and_every_step_makes_progress(
            desired in 1u32..500,
            min in 0u32..=100,
            more in 1u32..=200,
        ) {
            let max = if min == 100 { 100 + more } else { 100.max(min + more) };
            let bounds = Bounds::new(desired, min, max);
            let mut healthy = desired;
            let mut counts = bounds.first();
            for _ in 0..=2 * desired + 2 {
                // Old tasks stop before new ones are healthy; the lower bound holds even then.
                prop_assert!(counts.old + (healthy - healthy.min(counts.old)).min(counts.new)
                    >= bounds.lower.min(desired) || counts.new >= bounds.lower);
                prop_assert!(counts.new + counts.old <= bounds.upper.max(desired));
                if bounds.is_done(counts) {
                    return Ok(());
                }
                healthy = counts.new + counts.old;
                let next = bounds.next(counts);
                prop_assert_ne!(next, counts, "stuck");
                counts = next;
            }
            prop_assert!(false, "never done");
        }
    }
}

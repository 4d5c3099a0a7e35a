//! How many tasks a service needs.
//!
//! This is the node's own half of scaling: it runs inside the bounds of a grant. The functions here
//! decide on the request path, from what is in flight at the moment. Where a service has policies,
//! a [`Scaler`] decides once a second, from what it was pushed.
//!
//! *Invariant:* pure. The caller brings the numbers and the time.

mod decide;
mod policy;
mod schedule;
mod window;

pub use decide::{Decision, Reason, Scaler, why};
pub use policy::{Facts, Input};
pub use schedule::{in_force, next_change};
pub use window::{Means, Window};

use std::time::{Duration, Instant};

use crate::model::Scale;

/// Share of its capacity below which a service gives tasks back, in percent. Well under 100, so
/// that a service whose load hovers at a boundary does not start and stop tasks all the time.
const SHRINK_BELOW_PERCENT: u64 = 50;

/// Tasks that the load needs, within the bounds.
///
/// `load` counts requests in flight and waiting; `concurrency` is what one task serves at once.
pub fn wanted(load: u32, concurrency: u32, scale: &Scale) -> u32 {
    scale.bound(load.div_ceil(concurrency.max(1)))
}

/// Tasks that are still needed when a request has ended: more than [`wanted`], and at least one,
/// because going to zero is the matter of [`idle_until`].
pub fn kept(load: u32, concurrency: u32, scale: &Scale) -> u32 {
    let comfortable = u64::from(concurrency.max(1)) * SHRINK_BELOW_PERCENT;
    let tasks = (u64::from(load) * 100).div_ceil(comfortable.max(1));
    let tasks = u32::try_from(tasks).unwrap_or(u32::MAX);
    scale.bound(tasks.max(1))
}

/// When a service that has been without requests since `idle_since` goes down to `scale.min`.
pub fn idle_until(idle_since: Instant, scale: &Scale) -> Instant {
    idle_since + scale.idle
}

/// How long a request may wait for a service that takes `start` to wake: the bound that was
/// asked for, or 3.5 starts if that is longer, as in Cloud Run.
pub fn longest_wait(asked: Duration, start: Duration) -> Duration {
    asked.max(start * 7 / 2)
}

/// Requests that may wait while every task is busy: ten for each that is served at once, as in
/// Knative's queue proxy, within the bound that was asked for.
pub fn longest_queue(asked: u32, tasks: u32, concurrency: u32) -> u32 {
    asked.min(tasks.saturating_mul(concurrency).saturating_mul(10))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scale(min: u32, max: u32) -> Scale {
        Scale { min, max, idle: Duration::from_secs(60) }
    }

    #[test]
    fn load_is_served_by_as_many_tasks_as_it_fills() {
        assert_eq!(wanted(0, 10, &scale(0, 5)), 0);
        assert_eq!(wanted(1, 10, &scale(0, 5)), 1);
        assert_eq!(wanted(10, 10, &scale(0, 5)), 1);
        assert_eq!(wanted(11, 10, &scale(0, 5)), 2);
        assert_eq!(wanted(1_000, 10, &scale(0, 5)), 5);
        assert_eq!(wanted(0, 10, &scale(2, 5)), 2);
    }

    proptest! {
        #[test]
        fn constant_load_never_flaps(
            load in 0u32..10_000,
            concurrency in 1u32..200,
            max in 1u32..500,
        ) {
            let scale = scale(0, max);
            prop_assert!(kept(load, concurrency, &scale) >= wanted(load, concurrency, &scale));
        }

        #[test]
        fn the_bounds_hold(load: u32, concurrency: u32, min in 0u32..50, more in 1u32..50) {
            let scale = scale(min, min + more);
            for tasks in [wanted(load, concurrency, &scale), kept(load, concurrency, &scale)] {
                prop_assert!((scale.min..=scale.max).contains(&tasks));
            }
        }
    }
}

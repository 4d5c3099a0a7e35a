//! What has to change in the store, decided from the whole of it.
//!
//! A pass has no input but the snapshot: whoever wakes it cannot tell it what to look at. The same
//! snapshot gives the same plan, byte for byte, and a plan applied to its snapshot gives a
//! snapshot for which the plan is empty.
//!
//! *Invariant:* pure. The executor is left no choice.
//!
//! Start reading at [`plan`]; [`check`] is the second opinion on every plan.

mod planner;
mod placement;
mod actions;
mod check;

#[cfg(test)]
mod fixtures;

pub use actions::{Action, Plan, ServicePlan};
pub use check::{Violation, check};
pub use planner::{Now, apply, plan};

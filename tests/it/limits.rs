//! What a task may use, and what happens to those that want more.

mod logs;
mod memory;
mod outside;
mod queue;
mod shares;
mod sizes;
mod threads;

use wharf::model::Limits;

use crate::support::ServiceOptions;

fn limits(change: impl FnOnce(&mut Limits)) -> ServiceOptions {
    let mut options = ServiceOptions::default();
    change(&mut options.limits);
    options
}

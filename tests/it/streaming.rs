//! Bodies on their way: in both directions at once, at the pace of the slower side, and never
//! with an end that they did not have.

mod cut;
mod leaving;
mod pace;
mod trailers;

use std::time::Duration;

use wharf::model::{ByteSize, Limits};

use crate::support::ServiceOptions;

/// Limits that do not end what a test does not want ended.
fn patient(change: impl FnOnce(&mut Limits)) -> ServiceOptions {
    let mut options = ServiceOptions::default();
    options.limits.fuel = u64::MAX / 2;
    options.limits.timeout = Duration::from_secs(120);
    options.limits.request_body = ByteSize::mib(64);
    change(&mut options.limits);
    options
}

//! Connections: how many, how long, and how they end.

mod drain;
mod http2;
mod leaving;
mod slow;
mod stalled;

use std::time::Duration;

use wharf::proxy::ProxyConfig;
use wharf::runtime::ResetPolicy;

use crate::support::{Front, ServiceOptions, guest};

/// A front with `hello`, `echo`, `sleep` and `half` behind it.
async fn front(change: impl FnOnce(&mut ProxyConfig)) -> Front {
    let mut config = ProxyConfig::default();
    change(&mut config);
    let front = Front::start_with(config, ResetPolicy::Auto).await;
    for (name, component) in
        [("hello", "hello"), ("echo", "echo"), ("sleep", "sleep"), ("half", "half-response")]
    {
        let mut options = ServiceOptions::default();
        options.limits.timeout = Duration::from_secs(300);
        options.limits.fuel = u64::MAX / 2;
        front.deploy(name, &guest(component), options).await;
    }
    front
}

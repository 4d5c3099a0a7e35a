//! Makes the routes of grants into the table that the load balancer reads.

use std::sync::Arc;

use crate::model::Grant;
use crate::runtime::{Routes, ServiceCell};

/// Takes out the routes of `old` that `new` does not have, and adds those that are new, in one
/// step that no request sees half done.
pub(super) fn update(
    routes: &Routes,
    old: Option<&Grant>,
    new: Option<&Grant>,
    cell: &Arc<ServiceCell>,
) {
    let old = old.map_or(&[][..], |grant| &grant.routes);
    let new = new.map_or(&[][..], |grant| &grant.routes);
    if old == new {
        return;
    }
    routes.rcu(|current| {
        let mut table = (**current).clone();
        for route in old.iter().filter(|route| !new.contains(route)) {
            table.remove(route, |target| Arc::ptr_eq(target, cell));
        }
        for route in new.iter().filter(|route| !old.contains(route)) {
            // A route that moves may arrive at its new service before it leaves the old one.
            table.insert(route, Arc::clone(cell));
        }
        table
    });
}

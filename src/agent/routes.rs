//! Makes the routes of grants into the table that the load balancer reads.

use std::sync::Arc;

use crate::model::{Grant, RoutePattern, tagged_route};
use crate::runtime::{Routes, ServiceCell, Target};

/// Takes out the routes of `old` that `new` does not have, and adds those that are new, in one
/// step that no request sees half done.
pub(super) fn update(
    routes: &Routes,
    old: Option<&Grant>,
    new: Option<&Grant>,
    service: &Arc<ServiceCell>,
) {
    let old = old.map_or_else(Vec::new, all);
    let new = new.map_or_else(Vec::new, all);
    if old == new {
        return;
    }
    routes.rcu(|current| {
        let mut table = (**current).clone();
        for (route, _) in old.iter().filter(|one| !new.contains(one)) {
            table.remove(route, |target| Arc::ptr_eq(&target.service, service));
        }
        for (route, only) in new.iter().filter(|one| !old.contains(one)) {
            // A route that moves may arrive at its new service before it leaves the old one.
            table.insert(route, Target { service: Arc::clone(service), only: *only });
        }
        table
    });
}

/// Every route of a grant, with the revision that it leads to if it is that of a tag.
fn all(grant: &Grant) -> Vec<(RoutePattern, Option<u64>)> {
    let mut all: Vec<_> = grant.routes.iter().map(|route| (route.clone(), None)).collect();
    for revision in &grant.revisions {
        for tag in &revision.tags {
            let tagged = grant.routes.iter().filter_map(|route| tagged_route(route, tag));
            all.extend(tagged.map(|route| (route, Some(revision.number))));
        }
    }
    all
}

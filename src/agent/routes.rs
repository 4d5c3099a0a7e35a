//! Makes the routes of grants into the table that the load balancer reads.

use std::sync::Arc;

use crate::model::{Grant, RoutePattern, Upstream, tagged_route};
use crate::runtime::{Backend, Routes, ServiceCell, Target};
use crate::upstream::UpstreamCell;

/// A route, and the revision that it leads to if it is that of a tag.
type Route = (RoutePattern, Option<u64>);

/// Puts the routes of a grant in force.
pub(super) fn update(
    routes: &Routes,
    old: Option<&Grant>,
    new: Option<&Grant>,
    service: &Arc<ServiceCell>,
) {
    let (old, new) = (old.map_or_else(Vec::new, all), new.map_or_else(Vec::new, all));
    let lead = |only| Backend::Service { service: Arc::clone(service), only };
    replace(routes, &old, &new, lead, |backend| backend.is_service(service));
}

/// Puts the routes of an upstream in force.
pub(super) fn update_upstream(
    routes: &Routes,
    old: Option<&Upstream>,
    new: Option<&Upstream>,
    cell: &Arc<UpstreamCell>,
) {
    let all = |upstream: &Upstream| -> Vec<Route> {
        upstream.routes.iter().map(|route| (route.clone(), None)).collect()
    };
    let (old, new) = (old.map_or_else(Vec::new, all), new.map_or_else(Vec::new, all));
    let lead = |_| Backend::Upstream(Arc::clone(cell));
    replace(routes, &old, &new, lead, |backend| backend.is_upstream(cell));
}

/// Takes out the routes of `old` that `new` does not have, and adds those that are new, in one
/// step that no request sees half done.
fn replace(
    routes: &Routes,
    old: &[Route],
    new: &[Route],
    lead: impl Fn(Option<u64>) -> Backend,
    is_mine: impl Fn(&Backend) -> bool,
) {
    if old == new {
        return;
    }
    routes.rcu(|current| {
        let mut table = (**current).clone();
        for (route, _) in old.iter().filter(|one| !new.contains(one)) {
            table.remove(route, |target| is_mine(&target.backend));
        }
        for (route, only) in new.iter().filter(|one| !old.contains(one)) {
            // A route that moves may arrive at its new owner before it leaves the old one.
            table.insert(route, Target { backend: lead(*only) });
        }
        table
    });
}

/// Every route of a grant.
fn all(grant: &Grant) -> Vec<Route> {
    let mut all: Vec<_> = grant.routes.iter().map(|route| (route.clone(), None)).collect();
    for revision in &grant.revisions {
        for tag in &revision.tags {
            let tagged = grant.routes.iter().filter_map(|route| tagged_route(route, tag));
            all.extend(tagged.map(|route| (route, Some(revision.number))));
        }
    }
    all
}

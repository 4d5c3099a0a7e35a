//! Makes the routes of grants and upstreams into the table that the load balancer reads.

use std::sync::Arc;

use crate::model::{Grant, Route, RoutePattern, Steering, Upstream, tagged_route};
use crate::runtime::{Backend, LiveRules, Routes, ServiceCell, Target};
use crate::upstream::UpstreamCell;

/// A route, or that of one of the tags of its grant.
#[derive(PartialEq, Eq)]
struct Entry<'r> {
    pattern: RoutePattern,
    /// The revision that a tag leads to.
    only: Option<u64>,
    /// The route whose rules hold.
    of: &'r Route,
    /// Where its requests go, which a tag says by itself.
    steering: Option<&'r Steering>,
}

/// Puts the routes of a grant in force.
pub(super) fn update(
    routes: &Routes,
    old: Option<&Grant>,
    new: Option<&Grant>,
    service: &Arc<ServiceCell>,
) {
    let (old, new) = (old.map_or_else(Vec::new, all), new.map_or_else(Vec::new, all));
    let lead = |only| Backend::Service { service: Arc::clone(service), only };
    replace(routes, &old, &new, lead, |target| target.backend.is_service(service));
}

/// Puts the routes of an upstream in force.
pub(super) fn update_upstream(
    routes: &Routes,
    old: Option<&Upstream>,
    new: Option<&Upstream>,
    cell: &Arc<UpstreamCell>,
) {
    let affinity = |upstream: &Upstream| upstream.policy.affinity.clone();
    let steering = [old, new]
        .map(|upstream| Steering { affinity: upstream.and_then(affinity), ..Steering::default() });
    let old = old.map_or_else(Vec::new, |old| plain(&old.routes, &steering[0]));
    let new = new.map_or_else(Vec::new, |new| plain(&new.routes, &steering[1]));
    let lead = |_| Backend::Upstream(Arc::clone(cell));
    replace(routes, &old, &new, lead, |target| target.backend.is_upstream(cell));
}

/// Takes out the routes of `old` that `new` does not have, and adds those that are new, in one
/// step that no request sees half done. What rate limits have counted stays while they stay.
fn replace(
    routes: &Routes,
    old: &[Entry<'_>],
    new: &[Entry<'_>],
    lead: impl Fn(Option<u64>) -> Backend,
    is_mine: impl Fn(&Target) -> bool,
) {
    if old == new {
        return;
    }
    let nowhere = Steering::default();
    routes.rcu(|current| {
        let mut table = (**current).clone();
        for entry in old.iter().filter(|entry| !new.contains(entry)) {
            table.remove(&entry.pattern, &is_mine);
        }
        for entry in new.iter().filter(|entry| !old.contains(entry)) {
            // The route of a tag comes after the one that it shares the limits of.
            let of = &entry.of.pattern;
            let before = [table.get(of), current.get(of)].into_iter().flatten();
            let before = before.filter(|target| is_mine(target)).find_map(|t| t.rules.as_ref());
            let steering = entry.steering.unwrap_or(&nowhere);
            let rules = LiveRules::of(entry.of, steering, before);
            // A route that moves may arrive at its new owner before it leaves the old one.
            table.insert(&entry.pattern, Target { backend: lead(entry.only), rules });
        }
        table
    });
}

fn plain<'r>(routes: &'r [Route], steering: &'r Steering) -> Vec<Entry<'r>> {
    let steering = Some(steering);
    let entry = |of: &'r Route| Entry { pattern: of.pattern.clone(), only: None, of, steering };
    routes.iter().map(entry).collect()
}

/// Every route of a grant, then those of its tags.
fn all(grant: &Grant) -> Vec<Entry<'_>> {
    let mut all = plain(&grant.routes, &grant.steering);
    for revision in &grant.revisions {
        for tag in &revision.tags {
            let tagged = grant.routes.iter().filter_map(|of| {
                let pattern = tagged_route(&of.pattern, tag)?;
                Some(Entry { pattern, only: Some(revision.number), of, steering: None })
            });
            all.extend(tagged);
        }
    }
    all
}

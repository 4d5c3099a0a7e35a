//! What a manifest changes about upstreams. Pure.

use crate::model::{Name, Upstream, UpstreamPolicy, duration};
use crate::spec::{Manifest, Problem, Problems, UpstreamSpec};
use crate::store::Revision;
use crate::upstream::Trust;

use super::super::dto::{AppliedUpstream, Change};
use super::super::failure::Failure;
use super::decide::describe_routes;
use super::registered::Registered;

#[derive(Debug)]
pub(super) struct DecidedUpstream {
    pub(super) upstream: Upstream,
    pub(super) change: Change,
    pub(super) changes: Vec<String>,
    /// The revision that last changed the record; zero if there was none.
    pub(super) seen: Revision,
}

impl DecidedUpstream {
    pub(super) fn report(&self) -> AppliedUpstream {
        AppliedUpstream {
            name: self.upstream.name.to_string(),
            change: self.change,
            generation: self.upstream.generation,
            changes: self.changes.clone(),
        }
    }
}

/// Services and upstreams share their names: commands and metrics have one for both. Certificates
/// must be some.
pub(super) fn check(manifest: &Manifest, registered: &Registered) -> Result<(), Failure> {
    let problem = |kind: &str, name: &Name, other: &str| {
        let message = format!("{other} has this name already");
        let hint = format!("choose another name, or `wharf delete {name}` first");
        Problem::new(&format!("{kind}.{name}"), message).hint(hint)
    };
    let services = manifest.services.keys();
    let services = services.filter(|name| registered.upstreams.contains_key(*name));
    let upstreams = manifest.upstreams.keys();
    let upstreams = upstreams.filter(|name| registered.services.contains_key(*name));
    let unusable = manifest.upstreams.iter().filter(|(_, spec)| {
        let ca = spec.policy.ca.as_deref();
        ca.is_some_and(|ca| Trust::new(Some(ca)).is_none())
    });
    let unusable = unusable.map(|(name, _)| {
        let message = "these certificates cannot be used";
        let hint = "give certificates of authorities, or self-signed ones, as PEM";
        Problem::new(&format!("upstream.{name}.ca"), message).hint(hint)
    });
    let problems: Vec<Problem> = services
        .map(|name| problem("service", name, "an upstream"))
        .chain(upstreams.map(|name| problem("upstream", name, "a service")))
        .chain(unusable)
        .collect();
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Failure::Manifest(Problems(problems))),
    }
}

pub(super) fn change(name: &Name, spec: &UpstreamSpec, registered: &Registered) -> DecidedUpstream {
    let before = registered.upstreams.get(name);
    let mut upstream = Upstream {
        name: name.clone(),
        routes: spec.routes.clone(),
        targets: spec.targets.clone(),
        policy: spec.policy.clone(),
        generation: before.map_or(1, |(before, _)| before.generation),
    };
    let changes = before.map_or_else(Vec::new, |(before, _)| differences(before, &upstream));
    let change = match before {
        None => Change::Created,
        Some(_) if changes.is_empty() => Change::Unchanged,
        Some(_) => Change::Updated,
    };
    upstream.generation += u64::from(change == Change::Updated);
    let seen = before.map_or(Revision::ZERO, |(_, seen)| *seen);
    DecidedUpstream { upstream, change, changes, seen }
}

/// What differs, in words.
fn differences(before: &Upstream, after: &Upstream) -> Vec<String> {
    let mut changes = members("target", &before.targets, &after.targets);
    let rows = lines(&before.policy).into_iter().zip(lines(&after.policy));
    let changed = rows.filter(|((_, old), (_, new))| old != new);
    changes.extend(changed.map(|((what, old), (_, new))| format!("{what} {old} → {new}")));
    if before.policy.ca != after.policy.ca {
        changes.push("ca".to_owned());
    }
    changes.extend(describe_routes(&before.routes, &after.routes));
    changes
}

fn lines(policy: &UpstreamPolicy) -> [(&'static str, String); 10] {
    let probe = policy.health.as_ref().map_or("none".to_owned(), ToString::to_string);
    [
        ("host", policy.host.as_str().to_owned()),
        ("connect_timeout", duration::format(policy.connect_timeout)),
        ("timeout", duration::format(policy.timeout)),
        ("idle_timeout", duration::format(policy.idle_timeout)),
        ("max_in_flight", policy.max_in_flight.to_string()),
        ("retry.attempts", policy.retry.attempts.to_string()),
        ("retry.budget", policy.retry.budget.to_string()),
        ("eject", format!("{} for {}", policy.eject.failures, duration::format(policy.eject.time))),
        ("health", probe),
        ("affinity", policy.affinity.as_ref().map_or("none".to_owned(), ToString::to_string)),
    ]
}

/// What came and what went of a list, or that its order is another.
fn members<T: PartialEq + ToString>(what: &str, before: &[T], after: &[T]) -> Vec<String> {
    let added = after.iter().filter(|one| !before.contains(one));
    let removed = before.iter().filter(|one| !after.contains(one));
    let added = added.map(|one| format!("{what} + {}", one.to_string()));
    let removed = removed.map(|one| format!("{what} - {}", one.to_string()));
    let mut changes: Vec<String> = added.chain(removed).collect();
    if changes.is_empty() && before != after {
        changes.push(format!("{what} order"));
    }
    changes
}

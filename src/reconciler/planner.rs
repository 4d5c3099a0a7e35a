//! From a snapshot to a plan.

use std::collections::BTreeSet;

use crate::autoscaler;
use crate::model::{
    Grant, GrantedRevision, Mirror, Name, Node, NodeId, Rollout, Service, Snapshot,
};
use crate::rollout::{self, Part};

use super::actions::{Action, Plan, ServicePlan};
use super::placement::{Placement, place};

/// How long a pass trusts the wall clock, which may be set at any moment.
const LOOK_AT_CLOCK_MS: u64 = 60_000;

/// The time, twice, as milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The control plane's clock, which never jumps: stages of deployments go by it.
    pub steady_ms: u64,
    /// The wall clock, which may be set: schedules go by it.
    pub wall_ms: u64,
}

impl From<u64> for Now {
    /// Both clocks show the same.
    fn from(ms: u64) -> Self {
        Self { steady_ms: ms, wall_ms: ms }
    }
}

/// Decides what has to change.
pub fn plan(snapshot: &Snapshot, now: impl Into<Now>) -> Plan {
    let now = now.into();
    let mut plan = Plan::default();
    take_back_grants(snapshot, &mut plan);
    let nodes = snapshot.node_ids();
    for service in snapshot.services.values() {
        let decision = decide(snapshot, &nodes, service, now, &mut plan);
        plan.services.insert(service.name.clone(), decision);
    }
    collect(snapshot, &mut plan);
    plan
}

/// What the snapshot becomes when the plan is carried out. For tests, simulations and `--dry-run`.
pub fn apply(snapshot: &Snapshot, plan: &Plan) -> Snapshot {
    let mut next = snapshot.clone();
    for action in &plan.actions {
        match action {
            Action::PutGrant { grant } => {
                let key = (grant.node.clone(), grant.service.clone());
                next.grants.insert(key, (**grant).clone());
            }
            Action::DeleteGrant { node, service } => {
                next.grants.remove(&(node.clone(), service.clone()));
            }
            Action::PutRollout { rollout } => {
                next.rollouts.insert(rollout.service.clone(), (**rollout).clone());
            }
            Action::DeleteRollout { service } => {
                next.rollouts.remove(service);
            }
            Action::DeleteRevision { service, number } => {
                next.revisions.remove(&(service.clone(), *number));
            }
        }
    }
    next
}

fn take_back_grants(snapshot: &Snapshot, plan: &mut Plan) {
    for (node, service) in snapshot.grants.keys() {
        let wanted = snapshot.services.contains_key(service) && snapshot.nodes.contains_key(node);
        if !wanted {
            let (node, service) = (node.clone(), service.clone());
            plan.actions.push(Action::DeleteGrant { node, service });
        }
    }
}

fn decide(
    snapshot: &Snapshot,
    reporters: &BTreeSet<NodeId>,
    service: &Service,
    now: Now,
    plan: &mut Plan,
) -> ServicePlan {
    let blocked = |why: String| ServicePlan { blocked: Some(why), ..ServicePlan::default() };
    let Some(before) = snapshot.rollouts.get(&service.name) else {
        return blocked("nothing was deployed yet: apply the service again".to_owned());
    };
    let Placement { nodes, leaves, moving, note } = match place(snapshot, &service.name) {
        Ok(placement) => placement,
        Err(why) => return blocked(why),
    };
    let scheduled = on_schedule(service, before, now);
    let (rollout, wake_at_ms) = further(snapshot, reporters, service, &scheduled, now.steady_ms);
    let wake_at_ms = wake_at_ms.into_iter().chain(next_look_ms(service, now)).min();
    let parts = rollout::parts(service, &rollout);
    let missing = parts.iter().find(|part| revision(snapshot, service, part).is_none());
    if let Some(part) = missing {
        return blocked(format!("revision {} is not kept any more", part.revision));
    }
    if rollout != *before {
        plan.actions.push(Action::PutRollout { rollout: Box::new(rollout.clone()) });
    }
    for node in &nodes {
        let grant = grant(snapshot, service, &rollout, &parts, node);
        let key = (grant.node.clone(), grant.service.clone());
        if snapshot.grants.get(&key) != Some(&grant) {
            plan.actions.push(Action::PutGrant { grant: Box::new(grant) });
        }
    }
    plan.actions.extend(
        leaves.iter().map(|node| Action::DeleteGrant {
            node: node.id.clone(),
            service: service.name.clone(),
        }),
    );
    let under_way = moving || !rollout.stage.is_over();
    let nodes = nodes.iter().map(|node| node.id.clone()).collect();
    ServicePlan { nodes, blocked: None, note, under_way, wake_at_ms }
}

/// The deployment with the bounds that the service's schedule puts in force now. The record keeps
/// them, so that whoever reads it sees the same bounds as the nodes.
fn on_schedule(service: &Service, before: &Rollout, now: Now) -> Rollout {
    let scheduled = autoscaler::in_force(&service.schedule, now.wall_ms);
    let mut rollout = before.clone();
    if before.scheduled.as_ref() == scheduled {
        return rollout;
    }
    rollout.scheduled = scheduled.cloned();
    rollout.version += 1;
    let scale = rollout::scale_in_force(service, &rollout);
    let whose = scheduled.map_or("its own".to_owned(), |entry| format!("scheduled, {entry}"));
    let message = format!("bounds are {whose}: {} to {} tasks", scale.min, scale.max);
    rollout.note(now.steady_ms, message);
    rollout
}

/// When the schedule has to be looked at again: when its next entry begins, but soon, because
/// the wall clock may be set meanwhile.
fn next_look_ms(service: &Service, now: Now) -> Option<u64> {
    let next_ms = autoscaler::next_change(&service.schedule, now.wall_ms)?;
    let wait_ms = next_ms.saturating_sub(now.wall_ms).min(LOOK_AT_CLOCK_MS);
    Some(now.steady_ms.saturating_add(wait_ms))
}

fn further(
    snapshot: &Snapshot,
    reporters: &BTreeSet<NodeId>,
    service: &Service,
    rollout: &Rollout,
    now_ms: u64,
) -> (Rollout, Option<u64>) {
    let reports = || snapshot.reports_of(reporters, &service.name);
    let observe = |number: u64| {
        let kept = snapshot.revisions.get(&(service.name.clone(), number));
        rollout::observe(reports(), number, kept.map(|revision| &revision.definition.id))
    };
    let new = observe(rollout.revision);
    let old = rollout.stable.filter(|stable| *stable != rollout.revision);
    let old = old.map(observe);
    let scale = rollout::scale_in_force(service, rollout);
    let next = rollout::advance(rollout, &scale, &new, old.as_ref(), now_ms);
    (next.rollout, next.wake_at_ms)
}

fn revision<'a>(
    snapshot: &'a Snapshot,
    service: &Service,
    part: &Part,
) -> Option<&'a crate::model::Revision> {
    snapshot.revisions.get(&(service.name.clone(), part.revision))
}

fn grant(
    snapshot: &Snapshot,
    service: &Service,
    rollout: &Rollout,
    parts: &[Part],
    node: &Node,
) -> Grant {
    let granted = parts.iter().filter_map(|part| {
        Some(GrantedRevision {
            number: part.revision,
            definition: revision(snapshot, service, part)?.definition.clone(),
            share: part.share,
            tags: part.tags.clone(),
            scale: part.scale,
        })
    });
    let revisions: Vec<GrantedRevision> = granted.collect();
    let surplus = surplus(snapshot, service);
    let is_other = |number: u64| {
        !surplus.contains(&number) && revisions.iter().all(|revision| revision.number != number)
    };
    let others = kept(snapshot, &service.name).filter(|revision| is_other(revision.number));
    let mut kept: Vec<_> = others.map(|revision| revision.definition.manifest).collect();
    kept.sort_unstable();
    kept.dedup();
    Grant {
        node: node.id.clone(),
        service: service.name.clone(),
        generation: rollout.version,
        revisions,
        routes: service.routes.clone(),
        queue: service.queue,
        scaling: service.scaling.clone(),
        drain: service.drain,
        health: service.health.clone(),
        steering: rollout::steering(service, rollout),
        kept,
        watched: !rollout.stage.is_over(),
    }
}

fn kept<'a>(
    snapshot: &'a Snapshot,
    service: &Name,
) -> impl DoubleEndedIterator<Item = &'a crate::model::Revision> + use<'a> {
    let range = (service.clone(), 0)..=(service.clone(), u64::MAX);
    snapshot.revisions.range(range).map(|(_, revision)| revision)
}

/// Revisions beyond those that are kept, the newest first.
fn surplus(snapshot: &Snapshot, service: &Service) -> Vec<u64> {
    let Some(rollout) = snapshot.rollouts.get(&service.name) else { return Vec::new() };
    let named = |number: u64| {
        number == rollout.revision
            || Some(number) == rollout.stable
            || service.traffic.iter().any(|target| target.revision == Some(number))
            || service.mirror.as_ref().and_then(Mirror::revision) == Some(number)
    };
    let numbers = kept(snapshot, &service.name).map(|revision| revision.number);
    let idle = numbers.rev().filter(|number| !named(*number));
    idle.skip(service.deploy.keep as usize).collect()
}

/// Revisions beyond those that are kept, and what is left of services that are gone.
fn collect(snapshot: &Snapshot, plan: &mut Plan) {
    for service in snapshot.services.values() {
        let surplus = surplus(snapshot, service).into_iter();
        plan.actions.extend(
            surplus.map(|number| Action::DeleteRevision { service: service.name.clone(), number }),
        );
    }
    let is_gone = |service: &Name| !snapshot.services.contains_key(service);
    for (service, number) in snapshot.revisions.keys().filter(|(service, _)| is_gone(service)) {
        let (service, number) = (service.clone(), *number);
        plan.actions.push(Action::DeleteRevision { service, number });
    }
    for service in snapshot.rollouts.keys().filter(|service| is_gone(service)) {
        plan.actions.push(Action::DeleteRollout { service: service.clone() });
    }
}

#[cfg(test)]
mod tests;

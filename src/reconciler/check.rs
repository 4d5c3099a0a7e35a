//! A second opinion on every plan, written without looking at how plans are made.
//!
//! Every plan is read with it before it is carried out, in tests and in every node.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Grant, Mirror, Name, Node, NodeId, Percent, Rollout, Service, Snapshot, Stage};

use super::actions::{Action, Plan};
use super::planner::apply;

/// What a plan would break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A node would hold a grant for a service that nobody asked for.
    Orphan(NodeId, Name),
    /// A node would answer other requests, or in another way, than the service asks for.
    Stale(NodeId, Name),
    /// A node would run something else than the revisions that are kept.
    Unknown(NodeId, Name),
    /// A node would not send all requests somewhere.
    Shares(NodeId, Name),
    /// A node would be given bounds that no number of tasks is within.
    Bounds(NodeId, Name),
    /// A node would be given something that it takes for older than what it has.
    Backwards(NodeId, Name),
    /// The last good revision would lose requests to one that has not proved itself, or that has
    /// failed.
    Unproved(NodeId, Name),
    /// A deployment would go back to an earlier stage, or forget where to go back to.
    Rewound(Name),
    /// A revision that is in use would be forgotten.
    Forgotten(Name, u64),
    /// A service would run nowhere, and the plan does not say why.
    Silent(Name),
    /// A service would run on more nodes than the plan says.
    Unexplained(Name),
    /// A node that drains would get a service that it does not have.
    Draining(NodeId, Name),
    /// A service would be taken from a node while none of those that keep it has reported on it.
    Stranded(NodeId, Name),
    /// The plan changes the same grant twice.
    Twice(NodeId, Name),
}

/// The nodes that have each service.
type Holders<'a> = BTreeMap<&'a Name, BTreeSet<&'a NodeId>>;

/// Everything that is wrong with a plan; empty for a good one.
pub fn check(snapshot: &Snapshot, plan: &Plan) -> Vec<Violation> {
    let mut violations = repeated(plan);
    let after = apply(snapshot, plan);
    for ((node, name), grant) in &after.grants {
        let Some(service) = after.services.get(name) else {
            violations.push(Violation::Orphan(node.clone(), name.clone()));
            continue;
        };
        if plan.services.get(name).is_none_or(|decision| decision.blocked.is_some()) {
            continue;
        }
        let before = snapshot.grants.get(&(node.clone(), name.clone()));
        violations.extend(check_grant(&after, service, grant, before));
    }
    for (name, rollout) in &after.rollouts {
        if snapshot.rollouts.get(name).is_some_and(|before| is_rewound(before, rollout)) {
            violations.push(Violation::Rewound(name.clone()));
        }
    }
    let holders = holders(&after);
    violations.extend(forgotten(snapshot, &after, &holders));
    violations.extend(placement(plan, &after, &holders));
    let moved = |action| moved(action, snapshot, &after, &holders);
    violations.extend(plan.actions.iter().filter_map(moved));
    violations
}

fn holders(after: &Snapshot) -> Holders<'_> {
    let mut holders = Holders::new();
    for (node, service) in after.grants.keys() {
        holders.entry(service).or_default().insert(node);
    }
    holders
}

/// What is wrong about where a grant comes, or from where it goes.
fn moved(
    action: &Action,
    before: &Snapshot,
    after: &Snapshot,
    holders: &Holders<'_>,
) -> Option<Violation> {
    match action {
        Action::PutGrant { grant } => {
            let key = (grant.node.clone(), grant.service.clone());
            let node = before.nodes.get(&grant.node);
            let is_new = !before.grants.contains_key(&key);
            let wrong = is_new && node.is_some_and(Node::is_draining);
            wrong.then_some(Violation::Draining(key.0, key.1))
        }
        // Of a service or a node that is gone nobody is to be missed.
        Action::DeleteGrant { node, service }
            if after.services.contains_key(service) && after.nodes.contains_key(node) =>
        {
            let reports =
                |node: &&NodeId| after.statuses.contains_key(&((*node).clone(), service.clone()));
            let stranded = !holders.get(service).into_iter().flatten().any(reports);
            stranded.then(|| Violation::Stranded(node.clone(), service.clone()))
        }
        _ => None,
    }
}

fn check_grant(
    after: &Snapshot,
    service: &Service,
    grant: &Grant,
    before: Option<&Grant>,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut wrong = |what: fn(NodeId, Name) -> Violation| {
        violations.push(what(grant.node.clone(), grant.service.clone()));
    };
    let is_stale = grant.routes != service.routes
        || grant.queue != service.queue
        || grant.scaling != service.scaling
        || grant.drain != service.drain
        || grant.health != service.health
        || grant.steering.affinity != service.affinity
        || grant.steering.mirror != service.mirror
        || grant.steering.marked.len() > service.traffic.len();
    if is_stale {
        wrong(Violation::Stale);
    }
    let is_known = |number: u64| after.revisions.get(&(service.name.clone(), number));
    let known = grant.revisions.iter().all(|granted| {
        is_known(granted.number).is_some_and(|kept| kept.definition == granted.definition)
    });
    let mirror = grant.steering.mirror.as_ref().and_then(Mirror::revision);
    let marked = grant.steering.marked.iter().map(|marked| marked.revision);
    if !known || marked.chain(mirror).any(|number| grant.revision(number).is_none()) {
        wrong(Violation::Unknown);
    }
    if grant.revisions.iter().any(|revision| revision.scale.check().is_err()) {
        wrong(Violation::Bounds);
    }
    let sum: u32 = grant.revisions.iter().map(|revision| revision.share.basis_points()).sum();
    if sum != Percent::ALL.basis_points() {
        wrong(Violation::Shares);
    }
    if before.is_some_and(|before| before != grant && before.generation >= grant.generation) {
        wrong(Violation::Backwards);
    }
    match after.rollouts.get(&service.name) {
        Some(rollout) if service.traffic.is_empty() && is_unproved(rollout, grant) => {
            wrong(Violation::Unproved);
        }
        _ => {}
    }
    violations
}

/// Whether a revision that may have no requests yet, or none any more, would get some.
fn is_unproved(rollout: &Rollout, grant: &Grant) -> bool {
    let Some(stable) = rollout.stable.filter(|stable| *stable != rollout.revision) else {
        return false;
    };
    let share = |number| grant.revision(number).map_or(Percent::NONE, |revision| revision.share);
    match rollout.stage {
        Stage::Preparing | Stage::Aborted => share(stable) != Percent::ALL,
        Stage::Failed { .. } if rollout.policy.breaker.rollback => share(stable) != Percent::ALL,
        _ => false,
    }
}

fn is_rewound(before: &Rollout, after: &Rollout) -> bool {
    let rank = |stage: &Stage| match stage {
        Stage::Preparing => 0,
        Stage::Shifting { .. } => 1,
        Stage::Baking => 2,
        Stage::Completed | Stage::Failed { .. } | Stage::Aborted => 3,
    };
    let same = before.number == after.number
        && before.revision == after.revision
        && before.stable == after.stable;
    let changed = before != after;
    !same
        || rank(&after.stage) < rank(&before.stage)
        || (before.stage.is_over() && before.stage != after.stage)
        || (changed && after.version <= before.version)
}

fn forgotten(before: &Snapshot, after: &Snapshot, holders: &Holders<'_>) -> Vec<Violation> {
    let gone = before.revisions.keys().filter(|key| !after.revisions.contains_key(*key));
    let in_use = |(service, number): &&(Name, u64)| {
        let is_granted = |node: &&NodeId| {
            let grant = after.grants.get(&((*node).clone(), service.clone()));
            grant.is_some_and(|grant| grant.revision(*number).is_some())
        };
        holders.get(service).into_iter().flatten().any(is_granted)
            || after.services.contains_key(service)
                && after.rollouts.get(service).is_some_and(|rollout| {
                    rollout.revision == *number || rollout.stable == Some(*number)
                })
    };
    gone.filter(in_use)
        .map(|(service, number)| Violation::Forgotten(service.clone(), *number))
        .collect()
}

fn placement(plan: &Plan, after: &Snapshot, holders: &Holders<'_>) -> Vec<Violation> {
    let mut violations = Vec::new();
    let nowhere = BTreeSet::new();
    for name in after.services.keys() {
        let granted = holders.get(name).unwrap_or(&nowhere);
        match plan.services.get(name) {
            None => violations.push(Violation::Silent(name.clone())),
            Some(decision) if decision.blocked.is_some() => {}
            Some(decision) if decision.nodes.is_empty() => {
                violations.push(Violation::Silent(name.clone()));
            }
            Some(decision) if *granted != decision.nodes.iter().collect() => {
                violations.push(Violation::Unexplained(name.clone()));
            }
            Some(_) => {}
        }
    }
    violations
}

fn repeated(plan: &Plan) -> Vec<Violation> {
    let mut seen = BTreeSet::new();
    let keys = plan.actions.iter().filter_map(|action| match action {
        Action::PutGrant { grant } => Some((&grant.node, &grant.service)),
        Action::DeleteGrant { node, service } => Some((node, service)),
        _ => None,
    });
    keys.filter(|key| !seen.insert(*key))
        .map(|(node, service)| Violation::Twice(node.clone(), service.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::*;
    use super::*;
    use crate::model::{NodeStatus, Probe};
    use crate::reconciler::plan;

    #[test]
    fn a_plan_that_forgets_or_repeats_is_found_out() {
        let snapshot = snapshot(&["local"], &[("hello", 1, 1)]);
        assert_eq!(check(&snapshot, &Plan::default()), [Violation::Silent(name("hello"))]);
        let mut twice = plan(&snapshot, 0);
        twice.actions.push(twice.actions[0].clone());
        assert_eq!(check(&snapshot, &twice), [Violation::Twice(name("local"), name("hello"))]);
        let mut promised = plan(&snapshot, 0);
        promised.actions.clear();
        assert_eq!(check(&snapshot, &promised), [Violation::Unexplained(name("hello"))]);
        let mut gone = super::apply(&snapshot, &plan(&snapshot, 0));
        gone.services.clear();
        let orphan = Violation::Orphan(name("local"), name("hello"));
        assert_eq!(check(&gone, &Plan::default()), [orphan]);
    }

    #[test]
    fn a_grant_that_is_wrong_is_found_out() {
        let snapshot = snapshot(&["local"], &[("hello", 1, 1)]);
        let with = |change: fn(&mut Grant)| {
            let mut plan = plan(&snapshot, 0);
            let Action::PutGrant { grant } = &mut plan.actions[0] else { panic!("a grant") };
            change(grant);
            check(&snapshot, &plan)
        };
        let (node, service) = (name("local"), name("hello"));
        let lost = with(|grant| grant.revisions[0].share = Percent::whole(99));
        assert_eq!(lost, [Violation::Shares(node.clone(), service.clone())]);
        let other = with(|grant| grant.revisions[0].number = 7);
        assert_eq!(other, [Violation::Unknown(node.clone(), service.clone())]);
        let deeper = with(|grant| grant.queue.depth += 1);
        assert_eq!(deeper, [Violation::Stale(node.clone(), service.clone())]);
        let asked = with(|grant| {
            grant.health.liveness = Some(Probe::new("/".parse().expect("a path")));
        });
        assert_eq!(asked, [Violation::Stale(node, service)]);
    }

    #[test]
    fn a_node_that_drains_and_a_service_that_is_left_are_found_out() {
        let mut now = snapshot(&["a", "b"], &[("hello", 1, 1)]);
        let given = plan(&now, 0);
        now.nodes.get_mut("a").expect("there").status = NodeStatus::Draining;
        let (node, service) = (name("a"), name("hello"));
        assert_eq!(check(&now, &given), [Violation::Draining(node.clone(), service.clone())]);
        let mut now = super::apply(&now, &given);
        assert_eq!(check(&now, &given), [], "what it has may change");
        let mut left = plan(&now, 0);
        now = super::apply(&now, &left);
        left.actions = vec![Action::DeleteGrant { node: node.clone(), service: service.clone() }];
        left.services.get_mut("hello").expect("there").nodes = vec![name("b")];
        assert_eq!(check(&now, &left), [Violation::Stranded(node, service)]);
    }

    #[test]
    fn a_deployment_that_goes_back_is_found_out() {
        let before = snapshot(&["local"], &[("hello", 1, 1)]);
        let mut rewound = plan(&before, 0);
        let mut rollout = before.rollouts["hello"].clone();
        rollout.stage = Stage::Preparing;
        rewound.actions.insert(0, Action::PutRollout { rollout: Box::new(rollout) });
        assert!(check(&before, &rewound).contains(&Violation::Rewound(name("hello"))));
    }
}

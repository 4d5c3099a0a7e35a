//! From a snapshot to a plan.

use crate::model::{Grant, Node, Service, Snapshot};

use super::actions::{Action, Plan, ServicePlan};

/// Decides what has to change.
pub fn plan(snapshot: &Snapshot) -> Plan {
    let mut plan = Plan::default();
    take_back_grants(snapshot, &mut plan);
    for service in snapshot.services.values() {
        let decision = place(snapshot, service, &mut plan);
        plan.services.insert(service.name.clone(), decision);
    }
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

fn place(snapshot: &Snapshot, service: &Service, plan: &mut Plan) -> ServicePlan {
    let blocked = |why: String| ServicePlan { nodes: Vec::new(), blocked: Some(why) };
    let Some(definition) = snapshot.definitions.get(&service.task) else {
        return blocked(format!("task definition {} is not registered", service.task));
    };
    let Some(node) = choose_node(snapshot, service) else {
        return blocked("no node has registered itself".to_owned());
    };
    let grant = Grant {
        node: node.id.clone(),
        service: service.name.clone(),
        generation: service.generation,
        definition: definition.clone(),
        routes: service.routes.clone(),
        scale: service.scale,
        queue: service.queue,
    };
    let key = (grant.node.clone(), grant.service.clone());
    if snapshot.grants.get(&key) != Some(&grant) {
        plan.actions.push(Action::PutGrant { grant: Box::new(grant) });
    }
    ServicePlan { nodes: vec![node.id.clone()], blocked: None }
}

/// The node that has the service keeps it; a new service goes to the first node by name.
fn choose_node<'a>(snapshot: &'a Snapshot, service: &Service) -> Option<&'a Node> {
    let holder = snapshot
        .nodes
        .values()
        .find(|node| snapshot.grants.contains_key(&(node.id.clone(), service.name.clone())));
    holder.or_else(|| snapshot.nodes.values().next())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::check;
    use super::super::check::fixtures::*;
    use super::*;

    #[test]
    fn a_service_gets_one_grant_and_then_rests() {
        let snapshot = snapshot(&["local"], &[("hello", 1, 1)]);
        let first = plan(&snapshot);
        assert_eq!(first.actions.len(), 1);
        assert!(check(&snapshot, &first).is_empty());
        assert!(plan(&apply(&snapshot, &first)).is_empty());
    }

    #[test]
    fn what_is_not_wanted_any_more_is_taken_back() {
        let mut snapshot = snapshot(&["local"], &[("hello", 1, 1), ("other", 1, 1)]);
        snapshot = apply(&snapshot, &plan(&snapshot));
        snapshot.services.remove("hello");
        let next = plan(&snapshot);
        let (node, service) = (name("local"), name("hello"));
        assert_eq!(next.actions, [Action::DeleteGrant { node, service }]);
    }

    #[test]
    fn a_plan_says_what_is_missing() {
        let without_nodes = plan(&snapshot(&[], &[("hello", 1, 1)]));
        let why = without_nodes.services["hello"].blocked.as_deref();
        assert_eq!(why, Some("no node has registered itself"));
        let mut snapshot = snapshot(&["local"], &[("hello", 1, 1)]);
        snapshot.definitions.clear();
        let why = plan(&snapshot).services["hello"].blocked.clone();
        assert_eq!(why.as_deref(), Some("task definition hello:1 is not registered"));
    }

    proptest! {
        #[test]
        fn plans_pass_the_checker_and_converge(
            nodes in prop::collection::vec("[a-c]", 0..4),
            services in prop::collection::vec(("[a-e]", 1u32..4, 1u64..9), 0..6),
            stale in prop::collection::vec(("[a-e]", 1u32..4, 1u64..9), 0..6),
        ) {
            let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
            let with = |services: &[(String, u32, u64)]| {
                let services: Vec<_> =
                    services.iter().map(|(name, r, g)| (name.as_str(), *r, *g)).collect();
                snapshot(&nodes, &services)
            };
            let before = with(&stale);
            let mut now = with(&services);
            now.grants = apply(&before, &plan(&before)).grants;
            let decided = plan(&now);
            prop_assert_eq!(check(&now, &decided), vec![]);
            prop_assert_eq!(&decided, &plan(&now));
            prop_assert!(plan(&apply(&now, &decided)).is_empty());
        }
    }
}

//! A second opinion on every plan, written without looking at how plans are made.
//!
//! Every plan is read with it before it is carried out, in tests and in every node.

use std::collections::BTreeSet;

use crate::model::{Name, NodeId, Snapshot};

use super::actions::{Action, Plan};
use super::planner::apply;

/// What a plan would break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A node would hold a grant for a service that nobody asked for.
    Orphan(NodeId, Name),
    /// A node would run something else than the service asks for.
    Stale(NodeId, Name),
    /// A service would run nowhere, and the plan does not say why.
    Silent(Name),
    /// A service would run on more nodes than the plan says.
    Unexplained(Name),
    /// The plan changes the same grant twice.
    Twice(NodeId, Name),
}

/// Everything that is wrong with a plan; empty for a good one.
pub fn check(snapshot: &Snapshot, plan: &Plan) -> Vec<Violation> {
    let mut violations = repeated(plan);
    let after = apply(snapshot, plan);
    for ((node, name), grant) in &after.grants {
        let Some(service) = after.services.get(name) else {
            violations.push(Violation::Orphan(node.clone(), name.clone()));
            continue;
        };
        let placeable = plan.services.get(name).is_some_and(|decision| decision.blocked.is_none());
        let same = grant.generation == service.generation
            && grant.definition.id == service.task
            && grant.routes == service.routes
            && grant.scale == service.scale;
        if placeable && !same {
            violations.push(Violation::Stale(node.clone(), name.clone()));
        }
    }
    for name in after.services.keys() {
        let granted = after.grants.keys().filter(|(_, service)| service == name);
        let granted: BTreeSet<&NodeId> = granted.map(|(node, _)| node).collect();
        match plan.services.get(name) {
            None => violations.push(Violation::Silent(name.clone())),
            Some(decision) if decision.blocked.is_some() => {}
            Some(decision) if decision.nodes.is_empty() => {
                violations.push(Violation::Silent(name.clone()));
            }
            Some(decision) if granted != decision.nodes.iter().collect() => {
                violations.push(Violation::Unexplained(name.clone()));
            }
            Some(_) => {}
        }
    }
    violations
}

fn repeated(plan: &Plan) -> Vec<Violation> {
    let mut seen = BTreeSet::new();
    let keys = plan.actions.iter().map(|action| match action {
        Action::PutGrant { grant } => (&grant.node, &grant.service),
        Action::DeleteGrant { node, service } => (node, service),
    });
    keys.filter(|key| !seen.insert(*key))
        .map(|(node, service)| Violation::Twice(node.clone(), service.clone()))
        .collect()
}

#[cfg(test)]
pub(super) mod fixtures {
    use std::collections::BTreeMap;

    use registry::Digest;

    use crate::model::*;

    pub(crate) fn name(text: &str) -> Name {
        text.parse().expect("a name")
    }

    /// A store with these nodes and services; a service is its name, its task's revision and its
    /// generation.
    pub(crate) fn snapshot(nodes: &[&str], services: &[(&str, u32, u64)]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for node in nodes {
            let capacity =
                Capacity { cpu: CpuUnits(2_048), memory: ByteSize::gib(1), instances: 100 };
            let node = Node { id: name(node), capacity, version: "0.1.0".to_owned() };
            snapshot.nodes.insert(node.id.clone(), node);
        }
        for (service, revision, generation) in services {
            let id = TaskDefinitionId { family: name(service), revision: *revision };
            let definition = TaskDefinition {
                id: id.clone(),
                image: "example.com/hello:1".parse().expect("a reference"),
                manifest: Digest::of(service.as_bytes()),
                env: BTreeMap::new(),
                limits: Limits::default(),
                registered_at_ms: 0,
            };
            snapshot.definitions.insert(id.clone(), definition);
            let service = Service {
                name: name(service),
                task: id,
                routes: Vec::new(),
                scale: Scale::default(),
                queue: QueueBounds::default(),
                generation: *generation,
            };
            snapshot.services.insert(service.name.clone(), service);
        }
        snapshot
    }
}

#[cfg(test)]
mod tests {
    use super::fixtures::*;
    use super::*;
    use crate::reconciler::plan;

    #[test]
    fn a_plan_that_forgets_or_repeats_is_found_out() {
        let snapshot = snapshot(&["local"], &[("hello", 1, 1)]);
        assert_eq!(check(&snapshot, &Plan::default()), [Violation::Silent(name("hello"))]);
        let mut twice = plan(&snapshot);
        twice.actions.push(twice.actions[0].clone());
        assert_eq!(check(&snapshot, &twice), [Violation::Twice(name("local"), name("hello"))]);
        let mut promised = plan(&snapshot);
        promised.actions.clear();
        assert_eq!(check(&snapshot, &promised), [Violation::Unexplained(name("hello"))]);
        let mut stale = plan(&snapshot);
        if let Action::PutGrant { grant } = &mut stale.actions[0] {
            grant.generation = 9;
        }
        assert_eq!(check(&snapshot, &stale), [Violation::Stale(name("local"), name("hello"))]);
        let mut gone = super::apply(&snapshot, &plan(&snapshot));
        gone.services.clear();
        let orphan = Violation::Orphan(name("local"), name("hello"));
        assert_eq!(check(&gone, &Plan::default()), [orphan]);
    }
}

//! Snapshots for tests.

use std::collections::BTreeMap;

use registry::Digest;

use crate::model::*;
use crate::rollout;

pub(crate) fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

pub(crate) fn definition(service: &str, revision: u32) -> TaskDefinition {
    TaskDefinition {
        id: TaskDefinitionId { family: name(service), revision },
        image: "example.com/hello:1".parse().expect("a reference"),
        manifest: Digest::of(format!("{service}:{revision}").as_bytes()),
        env: BTreeMap::new(),
        limits: Limits::default(),
        role: Role::default(),
        registered_at_ms: 0,
    }
}

/// A store with these nodes and services; a service is its name, the number of its revision,
/// which was deployed to its end, and its generation.
pub(crate) fn snapshot(nodes: &[&str], services: &[(&str, u32, u64)]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for node in nodes {
        let capacity = Capacity { cpu: CpuUnits(2_048), memory: ByteSize::gib(1), instances: 100 };
        let status = NodeStatus::Active;
        let node = Node { id: name(node), status, capacity, version: "0.1.0".to_owned() };
        snapshot.nodes.insert(node.id.clone(), node);
    }
    for (service, revision, generation) in services {
        let definition = definition(service, *revision);
        let service = Service {
            name: name(service),
            task: definition.id.clone(),
            routes: Vec::new(),
            scale: Scale::default(),
            scaling: ScalePolicies::default(),
            schedule: Vec::new(),
            queue: QueueBounds::default(),
            drain: Service::DEFAULT_DRAIN,
            health: Health::default(),
            deploy: DeployPolicy::default(),
            traffic: Vec::new(),
            affinity: None,
            mirror: None,
            generation: *generation,
            revisions: (*revision).into(),
        };
        deploy(&mut snapshot, &service, definition, DeployPolicy::default());
        if let Some(rollout) = snapshot.rollouts.get_mut(&service.name) {
            rollout.stage = Stage::Completed;
            rollout.version = *generation;
        }
        snapshot.services.insert(service.name.clone(), service);
    }
    snapshot
}

/// Begins the deployment of a definition as the API does.
pub(crate) fn deploy(
    snapshot: &mut Snapshot,
    service: &Service,
    definition: TaskDefinition,
    policy: DeployPolicy,
) {
    let number = definition.id.revision.into();
    let request = rollout::Request {
        service: service.name.clone(),
        revision: number,
        task: definition.id.to_string(),
        policy,
        now_ms: 0,
        floor: 0,
        anew: false,
    };
    let rollout = rollout::begin(snapshot.rollouts.get(&service.name), request);
    let service = service.name.clone();
    let revision = Revision { service: service.clone(), number, definition, created_at_ms: 0 };
    snapshot.revisions.insert((service.clone(), number), revision);
    snapshot.rollouts.insert(service, rollout);
}

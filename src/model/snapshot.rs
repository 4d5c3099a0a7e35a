//! Everything that a reconcile pass looks at.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Grant, GrantStatus, Name, Node, NodeId, Revision, Rollout, Service, TaskDefinition,
    TaskDefinitionId,
};

/// The store's content at one revision. Ordered maps, so that the same content gives the same
/// plan, byte for byte.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Registered task definitions.
    pub definitions: BTreeMap<TaskDefinitionId, TaskDefinition>,
    /// Services as their owners want them.
    pub services: BTreeMap<Name, Service>,
    /// Revisions that are kept, by service and number.
    pub revisions: BTreeMap<(Name, u64), Revision>,
    /// The deployment of each service that is under way, or was last.
    pub rollouts: BTreeMap<Name, Rollout>,
    /// Nodes that registered themselves.
    pub nodes: BTreeMap<NodeId, Node>,
    /// Grants that are in force.
    pub grants: BTreeMap<(NodeId, Name), Grant>,
    /// What nodes say about them.
    pub statuses: BTreeMap<(NodeId, Name), GrantStatus>,
}

impl Snapshot {
    /// Every node that something is known of, registered or not.
    pub fn node_ids(&self) -> BTreeSet<NodeId> {
        let granted = self.grants.keys().map(|(node, _)| node);
        let reported = self.statuses.keys().map(|(node, _)| node);
        let all: BTreeSet<&NodeId> = self.nodes.keys().chain(granted).chain(reported).collect();
        all.into_iter().cloned().collect()
    }

    /// What these nodes say about a service. There are few nodes and many services: to look
    /// through all statuses for each service would take a time that grows with their square.
    pub fn reports_of<'a>(
        &'a self,
        nodes: &'a BTreeSet<NodeId>,
        service: &'a Name,
    ) -> impl Iterator<Item = &'a GrantStatus> {
        nodes.iter().filter_map(|node| self.statuses.get(&(node.clone(), service.clone())))
    }
}

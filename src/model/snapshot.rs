//! Everything that a reconcile pass looks at.

use std::collections::BTreeMap;

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

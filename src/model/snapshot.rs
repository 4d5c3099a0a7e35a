//! Everything that a reconcile pass looks at.

use std::collections::BTreeMap;

use super::{Grant, Name, Node, NodeId, Service, TaskDefinition, TaskDefinitionId};

/// The store's content at one revision. Ordered maps, so that the same content gives the same
/// plan, byte for byte.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Registered task definitions.
    pub definitions: BTreeMap<TaskDefinitionId, TaskDefinition>,
    /// Services as their owners want them.
    pub services: BTreeMap<Name, Service>,
    /// Nodes that registered themselves.
    pub nodes: BTreeMap<NodeId, Node>,
    /// Grants that are in force.
    pub grants: BTreeMap<(NodeId, Name), Grant>,
}

//! Nodes.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model;

/// A node as it registered itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Node {
    /// Its name.
    pub id: String,
    /// `ACTIVE`, or `DRAINING`: it gets no new services.
    pub status: NodeStatus,
    /// Wharf's version on it.
    pub version: String,
    /// Allocatable CPU units; 1024 are one core.
    pub cpu: u32,
    /// Memory for the instances of all tasks together.
    #[schema(example = "18GiB")]
    pub memory: String,
    /// Instances that can live at once.
    pub instances: u32,
    /// How it is now; only of the node that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Live>,
}

/// Whether a node gets new services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum NodeStatus {
    /// It does.
    Active,
    /// It does not, and its clients are told to go elsewhere.
    Draining,
}

impl From<model::NodeStatus> for NodeStatus {
    fn from(status: model::NodeStatus) -> Self {
        match status {
            model::NodeStatus::Active => Self::Active,
            model::NodeStatus::Draining => Self::Draining,
        }
    }
}

impl std::fmt::Display for NodeStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Active => model::NodeStatus::Active.name(),
            Self::Draining => model::NodeStatus::Draining.name(),
        })
    }
}

/// What a node holds at the moment, and how it was sized.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Live {
    /// Connections of clients of its load balancer.
    pub connections: u64,
    /// Requests that are answered or wait now.
    pub in_flight: u64,
    /// Instances that live now.
    pub instances: u64,
    /// Instances that can live at once.
    pub slots: u32,
    /// What bounded `slots`.
    pub slots_because: String,
    /// Components in memory.
    pub loaded: u32,
    /// Components that can be in memory at once.
    pub loaded_max: u32,
    /// Memory that instances hold, in bytes.
    pub memory_used_bytes: u64,
    /// Memory that they may hold, in bytes.
    pub memory_max_bytes: u64,
    /// How memory is made clean between two instances: `fast` or `safe`.
    pub reset: String,
    /// Why not otherwise.
    pub reset_because: String,
    /// Why the fast reset is not safe any more, if something changed since the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_hazard: Option<String>,
    /// Compilations since the start.
    pub compiles: u64,
    /// Components loaded since the start.
    pub loads: u64,
}

/// Which Wharf answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Version {
    /// Wharf's version.
    pub version: String,
    /// wasmtime's version.
    pub wasmtime: String,
    /// The node that answers.
    pub node: String,
    /// Whether it serves.
    pub ready: bool,
}

/// Whether the node is well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `ok`.
    pub status: String,
}

impl From<&model::Node> for Node {
    fn from(node: &model::Node) -> Self {
        Self {
            id: node.id.to_string(),
            status: node.status.into(),
            version: node.version.clone(),
            cpu: node.capacity.cpu.0,
            memory: node.capacity.memory.to_string(),
            instances: node.capacity.instances,
            live: None,
        }
    }
}

//! The machines that run tasks.

use serde::{Deserialize, Serialize};

use super::{ByteSize, CpuUnits, NodeId};

/// What a node can give to tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// Allocatable CPU units; 1024 are one core.
    pub cpu: CpuUnits,
    /// Memory for the instances of all tasks together.
    pub memory: ByteSize,
    /// Instances that can live at once.
    pub instances: u32,
}

/// Whether a node takes services that it does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum NodeStatus {
    /// It takes what it is given.
    #[default]
    Active,
    /// It gets nothing new, and what it has goes to other nodes as soon as they serve it.
    Draining,
}

/// A node as it registered itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub id: NodeId,
    /// What its operator asked of it; it outlives the process.
    #[serde(default, skip_serializing_if = "NodeStatus::is_active")]
    pub status: NodeStatus,
    /// What it can give.
    pub capacity: Capacity,
    /// Wharf's version on it.
    pub version: String,
}

impl NodeStatus {
    /// As ECS and the API write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Draining => "DRAINING",
        }
    }

    /// Whether it takes what it is given.
    pub fn is_active(&self) -> bool {
        *self == Self::Active
    }
}

impl Node {
    /// Whether it gets nothing new.
    pub fn is_draining(&self) -> bool {
        self.status == NodeStatus::Draining
    }
}

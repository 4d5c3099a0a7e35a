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

/// A node as it registered itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub id: NodeId,
    /// What it can give.
    pub capacity: Capacity,
    /// Wharf's version on it.
    pub version: String,
}

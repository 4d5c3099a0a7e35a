//! What the API sends and takes, as it stands in JSON. The CLI prints the same objects.
//!
//! *Invariant:* fields are added, never renamed or removed: scripts read them.

mod applied;
mod logs;
mod node;
mod rollout;
mod scaling;
mod service;
mod task;
mod top;
mod upstream;

pub use applied::{Applied, AppliedService, AppliedTask, AppliedUpstream, Change, ManifestProblem};
pub use logs::{LogEntry, LogGap, LogLine};
pub use node::{Health, Live, Node, NodeStatus, Version};
pub use rollout::{Event, Revision, Rollout, RolloutAction, RolloutOrder, Status};
pub use scaling::{Scaling, ScalingChange, ScalingInput, Scheduled};
pub use service::{
    Compile, Deleted, Pull, Queue, Scale, ScaleChange, Service, ServiceDetail, ServiceState, Stats,
};
pub use task::{Limits, Task, TaskDefinition};
pub use top::{Top, TopEntry, TopKind, TopNode};
pub use upstream::{TargetState, Upstream, UpstreamDetail, UpstreamTarget};

//! What the control plane gives a node for a service, and what the node says of it.

use serde::{Deserialize, Serialize};

use super::{Name, NodeId, QueueBounds, RoutePattern, Scale, TaskDefinition, TaskDefinitionId};

/// A node's permission to run tasks of a service.
///
/// It carries everything that the node needs, so that a node that is cut off from the store goes
/// on serving.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The node that may run the tasks.
    pub node: NodeId,
    /// The service that they belong to.
    pub service: Name,
    /// The service's generation when the grant was made; an agent refuses an older one.
    pub generation: u64,
    /// What to run.
    pub definition: TaskDefinition,
    /// Which requests it answers.
    pub routes: Vec<RoutePattern>,
    /// How many tasks, on this node. `min` 0 is a *dormant* place: the node may start a task by
    /// itself when a request arrives.
    pub scale: Scale,
    /// How requests wait.
    pub queue: QueueBounds,
}

/// How far a node is with a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GrantPhase {
    /// The image is being fetched.
    Pulling,
    /// The component waits for the compiler or is in it.
    Compiling,
    /// Requests are served; tasks start when they arrive.
    Ready,
    /// The definition cannot run; an earlier one, if there was one, goes on serving.
    Failed,
}

/// What a node reports about a grant. Written at transitions, never on a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantStatus {
    /// The reporting node.
    pub node: NodeId,
    /// The service that the report is about.
    pub service: Name,
    /// The generation of the grant that it is about.
    pub generation: u64,
    /// What the grant runs.
    pub definition: TaskDefinitionId,
    /// What the node serves meanwhile: the grant's definition once it is ready, an earlier one
    /// until then or when it failed. A node that starts again serves this at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<Box<TaskDefinition>>,
    /// How far it is.
    pub phase: GrantPhase,
    /// A stable code when `phase` is `Failed`; each has a page under `docs/errors/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What happened, for people.
    pub message: String,
    /// When, as milliseconds since the Unix epoch.
    pub at_ms: u64,
}

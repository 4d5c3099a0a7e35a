//! What the control plane gives a node for a service, and what the node says of it.

use std::time::Duration;

use registry::Digest;
use serde::{Deserialize, Serialize};

use super::{
    Health, HealthState, HostPattern, Name, NodeId, Percent, QueueBounds, Route, Scale,
    ScalePolicies, Service, Steering, TaskDefinition, TaskDefinitionId, duration,
};

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
    /// Grows with every change; an agent refuses an older one.
    pub generation: u64,
    /// What to run, by number. Their shares add up to all, or there are none.
    pub revisions: Vec<GrantedRevision>,
    /// Which requests it answers.
    pub routes: Vec<Route>,
    /// How requests wait.
    pub queue: QueueBounds,
    /// What decides about the number of tasks besides requests.
    #[serde(default, skip_serializing_if = "ScalePolicies::is_none")]
    pub scaling: ScalePolicies,
    /// How long requests of a task that goes are waited for before they are stopped.
    #[serde(default = "Service::default_drain", with = "duration")]
    pub drain: Duration,
    /// How its revisions are asked whether they are well.
    #[serde(default, skip_serializing_if = "Health::is_none")]
    pub health: Health,
    /// Where its requests go, besides shares and tags.
    #[serde(default, skip_serializing_if = "Steering::is_none")]
    pub steering: Steering,
    /// Manifests of revisions that have no place here and may get one again at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<Digest>,
    /// Whether the node reports every second how the revisions fare, because a deployment is
    /// under way. Policies take no tasks away meanwhile.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub watched: bool,
}

/// One revision of a grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantedRevision {
    /// Its number within the service.
    pub number: u64,
    /// What it runs.
    pub definition: TaskDefinition,
    /// Its share of the requests.
    pub share: Percent,
    /// The tags whose host names lead to it alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Name>,
    /// How many tasks, on this node. `min` 0 is a *dormant* place: the node may start a task by
    /// itself when a request arrives.
    pub scale: Scale,
}

/// How far a node is with a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GrantPhase {
    /// The image is being fetched.
    Pulling,
    /// The component waits for the compiler or is in it.
    Compiling,
    /// Requests are served; tasks start when they arrive.
    Ready,
    /// The definition cannot run.
    Failed,
}

/// What a node reports about a grant. Written at transitions, and every second while a deployment
/// is watched; never on a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantStatus {
    /// The reporting node.
    pub node: NodeId,
    /// The service that the report is about.
    pub service: Name,
    /// The generation of the grant that it is about.
    pub generation: u64,
    /// One for each revision that the node holds, those included that finish their requests.
    pub revisions: Vec<RevisionStatus>,
    /// When, as milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// How one revision fares on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionStatus {
    /// Its number.
    pub number: u64,
    /// What it runs.
    pub definition: TaskDefinitionId,
    /// How far it is.
    pub phase: GrantPhase,
    /// A stable code when something failed; each has a page under `docs/errors/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What happened, for people.
    pub message: String,
    /// Tasks that take requests.
    pub tasks: u32,
    /// What failed and was tried again, since the node took it up.
    pub failures: u32,
    /// Requests that were answered since the node started.
    pub requests: u64,
    /// Those of them that failed: status 5xx, or a response that broke off.
    pub errors: u64,
    /// Upper bound of the 99th percentile of their durations, in microseconds.
    pub p99_us: u64,
    /// What its probes said last.
    #[serde(default, skip_serializing_if = "HealthState::is_unknown")]
    pub health: HealthState,
}

impl Grant {
    /// The revision of this number.
    pub fn revision(&self, number: u64) -> Option<&GrantedRevision> {
        self.revisions.iter().find(|revision| revision.number == number)
    }

    /// The host that a probe asks for: that of the first route which names one.
    pub fn probe_host(&self) -> &str {
        let exact = self.routes.iter().find_map(|route| match &route.pattern.host {
            HostPattern::Exact(host) => Some(&**host),
            HostPattern::Wildcard(_) | HostPattern::Any => None,
        });
        exact.unwrap_or("localhost")
    }
}

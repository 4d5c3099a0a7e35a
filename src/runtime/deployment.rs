//! What a service runs, and what is said about it.

use std::sync::Arc;
use std::time::Duration;

use registry::Digest;

use crate::model::{Code, QueueBounds, Scale, ScalePolicies, TaskDefinition};

/// A task definition that has been prepared on this node, with the bounds of its grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deployment {
    /// What runs.
    pub definition: TaskDefinition,
    /// Digest of the component's bytes.
    pub component: Digest,
    /// The grant's generation.
    pub generation: u64,
    /// How many tasks.
    pub scale: Scale,
    /// What else decides about their number.
    pub scaling: Option<Arc<ScalePolicies>>,
    /// Whether that may take tasks away now: not while a deployment is under way.
    pub may_shrink: bool,
    /// How requests wait.
    pub queue: QueueBounds,
    /// How long requests of a task that goes are waited for before they are stopped.
    pub drain: Duration,
}

/// Why a service does not take a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing is deployed, or it was taken away.
    NotReady,
    /// The revision was taken away; another one of its service may have come in its place.
    Moved,
    /// Too many requests wait already.
    QueueFull,
    /// The request waited as long as it may.
    QueueTimeout,
    /// Every task that the service may have is busy.
    AtMaximum,
    /// The node has no room for the component.
    NoCapacity,
    /// The node stops, and the time to wait is over.
    Drained,
    /// The task's limits do not admit the request.
    Unfit(Code),
}

impl Refusal {
    /// The outcome that the client is told.
    pub fn code(self) -> Code {
        match self {
            Self::NotReady | Self::Moved => Code::NotReady,
            Self::QueueFull => Code::QueueFull,
            Self::QueueTimeout => Code::QueueTimeout,
            Self::AtMaximum => Code::AtMaximum,
            Self::NoCapacity => Code::NoCapacity,
            Self::Drained => Code::Drained,
            Self::Unfit(code) => code,
        }
    }
}

/// A revision as the CLI shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionView {
    /// Its number.
    pub number: u64,
    /// Tasks that take requests.
    pub tasks: Vec<TaskView>,
    /// Requests being served, those of replaced tasks included.
    pub in_flight: u32,
    /// Requests that wait for a task.
    pub waiting: u32,
    /// Whether the component is in memory.
    pub loaded: bool,
    /// The deployment in force.
    pub deployment: Option<Arc<Deployment>>,
}

/// A service as the CLI shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceView {
    /// Tasks that take requests.
    pub tasks: Vec<TaskView>,
    /// Requests being served, those of replaced tasks included.
    pub in_flight: u32,
    /// Requests that wait for a task.
    pub waiting: u32,
    /// Whether the component is in memory.
    pub loaded: bool,
    /// The deployment in force; of several the one that has served longest.
    pub deployment: Option<Arc<Deployment>>,
}

/// A task as the CLI shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskView {
    /// Its number within the service.
    pub number: u64,
    /// Requests that it serves now.
    pub in_flight: u32,
    /// Requests that it may serve at once.
    pub concurrency: u32,
    /// Memory that its instances hold now, in bytes.
    pub memory_bytes: u64,
    /// When it started, as milliseconds since the Unix epoch.
    pub started_at_ms: u64,
}

//! What keeps a task definition running, and within which bounds.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    Affinity, DeployPolicy, Health, Mirror, Name, Route, ScalePolicies, ScheduledBounds,
    TaskDefinitionId, TrafficTarget, duration,
};

/// A service as its owner wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its name, unique in the cluster.
    pub name: Name,
    /// What it runs.
    pub task: TaskDefinitionId,
    /// Which requests it answers. Empty for a service that nothing reaches yet.
    pub routes: Vec<Route>,
    /// How many tasks.
    pub scale: Scale,
    /// What else decides about their number, within the bounds.
    #[serde(default, skip_serializing_if = "ScalePolicies::is_none")]
    pub scaling: ScalePolicies,
    /// When the bounds are others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedule: Vec<ScheduledBounds>,
    /// How long, and how many, requests wait for a task.
    pub queue: QueueBounds,
    /// How long requests of a task that goes are waited for before they are stopped.
    #[serde(default = "Service::default_drain", with = "duration")]
    pub drain: Duration,
    /// How it is asked whether it is well.
    #[serde(default, skip_serializing_if = "Health::is_none")]
    pub health: Health,
    /// How a change of `task` is rolled out.
    #[serde(default)]
    pub deploy: DeployPolicy,
    /// How its owner splits the traffic. Empty: all of it goes to the latest revision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traffic: Vec<TrafficTarget>,
    /// What keeps the requests of one client together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// Copies of its requests that go elsewhere as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Mirror>,
    /// Counts the changes to this service, from 1.
    pub generation: u64,
    /// Revisions that were made so far. A number is never used again.
    #[serde(default)]
    pub revisions: u64,
}

impl Service {
    /// How long requests are waited for when the manifest names no time, as ECS's `stopTimeout`.
    pub const DEFAULT_DRAIN: Duration = Duration::from_secs(30);

    /// What stands for a time that an earlier version did not write.
    pub(super) fn default_drain() -> Duration {
        Self::DEFAULT_DRAIN
    }
}

/// How many tasks a service has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// Tasks that are always there. 0 lets the service sleep.
    pub min: u32,
    /// Tasks that there are at most.
    pub max: u32,
    /// How long a service without requests keeps more than `min` tasks.
    #[serde(with = "duration")]
    pub idle: Duration,
}

/// Why bounds make no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidScale {
    /// `max` is 0.
    #[error("max is 0, so no task could ever run")]
    NoTask,
    /// `min` is above `max`.
    #[error("min {min} is above max {max}")]
    Crossed {
        /// The lower bound that was asked for.
        min: u32,
        /// The upper bound that was asked for.
        max: u32,
    },
    /// `max` is above [`Scale::MOST_TASKS`].
    #[error("max {0} is above 10000, the most tasks that a service can have")]
    TooMany(u32),
    /// `idle` is under a second.
    #[error("idle is under 1s, which would stop tasks between two requests")]
    IdleTooShort,
}

impl Scale {
    /// The most tasks of one service: bounds what one manifest can make a node keep.
    pub const MOST_TASKS: u32 = 10_000;
    /// Idle time when the manifest names none, as Knative's stable window.
    pub const DEFAULT_IDLE: Duration = Duration::from_secs(60);

    /// The number of tasks within the bounds that is nearest to `tasks`.
    pub fn bound(&self, tasks: u32) -> u32 {
        tasks.max(self.min).min(self.max)
    }

    /// Checks the bounds against each other.
    pub fn check(&self) -> Result<(), InvalidScale> {
        match (self.min, self.max) {
            (_, 0) => Err(InvalidScale::NoTask),
            (_, max) if max > Self::MOST_TASKS => Err(InvalidScale::TooMany(max)),
            (min, max) if min > max => Err(InvalidScale::Crossed { min, max }),
            _ if self.idle < Duration::from_secs(1) => Err(InvalidScale::IdleTooShort),
            _ => Ok(()),
        }
    }
}

impl Default for Scale {
    fn default() -> Self {
        Self { min: 0, max: 100, idle: Self::DEFAULT_IDLE }
    }
}

/// The bounds of the queue in which requests wait for a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueBounds {
    /// Requests that wait at once; the next one is refused.
    pub depth: u32,
    /// How long a request waits at most.
    #[serde(with = "duration")]
    pub wait: Duration,
}

impl QueueBounds {
    /// The deepest queue that can be asked for: each waiting request holds a connection.
    pub const MOST_WAITING: u32 = 100_000;
}

impl Default for QueueBounds {
    /// 10,000 requests for 10 s, as Knative's activator and Cloud Run's pending queue.
    fn default() -> Self {
        Self { depth: 10_000, wait: Duration::from_secs(10) }
    }
}

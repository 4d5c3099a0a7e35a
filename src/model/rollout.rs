//! How a service gets from one revision to the next.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Name, Percent, ScheduledBounds, TaskDefinition, duration};

/// What one deployment rolls out: a task definition under a number that is never used again.
///
/// *Invariant:* never changed once it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// The service that it belongs to.
    pub service: Name,
    /// Counts the revisions of the service, from 1.
    pub number: u64,
    /// What it runs.
    pub definition: TaskDefinition,
    /// When it was made, as milliseconds since the Unix epoch.
    pub created_at_ms: u64,
}

/// How a service is deployed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeployPolicy {
    /// In which steps the new revision takes over.
    pub strategy: Strategy,
    /// How long both revisions stay once the new one has all traffic, so that going back takes
    /// no start.
    #[serde(with = "duration")]
    pub bake: Duration,
    /// When a deployment has failed.
    pub breaker: Breaker,
    /// What is compared with the old revision while both serve.
    pub alarm: Alarm,
    /// Revisions that are kept, those in use besides.
    pub keep: u32,
}

/// In which steps a new revision takes over. The names and defaults are those of ECS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum Strategy {
    /// Task by task, as many at once as the two bounds allow.
    Rolling {
        /// Tasks that stay healthy, in percent of what there was.
        min_healthy: u32,
        /// Tasks of both revisions together, in percent of what there was.
        max_healthy: u32,
    },
    /// The new revision is brought to full size, then takes all traffic at once.
    BlueGreen,
    /// A share first, then all.
    Canary {
        /// The share.
        percent: Percent,
        /// How long it is watched.
        #[serde(with = "duration")]
        step_bake: Duration,
    },
    /// Equal steps.
    Linear {
        /// Each step.
        percent: Percent,
        /// How long each is watched.
        #[serde(with = "duration")]
        step_bake: Duration,
    },
    /// As soon as the new revision can answer, without waiting for its tasks.
    AllAtOnce,
}

/// When a deployment has failed, and what happens then: ECS's circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Breaker {
    /// Failures that may succeed when tried again and yet end the deployment. `None` for half of
    /// the tasks, at least 3 and at most 200.
    pub threshold: Option<u32>,
    /// Whether the last good revision gets its traffic back.
    pub rollback: bool,
}

/// What ends a deployment while both revisions serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alarm {
    /// Share of failed requests by which the new revision may exceed the old one.
    pub errors: Percent,
    /// How many times the old revision's p99 the new one's may be, in percent; 0 for any.
    pub latency: u32,
    /// Requests to the new revision before it is judged.
    pub requests: u64,
}

impl Breaker {
    /// The failures that end the deployment of so many tasks.
    pub fn failures(&self, tasks: u32) -> u32 {
        self.threshold.unwrap_or_else(|| tasks.div_ceil(2)).clamp(Self::LEAST, Self::MOST)
    }

    /// Fewer failures than this never end a deployment.
    pub const LEAST: u32 = 3;
    /// As many failures as this always do.
    pub const MOST: u32 = 200;
}

impl Default for Breaker {
    fn default() -> Self {
        Self { threshold: None, rollback: true }
    }
}

impl Default for Alarm {
    /// Five failed requests in a hundred more than before, once 20 requests were answered.
    fn default() -> Self {
        Self { errors: Percent::whole(5), latency: 0, requests: 20 }
    }
}

impl Default for Strategy {
    fn default() -> Self {
        Self::Rolling { min_healthy: 100, max_healthy: 200 }
    }
}

impl Strategy {
    /// Canary share when the manifest names none.
    pub const CANARY: Percent = Percent::whole(5);
    /// How long a canary is watched when the manifest does not say.
    pub const CANARY_BAKE: Duration = Duration::from_secs(600);
    /// Linear step when the manifest names none.
    pub const LINEAR: Percent = Percent::whole(10);
    /// How long a linear step is watched when the manifest does not say.
    pub const LINEAR_BAKE: Duration = Duration::from_secs(360);

    /// Whether it leaves room to replace anything at all: 100 % at least and at most do not.
    pub fn makes_progress(&self) -> bool {
        match self {
            Self::Rolling { min_healthy, max_healthy } => *min_healthy < 100 || *max_healthy > 100,
            _ => true,
        }
    }

    /// Its name in manifests.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Rolling { .. } => "rolling",
            Self::BlueGreen => "blue-green",
            Self::Canary { .. } => "canary",
            Self::Linear { .. } => "linear",
            Self::AllAtOnce => "all-at-once",
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())?;
        match self {
            Self::Rolling { min_healthy, max_healthy } => {
                write!(f, " {min_healthy}%-{max_healthy}%")
            }
            Self::Canary { percent, step_bake } | Self::Linear { percent, step_bake } => {
                write!(f, " {percent} for {}", duration::format(*step_bake))
            }
            Self::BlueGreen | Self::AllAtOnce => Ok(()),
        }
    }
}

impl fmt::Display for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let then = if self.rollback { "roll back" } else { "stay" };
        match self.threshold {
            Some(threshold) => write!(f, "{threshold} failures, then {then}"),
            None => write!(f, "failures of half the tasks, then {then}"),
        }
    }
}

impl DeployPolicy {
    /// Revisions that are kept when the manifest does not say.
    pub const DEFAULT_KEEP: u32 = 10;
}

impl Default for DeployPolicy {
    fn default() -> Self {
        Self {
            strategy: Strategy::default(),
            bake: Duration::ZERO,
            breaker: Breaker::default(),
            alarm: Alarm::default(),
            keep: Self::DEFAULT_KEEP,
        }
    }
}

/// The deployment of a service that is under way, or was last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// The service.
    pub service: Name,
    /// Counts the deployments of the service, from 1.
    pub number: u64,
    /// The revision that is to take over.
    pub revision: u64,
    /// The revision that serves until then, and again if this fails: the last one that a
    /// deployment completed with.
    pub stable: Option<u64>,
    /// In which steps.
    pub policy: DeployPolicy,
    /// How far it is.
    pub stage: Stage,
    /// When the stage began, by the control plane's clock; 0 until the control plane has seen it.
    pub since_ms: u64,
    /// Time that the stage had taken when it was paused, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_after_ms: Option<u64>,
    /// What a person asked for and was not done yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Order>,
    /// Tasks that the old revision had when the new one was ready to take over; `None` until
    /// then. The new one is brought to the same number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<u32>,
    /// The bounds that a schedule has put in force, if one has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled: Option<ScheduledBounds>,
    /// Why it failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// What each revision had answered when the new one got its first requests: alarms look at
    /// what came since.
    #[serde(default)]
    pub baseline: Baseline,
    /// Grows with each change to the service or its deployment, also when the service is deleted
    /// and made again. Grants carry it, so that a node can tell which of two is the later one.
    pub version: u64,
    /// What happened, the oldest first; at most [`Rollout::MOST_EVENTS`].
    pub events: Vec<Event>,
}

/// How far a deployment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "stage")]
pub enum Stage {
    /// The new revision is fetched, compiled, tried and started. It has no traffic.
    Preparing,
    /// The new revision has a share of the traffic.
    Shifting {
        /// The share.
        share: Percent,
        /// Tasks of both revisions, in a rolling deployment.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tasks: Option<TaskCounts>,
    },
    /// The new revision has all traffic; the old one stays ready.
    Baking,
    /// The new revision is the service's.
    Completed,
    /// The new revision could not take over.
    Failed {
        /// What it keeps of the traffic: nothing where the old one got it back.
        share: Percent,
    },
    /// A person ended it. The old revision has the traffic.
    Aborted,
}

/// Tasks that each revision may have in a step of a rolling deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskCounts {
    /// Tasks of the new revision.
    pub new: u32,
    /// Tasks of the old revision.
    pub old: u32,
}

/// What a person may ask of a deployment under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Stay where it is.
    Pause,
    /// Go on.
    Resume,
    /// Do not wait for the stage's time to pass.
    Promote,
    /// Give the old revision its traffic back.
    Abort,
}

/// Requests that were answered, and those that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// Requests to the new revision.
    pub new_requests: u64,
    /// Those that failed.
    pub new_errors: u64,
    /// Requests to the old revision.
    pub old_requests: u64,
    /// Those that failed.
    pub old_errors: u64,
}

/// Why a deployment failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A stable code; each has a page under `docs/errors/`.
    pub code: String,
    /// What happened, for people.
    pub message: String,
}

/// Something that happened to a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, as milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// What, for people.
    pub message: String,
}

impl Stage {
    /// Whether nothing more happens by itself.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Completed | Self::Failed { .. } | Self::Aborted)
    }

    /// Its name in the API.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Shifting { .. } => "shifting",
            Self::Baking => "baking",
            Self::Completed => "completed",
            Self::Failed { .. } => "failed",
            Self::Aborted => "aborted",
        }
    }
}

impl Rollout {
    /// Events that are kept, as ECS keeps them.
    pub const MOST_EVENTS: usize = 100;

    /// Notes an event. The same one again within its last [`Rollout::MOST_EVENTS`] moves to the
    /// end, as a service that fails in the same way all the time would fill the list.
    pub fn note(&mut self, at_ms: u64, message: impl Into<String>) {
        let message = message.into();
        if self.events.last().is_some_and(|event| event.message == message) {
            self.events.pop();
        }
        self.events.push(Event { at_ms, message });
        let surplus = self.events.len().saturating_sub(Self::MOST_EVENTS);
        self.events.drain(..surplus);
    }
}

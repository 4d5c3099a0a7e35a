//! Services.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::agent::Pulled;
use crate::model::{self, duration};
use crate::runtime::Compiling;

use super::rollout::{Event, Revision, Rollout, Status};
use super::scaling::{Scaling, Scheduled};
use super::task::{Task, TaskDefinition};

/// A service: what its owner wants, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// How far it is.
    pub state: ServiceState,
    /// A stable code when `state` is `failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What happened, or what it waits for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The task definition that it shall run.
    #[schema(example = "hello:1")]
    pub task: String,
    /// The revision that it has, or that is being rolled out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// The task definition that answers requests now: on the node that answers if it has the
    /// service, else on one that reported it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<String>,
    /// Which requests it answers.
    #[schema(example = json!(["hello.localhost/*"]))]
    pub routes: Vec<String>,
    /// How many tasks it may have, unless its schedule says otherwise.
    pub scale: Scale,
    /// The entry of its schedule whose bounds are in force instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled: Option<Scheduled>,
    /// How requests wait.
    pub queue: Queue,
    /// How long requests of a task that goes are waited for before they are stopped.
    #[serde(default)]
    #[schema(example = "30s")]
    pub drain: String,
    /// Counts the changes to it, from 1.
    pub generation: u64,
    /// Tasks that run, on the node that answers; 0 when it sleeps.
    pub tasks: u32,
    /// Requests being served.
    pub in_flight: u32,
    /// Requests that wait for a task.
    pub waiting: u32,
    /// How far its image is while the node that answers pulls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull: Option<Pull>,
    /// How far its component is while the node that answers compiles it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compile: Option<Compile>,
}

/// How far an image is that is being pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pull {
    /// Bytes that are here.
    pub done_bytes: u64,
    /// Bytes that there will be, as far as is known.
    pub total_bytes: u64,
}

/// How far a component is that is being compiled, or is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Compile {
    /// Its place in the line of those that wait, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<usize>,
    /// For how long it has been compiled, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_ms: Option<u64>,
}

impl Service {
    /// The definition that serves in place of the wanted one, if another does.
    pub fn earlier(&self) -> Option<&str> {
        self.serving.as_deref().filter(|serving| *serving != self.task)
    }
}

/// How far a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ServiceState {
    /// No node has reported about it yet.
    Pending,
    /// It can be placed nowhere; `message` says why.
    Blocked,
    /// Its image is being fetched.
    Pulling,
    /// Its component is being compiled.
    Compiling,
    /// A new revision is taking over; the old one answers meanwhile.
    Deploying,
    /// It answers requests; tasks start when they arrive.
    Ready,
    /// What it shall run cannot run; an earlier definition, if there was one, goes on serving.
    Failed,
    /// It is deleted, and finishes the requests that it has.
    Deleting,
}

impl fmt::Display for ServiceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pending => "pending",
            Self::Blocked => "blocked",
            Self::Pulling => "pulling",
            Self::Compiling => "compiling",
            Self::Deploying => "deploying",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Deleting => "deleting",
        })
    }
}

/// How many tasks a service has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Scale {
    /// Tasks that are always there. 0 lets the service sleep.
    pub min: u32,
    /// Tasks that there are at most.
    pub max: u32,
    /// How long a service without requests keeps more than `min` tasks.
    #[schema(example = "60s")]
    pub idle: String,
}

/// New bounds; what is left out stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScaleChange {
    /// Tasks that are always there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<u32>,
    /// Tasks that there are at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
    /// How long a service without requests keeps more than `min` tasks, such as `60s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<String>,
}

/// The bounds of the queue in which requests wait for a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Queue {
    /// Requests that wait at once; the next one is refused.
    pub depth: u32,
    /// How long a request waits at most.
    #[schema(example = "10s")]
    pub wait: String,
}

/// Everything about one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ServiceDetail {
    /// What the list shows.
    #[serde(flatten)]
    pub service: Service,
    /// What it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<TaskDefinition>,
    /// What decides about the number of its tasks besides requests.
    #[serde(default, skip_serializing_if = "model::ScalePolicies::is_none")]
    #[schema(value_type = Object)]
    pub policies: model::ScalePolicies,
    /// When its bounds are others, as in its manifest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>)]
    pub schedule: Vec<model::ScheduledBounds>,
    /// Why it has as many tasks as it has, on the node that answers, revision by revision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scaling: Vec<Scaling>,
    /// How it is asked whether it is well, as in its manifest.
    #[serde(default, skip_serializing_if = "model::Health::is_none")]
    #[schema(value_type = Object)]
    pub health: model::Health,
    /// The routes that ask something of their requests, as in the manifest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>)]
    pub rules: Vec<model::Route>,
    /// How its owner splits the traffic, as in the manifest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<Object>)]
    pub traffic: Vec<model::TrafficTarget>,
    /// What keeps the requests of one client together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub affinity: Option<model::Affinity>,
    /// Copies of its requests that go elsewhere as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub mirror: Option<model::Mirror>,
    /// What became of copies since the node started, by outcome.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mirrored: BTreeMap<String, u64>,
    /// What each node reports, revision by revision.
    pub status: Vec<Status>,
    /// The deployment that is under way, or was last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// The revisions that are kept, the newest first.
    pub revisions: Vec<Revision>,
    /// What happened to it, the newest last.
    pub events: Vec<Event>,
    /// Why no node may run it, or why it is not where it is to stay, in the words of the control
    /// plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Its tasks, on the node that answers.
    pub running: Vec<Task>,
    /// Whether its component is in memory.
    pub loaded: bool,
    /// What was counted since the node started, if it has had a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<Stats>,
    /// Lines of its log that are kept.
    pub log_lines: usize,
    /// Bytes that its guests printed beyond what one request may print.
    pub log_dropped_bytes: u64,
}

/// What was counted of a service since the node started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Stats {
    /// Requests that have ended.
    pub requests: u64,
    /// The same by how they ended.
    pub by_code: BTreeMap<String, u64>,
    /// Requests that a task was started for.
    pub cold_starts: u64,
    /// Mean time from a request's head to the last byte of its response, in milliseconds.
    pub duration_mean_ms: f64,
    /// An upper bound of the median of the same: that of its histogram bucket, in milliseconds.
    pub duration_p50_ms: f64,
    /// The same for the 99th percentile.
    pub duration_p99_ms: f64,
    /// Fuel used.
    pub fuel: u64,
    /// CPU time used by guests, in seconds.
    pub cpu_s: f64,
    /// Request body bytes.
    pub bytes_in: u64,
    /// Response body bytes.
    pub bytes_out: u64,
}

/// A service that was deleted. It finishes the requests that it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Deleted {
    /// Its name.
    pub name: String,
    /// The revision of the store from which on it is not there.
    pub revision: u64,
}

impl From<Pulled> for Pull {
    fn from(pulled: Pulled) -> Self {
        Self { done_bytes: pulled.done_bytes, total_bytes: pulled.total_bytes }
    }
}

impl From<Compiling> for Compile {
    fn from(compiling: Compiling) -> Self {
        match compiling {
            Compiling::Behind(others) => Self { place: Some(others + 1), running_ms: None },
            Compiling::For(time) => {
                let running_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
                Self { place: None, running_ms: Some(running_ms) }
            }
        }
    }
}

impl From<&model::Scale> for Scale {
    fn from(scale: &model::Scale) -> Self {
        Self { min: scale.min, max: scale.max, idle: duration::format(scale.idle) }
    }
}

impl From<&model::QueueBounds> for Queue {
    fn from(queue: &model::QueueBounds) -> Self {
        Self { depth: queue.depth, wait: duration::format(queue.wait) }
    }
}

impl From<model::GrantPhase> for ServiceState {
    fn from(phase: model::GrantPhase) -> Self {
        match phase {
            model::GrantPhase::Pulling => Self::Pulling,
            model::GrantPhase::Compiling => Self::Compiling,
            model::GrantPhase::Ready => Self::Ready,
            model::GrantPhase::Failed => Self::Failed,
        }
    }
}

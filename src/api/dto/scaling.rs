//! Why a service has as many tasks as it has.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How many tasks a revision should have on the node that answers, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Scaling {
    /// The revision.
    pub revision: u64,
    /// Tasks that it has.
    pub tasks: u32,
    /// Tasks that were decided last.
    pub desired: u32,
    /// A name for the reason, such as `target`.
    pub reason: String,
    /// The reason in words, with its numbers.
    #[schema(example = "26.0 in flight over 1m ÷ target 7.0 in flight → 4")]
    pub why: String,
    /// When that was decided, as milliseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_ms: Option<u64>,
    /// What each target measured and asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<ScalingInput>,
    /// The last decisions that changed the number, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<ScalingChange>,
}

/// What a target measured, of all tasks of the revision together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScalingInput {
    /// What is measured: `in_flight`, `rps`, `cpu` in CPU units or `memory` in bytes.
    pub metric: String,
    /// The mean over the stable window.
    pub stable: f64,
    /// The mean over the burst window.
    pub burst: f64,
    /// What one task is meant for.
    pub target: f64,
    /// Tasks that it asks for.
    pub wants: u32,
}

/// A decision that changed the number of tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScalingChange {
    /// When, as milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Tasks before.
    pub before: u32,
    /// Tasks after.
    pub tasks: u32,
    /// A name for the reason.
    pub reason: String,
    /// The reason in words.
    pub why: String,
}

/// The entry of a schedule whose bounds are in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Scheduled {
    /// When it begins.
    #[schema(example = "0 8 * * MON-FRI")]
    pub cron: String,
    /// By which time zone.
    #[schema(example = "Europe/Berlin")]
    pub zone: String,
    /// The lower bound now.
    pub min: u32,
    /// The upper bound now.
    pub max: u32,
    /// When the next entry begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

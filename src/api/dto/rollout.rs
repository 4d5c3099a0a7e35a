//! Revisions and deployments.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock;
use crate::model::{self, HealthState, Percent};

use super::service::ServiceState;

/// A revision of a service that is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Revision {
    /// The service.
    pub service: String,
    /// Its number within the service.
    pub revision: u64,
    /// What it runs.
    #[schema(example = "hello:1")]
    pub task: String,
    /// Its share of the requests, in percent.
    pub percent: f64,
    /// The tags whose host names lead to it alone.
    pub tags: Vec<String>,
    /// Whether it is the one that a failed deployment goes back to.
    pub stable: bool,
    /// When it was made (RFC 3339).
    pub created_at: String,
}

/// A deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rollout {
    /// The service.
    pub service: String,
    /// Counts the deployments of the service.
    pub deployment: u64,
    /// `preparing`, `shifting`, `baking`, `completed`, `failed` or `aborted`.
    pub stage: String,
    /// Whether it stays where it is until somebody resumes it.
    pub paused: bool,
    /// The revision that is to take over.
    pub revision: u64,
    /// The revision that serves until then, and again if this fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<u64>,
    /// In which steps.
    #[schema(example = "canary 5% for 10m")]
    pub strategy: String,
    /// Requests that the new revision gets, in percent.
    #[schema(example = "5%")]
    pub share: String,
    /// When the stage began (RFC 3339).
    pub since: String,
    /// A stable code when it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What happened last.
    pub message: String,
}

/// What is asked of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutAction {
    /// Stay where it is.
    Pause,
    /// Go on.
    Resume,
    /// Go to the next stage without waiting.
    Promote,
    /// Give the old revision its traffic back.
    Abort,
    /// Deploy an earlier revision, at once.
    Undo,
}

/// What is asked of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RolloutOrder {
    /// What to do.
    pub action: RolloutAction,
    /// With `undo`: the revision to go back to; else the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
}

/// Something that happened to a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// When (RFC 3339).
    pub at: String,
    /// What.
    pub message: String,
}

/// What a node reports about a revision of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The node.
    pub node: String,
    /// The revision.
    pub revision: u64,
    /// How far it is.
    pub state: ServiceState,
    /// The grant that it speaks of.
    pub generation: u64,
    /// The task definition that it speaks of.
    pub task: String,
    /// A stable code when something failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What happened.
    pub message: String,
    /// What its probes said last: `unknown`, `healthy` or `unhealthy`.
    #[serde(default)]
    #[schema(value_type = String, example = "healthy")]
    pub health: HealthState,
    /// When, as milliseconds since the Unix epoch.
    pub at_ms: u64,
}

impl Revision {
    pub(in crate::api) fn new(
        revision: &model::Revision,
        part: Option<&crate::rollout::Part>,
        stable: bool,
    ) -> Self {
        let share = part.map_or(Percent::NONE, |part| part.share);
        let tags = part.map_or(&[][..], |part| &part.tags);
        Self {
            service: revision.service.to_string(),
            revision: revision.number,
            task: revision.definition.id.to_string(),
            percent: f64::from(share.basis_points()) / 100.0,
            tags: tags.iter().map(ToString::to_string).collect(),
            stable,
            created_at: clock::rfc3339(revision.created_at_ms),
        }
    }
}

impl From<&model::Rollout> for Rollout {
    fn from(rollout: &model::Rollout) -> Self {
        let last = rollout.events.last().map(|event| event.message.clone());
        Self {
            service: rollout.service.to_string(),
            deployment: rollout.number,
            stage: rollout.stage.as_str().to_owned(),
            paused: rollout.paused_after_ms.is_some(),
            revision: rollout.revision,
            stable: rollout.stable,
            strategy: rollout.policy.strategy.to_string(),
            share: crate::rollout::share(rollout).to_string(),
            since: clock::rfc3339(rollout.since_ms),
            code: rollout.failure.as_ref().map(|failure| failure.code.clone()),
            message: last.unwrap_or_default(),
        }
    }
}

impl From<&model::Event> for Event {
    fn from(event: &model::Event) -> Self {
        Self { at: clock::rfc3339(event.at_ms), message: event.message.clone() }
    }
}

impl Status {
    pub(in crate::api) fn all(status: &model::GrantStatus) -> Vec<Self> {
        let one = |revision: &model::RevisionStatus| Self {
            node: status.node.to_string(),
            revision: revision.number,
            state: revision.phase.into(),
            generation: status.generation,
            task: revision.definition.to_string(),
            code: revision.code.clone(),
            message: revision.message.clone(),
            health: revision.health,
            at_ms: status.at_ms,
        };
        status.revisions.iter().map(one).collect()
    }
}

//! A new deployment.

use crate::model::{DeployPolicy, Name, Rollout, Stage};

/// What a deployment is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The service.
    pub service: Name,
    /// The revision that is to take over.
    pub revision: u64,
    /// The name of what it runs, for people.
    pub task: String,
    /// In which steps.
    pub policy: DeployPolicy,
    /// Now, as milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// A number that no version of an earlier service of this name has reached.
    pub floor: u64,
    /// Whether the service was deleted meanwhile: then nothing of it comes back.
    pub anew: bool,
}

/// The record of a new deployment. One that is under way is superseded: its revision leaves, and
/// the last good one serves until the new one takes over.
pub fn begin(before: Option<&Rollout>, request: Request) -> Rollout {
    let Request { service, revision, task, policy, now_ms, floor, anew } = request;
    let strategy = policy.strategy.as_str();
    let mut rollout = Rollout {
        service,
        number: before.map_or(1, |before| before.number + 1),
        revision,
        stable: before.filter(|_| !anew).and_then(stable),
        policy,
        stage: Stage::Preparing,
        since_ms: 0,
        paused_after_ms: None,
        order: None,
        tasks: None,
        scheduled: before.filter(|_| !anew).and_then(|before| before.scheduled.clone()),
        failure: None,
        baseline: Default::default(),
        version: before.map_or(floor, |before| before.version.max(floor)) + 1,
        events: before.map_or_else(Vec::new, |before| before.events.clone()),
    };
    let number = rollout.number;
    if let Some(before) = before.filter(|before| !anew && !before.stage.is_over()) {
        let message = format!("deployment {} was superseded by deployment {number}", before.number);
        rollout.note(now_ms, message);
    }
    let message = format!("deployment {number} began: revision {revision} ({task}), {strategy}");
    rollout.note(now_ms, message);
    rollout
}

/// The last revision that a deployment completed with.
fn stable(before: &Rollout) -> Option<u64> {
    match before.stage {
        Stage::Completed => Some(before.revision),
        _ => before.stable,
    }
}

//! What is said about the number of tasks of a service.

use crate::autoscaler;
use crate::clock;
use crate::model::{self, Rollout};
use crate::rollout;
use crate::runtime::{Change, RevisionCell, ScalingView, ServiceCell};

use super::dto::{Scaling, ScalingChange, ScalingInput, Scheduled};

/// Why each revision of a service has as many tasks here as it has.
pub(super) fn of(cell: &ServiceCell) -> Vec<Scaling> {
    let revisions = cell.revisions();
    let all = revisions.iter().map(|revision| match revision.scaling() {
        Some(view) => by_policies(&view),
        None => by_requests(revision),
    });
    all.collect()
}

fn by_policies(view: &ScalingView) -> Scaling {
    let decision = &view.last.decision;
    let inputs = view.inputs.iter().map(|input| ScalingInput {
        metric: input.metric.to_string(),
        stable: input.stable,
        burst: input.burst,
        target: input.target,
        wants: input.wants,
    });
    Scaling {
        revision: view.revision,
        tasks: view.tasks,
        desired: decision.tasks,
        reason: decision.reason.as_str().to_owned(),
        why: view.why(&view.last),
        at_ms: Some(view.last.at_ms),
        inputs: inputs.collect(),
        changes: view.changes.iter().map(|one| change(view, one)).collect(),
    }
}

fn change(view: &ScalingView, change: &Change) -> ScalingChange {
    ScalingChange {
        at_ms: change.at_ms,
        before: change.decision.before,
        tasks: change.decision.tasks,
        reason: change.decision.reason.as_str().to_owned(),
        why: view.why(change),
    }
}

/// A revision without policies: requests start its tasks, and their end stops them.
fn by_requests(revision: &RevisionCell) -> Scaling {
    let view = revision.view();
    let tasks = u32::try_from(view.tasks.len()).unwrap_or(u32::MAX);
    let places: u32 = view.tasks.iter().map(|task| task.concurrency).sum();
    let why = match (tasks, &view.deployment) {
        (0, Some(deployment)) if deployment.scale.min == 0 => {
            "nobody has asked for anything for the idle time, or ever".to_owned()
        }
        (tasks, Some(deployment)) if tasks == deployment.scale.min => {
            format!("the least that there may be; {} of {places} places taken", view.in_flight)
        }
        _ => {
            let load = view.in_flight + view.waiting;
            format!("started by requests; {load} are there now, for {places} places")
        }
    };
    let reason = "requests".to_owned();
    let revision = view.number;
    let (at_ms, inputs, changes) = (None, Vec::new(), Vec::new());
    Scaling { revision, tasks, desired: tasks, reason, why, at_ms, inputs, changes }
}

/// The entry of its schedule whose bounds a service has now.
pub(super) fn scheduled(service: &model::Service, rollout: &Rollout) -> Option<Scheduled> {
    let entry = rollout.scheduled.as_ref()?;
    let scale = rollout::scale_in_force(service, rollout);
    let until_ms = autoscaler::next_change(&service.schedule, clock::unix_ms());
    Some(Scheduled {
        cron: entry.cron.to_string(),
        zone: entry.zone.to_string(),
        min: scale.min,
        max: scale.max,
        until: until_ms.map(clock::rfc3339),
    })
}

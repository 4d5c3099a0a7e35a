//! What a deployment means for the nodes.

use crate::model::{Mirror, Name, Percent, Rollout, Scale, Service, Stage, Strategy, TaskCounts};

/// A revision with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The revision's number.
    pub revision: u64,
    /// Its share of the requests.
    pub share: Percent,
    /// The tags that lead to it alone.
    pub tags: Vec<Name>,
    /// How many tasks.
    pub scale: Scale,
}

/// The revisions that have a place now, by number. Their shares add up to all.
pub fn parts(service: &Service, rollout: &Rollout) -> Vec<Part> {
    let latest = latest(service, rollout);
    let mut parts = Parts::default();
    if service.traffic.is_empty() {
        latest.iter().for_each(|part| parts.add(part.revision, part.share, None, part.scale));
    } else {
        split(service, rollout, &latest, &mut parts);
    }
    let mirrored = service.mirror.as_ref().and_then(Mirror::revision);
    if let Some(revision) = mirrored.filter(|number| !parts.have(*number)) {
        // Nobody waits for it, so that it needs no task before the first copy comes.
        let scale = Scale { min: 0, ..scale_in_force(service, rollout) };
        parts.add(revision, Percent::NONE, None, scale);
    }
    parts.0
}

/// The parts as the owner of the service splits its traffic.
fn split(service: &Service, rollout: &Rollout, latest: &[Part], parts: &mut Parts) {
    if !rollout.stage.is_over() {
        // A deployment goes on even where its owner gives the latest revision nothing.
        latest.iter().for_each(|part| parts.add(part.revision, Percent::NONE, None, part.scale));
    }
    for target in &service.traffic {
        if let Some(revision) = target.revision {
            let scale = scale_in_force(service, rollout);
            parts.add(revision, target.percent, target.tag.as_ref(), scale);
            continue;
        }
        let mut rest = target.percent;
        for (i, part) in latest.iter().enumerate() {
            let is_last = i + 1 == latest.len();
            let share = if is_last { rest } else { part.share.of(target.percent) };
            rest = rest.minus(share);
            let tag = target.tag.as_ref().filter(|_| part.revision == in_service(rollout));
            parts.add(part.revision, share, tag, part.scale);
        }
    }
}

/// The bounds that are in force: the service's own, or those of its schedule.
pub fn scale_in_force(service: &Service, rollout: &Rollout) -> Scale {
    rollout.scheduled.as_ref().map_or(service.scale, |scheduled| scheduled.over(service.scale))
}

/// The share of the new revision.
pub fn share(rollout: &Rollout) -> Percent {
    if rollout.stable.is_none() {
        return Percent::ALL;
    }
    match rollout.stage {
        Stage::Preparing | Stage::Aborted => Percent::NONE,
        Stage::Shifting { share, .. } | Stage::Failed { share } => share,
        Stage::Baking | Stage::Completed => Percent::ALL,
    }
}

/// The revision that counts as the latest: the new one once it has taken over.
pub(super) fn in_service(rollout: &Rollout) -> u64 {
    match (rollout.stage, rollout.stable) {
        (Stage::Completed, _) | (_, None) => rollout.revision,
        (_, Some(stable)) => stable,
    }
}

fn latest(service: &Service, rollout: &Rollout) -> Vec<Part> {
    let new_share = share(rollout);
    let part = |revision, share, scale| Part { revision, share, tags: Vec::new(), scale };
    let Some(stable) = rollout.stable.filter(|stable| *stable != rollout.revision) else {
        return vec![part(rollout.revision, Percent::ALL, scale_in_force(service, rollout))];
    };
    let (old_scale, new_scale) = scales(scale_in_force(service, rollout), rollout);
    let mut parts = Vec::new();
    if new_share < Percent::ALL || !rollout.stage.is_over() {
        parts.push(part(stable, new_share.rest(), old_scale));
    }
    if new_share > Percent::NONE || !rollout.stage.is_over() {
        parts.push(part(rollout.revision, new_share, new_scale));
    }
    parts
}

/// Tasks that the new revision is brought to. The bounds may have changed since they were counted.
pub(super) fn kept_tasks(scale: &Scale, rollout: &Rollout) -> u32 {
    scale.bound(rollout.tasks.unwrap_or(scale.min))
}

/// How many tasks the old and the new revision may have.
fn scales(scale: Scale, rollout: &Rollout) -> (Scale, Scale) {
    let kept = kept_tasks(&scale, rollout);
    match rollout.stage {
        Stage::Completed | Stage::Failed { .. } | Stage::Aborted => (scale, scale),
        Stage::Shifting { tasks: Some(TaskCounts { new, old }), .. } => {
            let bound = |tasks: u32| {
                let tasks = tasks.min(scale.max);
                Scale { min: tasks, max: tasks.max(1), ..scale }
            };
            (bound(old), bound(new))
        }
        Stage::Preparing => {
            let first = match rollout.policy.strategy {
                Strategy::Rolling { .. } | Strategy::AllAtOnce => 0,
                _ => kept,
            };
            (scale, Scale { min: first, ..scale })
        }
        Stage::Shifting { .. } | Stage::Baking => {
            let warm = Scale { min: kept, ..scale };
            (warm, warm)
        }
    }
}

#[derive(Default)]
struct Parts(Vec<Part>);

impl Parts {
    fn have(&self, revision: u64) -> bool {
        self.0.iter().any(|part| part.revision == revision)
    }

    /// Adds to the revision's part, or makes one in its place by number.
    fn add(&mut self, revision: u64, share: Percent, tag: Option<&Name>, scale: Scale) {
        let position = self.0.binary_search_by_key(&revision, |part| part.revision);
        let position = position.unwrap_or_else(|position| {
            let part = Part { revision, share: Percent::NONE, tags: Vec::new(), scale };
            self.0.insert(position, part);
            position
        });
        let part = &mut self.0[position];
        part.share = part.share.plus(share);
        part.tags.extend(tag.cloned());
        part.scale.min = part.scale.min.max(scale.min);
        part.scale.max = part.scale.max.max(scale.max);
    }
}

//! What a manifest changes. Pure.

use std::collections::BTreeMap;

use registry::Digest;

use crate::model::{
    Name, RoutePattern, Scale, Service, TaskDefinition, TaskDefinitionId, duration,
};
use crate::spec::{Manifest, Problem, Problems, ServiceSpec, Source, TaskSpec};
use crate::store::Revision;

use super::super::dto::{Applied, AppliedService, AppliedTask, Change};
use super::super::failure::Failure;
use super::registered::Registered;

/// Families that a hint lists at most.
const LISTED: usize = 12;

/// What is to be written.
#[derive(Debug)]
pub(super) struct Decision {
    /// One for each task of the manifest.
    pub(super) definitions: Vec<DecidedDefinition>,
    /// One for each service of the manifest.
    pub(super) services: Vec<DecidedService>,
    /// The newest definitions that this relies on: no newer one may have come meanwhile.
    pub(super) newest: Vec<TaskDefinitionId>,
}

#[derive(Debug)]
pub(super) struct DecidedDefinition {
    pub(super) definition: TaskDefinition,
    pub(super) change: Change,
}

#[derive(Debug)]
pub(super) struct DecidedService {
    pub(super) service: Service,
    pub(super) change: Change,
    pub(super) changes: Vec<String>,
    /// The revision that last changed the record; zero if there was none.
    pub(super) seen: Revision,
}

/// Compares the manifest with what is registered.
pub(super) fn decide(
    manifest: &Manifest,
    digests: &BTreeMap<Name, Digest>,
    registered: &Registered,
    now_ms: u64,
) -> Result<Decision, Failure> {
    let definitions: Vec<DecidedDefinition> = manifest
        .tasks
        .iter()
        .filter_map(|(family, task)| {
            let latest = registered.latest.get(family);
            define(family, task, *digests.get(family)?, latest, now_ms)
        })
        .collect();
    let current: BTreeMap<&Name, &TaskDefinitionId> = registered
        .latest
        .values()
        .chain(definitions.iter().map(|decided| &decided.definition))
        .map(|definition| (&definition.id.family, &definition.id))
        .collect();
    check_families(manifest, &current, registered)?;
    check_routes(manifest, registered)?;
    let services = manifest.services.iter().filter_map(|(name, spec)| {
        let task = (*current.get(&spec.task)?).clone();
        let before = registered.services.get(name);
        Some(change_service(name, spec, task, before, registered.failed.contains(name)))
    });
    let services = services.collect();
    let newest = registered.latest.values().map(|latest| latest.id.clone()).collect();
    Ok(Decision { definitions, services, newest })
}

fn define(
    family: &Name,
    task: &TaskSpec,
    manifest: Digest,
    latest: Option<&TaskDefinition>,
    now_ms: u64,
) -> Option<DecidedDefinition> {
    let Source::Image(image) = &task.source else { return None };
    let revision = latest.map_or(1, |latest| latest.id.revision.saturating_add(1));
    let definition = TaskDefinition {
        id: TaskDefinitionId { family: family.clone(), revision },
        image: image.clone(),
        manifest,
        env: task.env.clone(),
        limits: task.limits.clone(),
        registered_at_ms: now_ms,
    };
    Some(match latest.filter(|latest| latest.same_content(&definition)) {
        Some(latest) => DecidedDefinition { definition: latest.clone(), change: Change::Unchanged },
        None => DecidedDefinition { definition, change: Change::Created },
    })
}

/// A service names a task of the manifest, or one that is registered.
fn check_families(
    manifest: &Manifest,
    current: &BTreeMap<&Name, &TaskDefinitionId>,
    registered: &Registered,
) -> Result<(), Failure> {
    let unknown = manifest.services.iter().filter(|(_, s)| !current.contains_key(&s.task));
    let problems: Vec<Problem> = unknown
        .map(|(name, service)| {
            let message = "no task of this name is in the manifest or registered";
            Problem::new(&format!("service.{name}.task"), message)
                .value(service.task.as_str())
                .hint(families(manifest, registered, &service.task))
        })
        .collect();
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Failure::Manifest(Problems(problems))),
    }
}

fn families(manifest: &Manifest, registered: &Registered, wanted: &Name) -> String {
    let mut known: Vec<&str> = registered.families.iter().map(String::as_str).collect();
    known.extend(manifest.tasks.keys().map(Name::as_str));
    known.sort_unstable();
    known.dedup();
    match known.len() {
        0 => format!("declare it: `[task.{wanted}]` with an `image` or a `component`"),
        n if n > LISTED => {
            format!("tasks that exist: {} and {} more", known[..LISTED].join(", "), n - LISTED)
        }
        _ => format!("tasks that exist: {}", known.join(", ")),
    }
}

/// A route leads to one service.
fn check_routes(manifest: &Manifest, registered: &Registered) -> Result<(), Failure> {
    let others = registered.services.values().map(|(service, _)| service);
    let owners: BTreeMap<&RoutePattern, &Name> = others
        .filter(|service| !manifest.services.contains_key(&service.name))
        .flat_map(|service| service.routes.iter().map(|route| (route, &service.name)))
        .collect();
    let mut problems = Vec::new();
    for (name, service) in &manifest.services {
        for route in &service.routes {
            if let Some(owner) = owners.get(route) {
                let message = format!("the route belongs to the service {owner}");
                let problem = Problem::new(&format!("service.{name}.route"), message)
                    .value(route.to_string())
                    .hint(format!("choose another route, or `wharf delete {owner}` first"));
                problems.push(problem);
            }
        }
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Failure::Routes(Problems(problems))),
    }
}

fn change_service(
    name: &Name,
    spec: &ServiceSpec,
    task: TaskDefinitionId,
    before: Option<&(Service, Revision)>,
    failed: bool,
) -> DecidedService {
    let mut service = Service {
        name: name.clone(),
        task,
        routes: spec.routes.clone(),
        scale: spec.scale,
        queue: spec.queue,
        generation: 1,
    };
    let Some((before, seen)) = before else {
        let (change, seen) = (Change::Created, Revision::ZERO);
        return DecidedService { service, change, changes: Vec::new(), seen };
    };
    let mut changes = differences(before, &service);
    // What made it fail may be mended outside the manifest, such as an image that was missing.
    if changes.is_empty() && failed {
        changes.push("tried again, because it had failed".to_owned());
    }
    let change = if changes.is_empty() { Change::Unchanged } else { Change::Updated };
    service.generation = before.generation + u64::from(change == Change::Updated);
    DecidedService { service, change, changes, seen: *seen }
}

/// What differs, in words.
fn differences(before: &Service, after: &Service) -> Vec<String> {
    let mut changes = Vec::new();
    let mut differs = |what: &str, old: String, new: String| {
        if old != new {
            changes.push(format!("{what} {old} → {new}"));
        }
    };
    differs("task", before.task.to_string(), after.task.to_string());
    let (old, new) = (&before.queue, &after.queue);
    differs("queue.depth", old.depth.to_string(), new.depth.to_string());
    differs("queue.wait", duration::format(old.wait), duration::format(new.wait));
    changes.extend(describe_scale(&before.scale, &after.scale));
    let added = after.routes.iter().filter(|route| !before.routes.contains(route));
    let removed = before.routes.iter().filter(|route| !after.routes.contains(route));
    let (before_len, after_len) = (before.routes.len(), after.routes.len());
    let routes_from = changes.len();
    changes.extend(added.map(|route| format!("route + {route}")));
    changes.extend(removed.map(|route| format!("route - {route}")));
    if changes.len() == routes_from && before.routes != after.routes && before_len == after_len {
        changes.push("route order".to_owned());
    }
    changes
}

/// What differs between two bounds, in words.
pub(in crate::api) fn describe_scale(before: &Scale, after: &Scale) -> Vec<String> {
    let rows = [
        ("scale.min", before.min.to_string(), after.min.to_string()),
        ("scale.max", before.max.to_string(), after.max.to_string()),
        ("scale.idle", duration::format(before.idle), duration::format(after.idle)),
    ];
    let changed = rows.into_iter().filter(|(_, old, new)| old != new);
    changed.map(|(what, old, new)| format!("{what} {old} → {new}")).collect()
}

impl Decision {
    pub(super) fn report(&self, revision: u64, dry_run: bool) -> Applied {
        let tasks = self.definitions.iter().map(|decided| AppliedTask {
            id: decided.definition.id.to_string(),
            change: decided.change,
            image: decided.definition.image.to_string(),
            manifest: decided.definition.manifest.to_string(),
        });
        let services = self.services.iter().map(|decided| AppliedService {
            name: decided.service.name.to_string(),
            change: decided.change,
            task: decided.service.task.to_string(),
            generation: decided.service.generation,
            changes: decided.changes.clone(),
        });
        Applied { revision, dry_run, tasks: tasks.collect(), services: services.collect() }
    }
}

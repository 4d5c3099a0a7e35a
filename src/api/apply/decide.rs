//! What a manifest changes. Pure.

use std::collections::BTreeMap;

use registry::Digest;

use crate::model::{
    self, DeployPolicy, Health, Name, Probe, Role, Rollout, Route, RoutePattern, Scale, Service,
    Stage, TaskDefinition, TaskDefinitionId, TrafficTarget, duration, tagged_route,
};
use crate::rollout;
use crate::spec::{Manifest, Problem, Problems, ServiceSpec, Source, TaskSpec};
use crate::store::Revision;

use super::super::dto::{Applied, AppliedService, AppliedTask, Change};
use super::super::failure::Failure;
use super::mirrors;
use super::registered::Registered;
use super::upstreams::{self, DecidedUpstream};

/// Families that a hint lists at most.
const LISTED: usize = 12;

/// What is to be written.
#[derive(Debug)]
pub(super) struct Decision {
    /// One for each task of the manifest.
    pub(super) definitions: Vec<DecidedDefinition>,
    /// One for each service of the manifest.
    pub(super) services: Vec<DecidedService>,
    /// One for each upstream of the manifest.
    pub(super) upstreams: Vec<DecidedUpstream>,
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
    /// Its deployment as it is to be, and the revision that last changed that record.
    pub(super) rollout: (Rollout, Revision),
    /// What the deployment rolls out, if it was not registered before.
    pub(super) revision: Option<model::Revision>,
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
            let role = manifest.role_of(task);
            define(family, task, role, *digests.get(family)?, latest, now_ms)
        })
        .collect();
    let current: BTreeMap<&Name, &TaskDefinitionId> = registered
        .latest
        .values()
        .chain(definitions.iter().map(|decided| &decided.definition))
        .map(|definition| (&definition.id.family, &definition.id))
        .collect();
    check_families(manifest, &current, registered)?;
    upstreams::check(manifest, registered)?;
    check_routes(manifest, registered)?;
    check_traffic(manifest, registered)?;
    mirrors::check(manifest, registered)?;
    let services = manifest.services.iter().filter_map(|(name, spec)| {
        let task = (*current.get(&spec.task)?).clone();
        let latest = registered.latest.values();
        let created = definitions.iter().map(|decided| &decided.definition);
        let definition = created.chain(latest).find(|definition| definition.id == task)?;
        Some(change_service(name, spec, definition, registered, now_ms))
    });
    let services = services.collect();
    let upstreams = manifest.upstreams.iter();
    let upstreams = upstreams.map(|(name, spec)| upstreams::change(name, spec, registered));
    let upstreams = upstreams.collect();
    let newest = registered.latest.values().map(|latest| latest.id.clone()).collect();
    Ok(Decision { definitions, services, upstreams, newest })
}

fn define(
    family: &Name,
    task: &TaskSpec,
    role: Role,
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
        role,
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

/// A route leads to one service; those of tags are routes as well.
fn check_routes(manifest: &Manifest, registered: &Registered) -> Result<(), Failure> {
    let others = registered.services.values().map(|(service, _)| service);
    let others = others.filter(|service| !manifest.services.contains_key(&service.name));
    let mut owners: BTreeMap<RoutePattern, (&str, &Name)> = BTreeMap::new();
    for service in others {
        let routes = with_tags(&service.routes, &service.traffic);
        owners.extend(routes.into_iter().map(|route| (route, ("service", &service.name))));
    }
    let others = registered.upstreams.values().map(|(upstream, _)| upstream);
    for upstream in others.filter(|upstream| !manifest.upstreams.contains_key(&upstream.name)) {
        let owner = ("upstream", &upstream.name);
        owners.extend(upstream.routes.iter().map(|route| (route.pattern.clone(), owner)));
    }
    let mut problems = Vec::new();
    let mut claim = |(kind, name): (&'static str, _), key: &str, route: RoutePattern| {
        let text = route.to_string();
        if let Some((other, owner)) = owners.insert(route, (kind, name)) {
            let path = format!("{kind}.{name}.{key}");
            let message = format!("the route belongs to the {other} {owner}");
            let problem = Problem::new(&path, message).value(text);
            let hint = format!("choose another {key}, or `wharf delete {owner}` first");
            problems.push(problem.hint(hint));
        }
    };
    for (name, service) in &manifest.services {
        for route in with_tags(&service.routes, &service.traffic) {
            let is_tag = service.routes.iter().all(|own| own.pattern != route);
            claim(("service", name), if is_tag { "traffic" } else { "route" }, route);
        }
    }
    for (name, upstream) in &manifest.upstreams {
        for route in &upstream.routes {
            claim(("upstream", name), "route", route.pattern.clone());
        }
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Failure::Routes(Problems(problems))),
    }
}

fn with_tags(routes: &[Route], traffic: &[TrafficTarget]) -> Vec<RoutePattern> {
    let patterns = routes.iter().map(|route| &route.pattern);
    let tags = traffic.iter().filter_map(|target| target.tag.as_ref());
    let tagged = tags.flat_map(|tag| patterns.clone().filter_map(move |r| tagged_route(r, tag)));
    patterns.clone().cloned().chain(tagged).collect()
}

/// Traffic goes to revisions that are kept.
fn check_traffic(manifest: &Manifest, registered: &Registered) -> Result<(), Failure> {
    let mut problems = Vec::new();
    for (name, service) in &manifest.services {
        let kept = registered.revisions.get(name).cloned().unwrap_or_default();
        for number in service.traffic.iter().filter_map(|target| target.revision) {
            if !kept.contains(&number) {
                let known: Vec<String> = kept.iter().map(u64::to_string).collect();
                let hint = match known.is_empty() {
                    true => "the service has no revision yet: leave `traffic` out".to_owned(),
                    false => format!("revisions that are kept: {}", known.join(", ")),
                };
                let message = format!("revision {number} is not kept");
                let problem = Problem::new(&format!("service.{name}.traffic"), message);
                problems.push(problem.value(number.to_string()).hint(hint));
            }
        }
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Failure::Manifest(Problems(problems))),
    }
}

fn change_service(
    name: &Name,
    spec: &ServiceSpec,
    definition: &TaskDefinition,
    registered: &Registered,
    now_ms: u64,
) -> DecidedService {
    let before = registered.services.get(name);
    let deployed = registered.rollouts.get(name);
    let mut service = Service {
        name: name.clone(),
        task: definition.id.clone(),
        routes: spec.routes.clone(),
        scale: spec.scale,
        scaling: spec.scaling.clone(),
        schedule: spec.schedule.clone(),
        queue: spec.queue,
        drain: spec.drain,
        health: spec.health.clone(),
        deploy: spec.deploy.clone(),
        traffic: spec.traffic.clone(),
        affinity: spec.affinity.clone(),
        mirror: spec.mirror.clone(),
        generation: before.map_or(1, |(before, _)| before.generation),
        // What a deleted service of this name has left goes on being counted.
        revisions: match (before, deployed) {
            (Some((before, _)), _) => before.revisions,
            (None, Some((left, _))) => left.revision,
            (None, None) => 0,
        },
    };
    let mut changes = before.map_or_else(Vec::new, |(before, _)| differences(before, &service));
    let again = match (before, deployed) {
        (Some((before, _)), Some((last, _))) if changes.is_empty() => again(before, last),
        _ => None,
    };
    changes.extend(again.map(|again| again.why().to_owned()));
    let change = match before {
        None => Change::Created,
        Some(_) if changes.is_empty() => Change::Unchanged,
        Some(_) => Change::Updated,
    };
    service.generation += u64::from(change == Change::Updated);
    let is_new = before.is_none_or(|(before, _)| before.task != service.task)
        || deployed.is_none()
        || again == Some(Again::PutAside);
    let revision = is_new.then(|| {
        service.revisions += 1;
        let (service, number) = (name.clone(), service.revisions);
        model::Revision { service, number, definition: definition.clone(), created_at_ms: now_ms }
    });
    let same = deployed.filter(|_| again.is_some()).map(|(last, _)| last.revision);
    let target = revision.as_ref().map(|revision| revision.number).or(same);
    let seen = |record: Option<Revision>| record.unwrap_or(Revision::ZERO);
    let rollout = next_rollout(&service, before.is_none(), target, registered, now_ms);
    DecidedService {
        service,
        change,
        changes,
        seen: seen(before.map(|(_, seen)| *seen)),
        rollout: (rollout, seen(deployed.map(|(_, seen)| *seen))),
        revision,
    }
}

/// The deployment of `target`, or the one that there is, which then goes on.
fn next_rollout(
    service: &Service,
    anew: bool,
    target: Option<u64>,
    registered: &Registered,
    now_ms: u64,
) -> Rollout {
    match (registered.rollouts.get(&service.name), target) {
        (Some((last, _)), None) => Rollout { version: last.version + 1, ..last.clone() },
        (last, target) => {
            let request = rollout::Request {
                service: service.name.clone(),
                revision: target.unwrap_or(service.revisions),
                task: service.task.to_string(),
                policy: service.deploy.clone(),
                now_ms,
                floor: registered.revision.0,
                anew,
            };
            rollout::begin(last.map(|(last, _)| last), request)
        }
    }
}

/// Why a manifest that changes nothing is deployed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    /// What made it fail may be mended outside the manifest, such as an image that was missing.
    Failed,
    /// Somebody ended it, and now asks for it again.
    Aborted,
    /// Somebody went back to an earlier revision.
    PutAside,
}

impl Again {
    fn why(self) -> &'static str {
        match self {
            Self::Failed => "tried again, because it had failed",
            Self::Aborted => "deployed again, because it was aborted",
            Self::PutAside => "deployed again, because an earlier revision is in service",
        }
    }
}

fn again(before: &Service, last: &Rollout) -> Option<Again> {
    if last.revision != before.revisions {
        return last.stage.is_over().then_some(Again::PutAside);
    }
    match last.stage {
        Stage::Failed { .. } => Some(Again::Failed),
        Stage::Aborted => Some(Again::Aborted),
        _ => None,
    }
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
    differs("drain", duration::format(before.drain), duration::format(after.drain));
    changes.extend(describe_scale(&before.scale, &after.scale));
    changes.extend(describe_scaling(before, after));
    changes.extend(describe_health(&before.health, &after.health));
    changes.extend(describe_deploy(&before.deploy, &after.deploy));
    if before.traffic != after.traffic {
        changes.push(format!("traffic {}", describe_traffic(&after.traffic)));
    }
    if before.affinity != after.affinity {
        let said = |one: &Service| match &one.affinity {
            Some(affinity) => affinity.to_string(),
            None => "none".to_owned(),
        };
        changes.push(format!("affinity {} → {}", said(before), said(after)));
    }
    changes.extend(mirrors::describe(before.mirror.as_ref(), after.mirror.as_ref()));
    changes.extend(describe_routes(&before.routes, &after.routes));
    changes
}

pub(super) fn describe_routes(before: &[Route], after: &[Route]) -> Vec<String> {
    let find = |routes: &[Route], pattern: &RoutePattern| {
        routes.iter().find(|route| route.pattern == *pattern).map(|route| route.rules.clone())
    };
    let mut changes = Vec::new();
    for Route { pattern, rules } in after {
        match find(before, pattern) {
            None if rules.is_none() => changes.push(format!("route + {pattern}")),
            None => changes.push(format!("route + {pattern}: {rules}")),
            Some(old) if old != *rules => changes.push(format!("route {pattern}: {rules}")),
            Some(_) => {}
        }
    }
    let removed = before.iter().filter(|route| find(after, &route.pattern).is_none());
    changes.extend(removed.map(|route| format!("route - {}", route.pattern)));
    if changes.is_empty() && before != after {
        changes.push("route order".to_owned());
    }
    changes
}

fn describe_health(before: &Health, after: &Health) -> Vec<String> {
    let rows = [
        ("startup", &before.startup, &after.startup),
        ("liveness", &before.liveness, &after.liveness),
        ("readiness", &before.readiness, &after.readiness),
    ];
    let said = |probe: &Option<Probe>| match probe {
        Some(probe) => probe.to_string(),
        None => "none".to_owned(),
    };
    let changed = rows.into_iter().filter(|(_, old, new)| old != new);
    changed.map(|(what, old, new)| format!("health.{what} {} → {}", said(old), said(new))).collect()
}

fn describe_deploy(before: &DeployPolicy, after: &DeployPolicy) -> Vec<String> {
    let alarm = |policy: &DeployPolicy| {
        let alarm = policy.alarm;
        format!("errors {} latency {}% requests {}", alarm.errors, alarm.latency, alarm.requests)
    };
    let rows = [
        ("deploy.strategy", before.strategy.to_string(), after.strategy.to_string()),
        ("deploy.bake", duration::format(before.bake), duration::format(after.bake)),
        ("deploy.breaker", before.breaker.to_string(), after.breaker.to_string()),
        ("deploy.alarm", alarm(before), alarm(after)),
        ("deploy.keep", before.keep.to_string(), after.keep.to_string()),
    ];
    let changed = rows.into_iter().filter(|(_, old, new)| old != new);
    changed.map(|(what, old, new)| format!("{what} {old} → {new}")).collect()
}

fn describe_traffic(traffic: &[TrafficTarget]) -> String {
    if traffic.is_empty() {
        return "→ all to the latest revision".to_owned();
    }
    let targets: Vec<String> = traffic.iter().map(ToString::to_string).collect();
    format!("→ {}", targets.join(", "))
}

fn describe_scaling(before: &Service, after: &Service) -> Vec<String> {
    let schedule = |service: &Service| match service.schedule.as_slice() {
        [] => "none".to_owned(),
        all => all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    let rows = [
        ("scale policies", before.scaling.to_string(), after.scaling.to_string()),
        ("scale schedule", schedule(before), schedule(after)),
    ];
    let changed = rows.into_iter().filter(|(_, old, new)| old != new);
    changed.map(|(what, old, new)| format!("{what} {old} → {new}")).collect()
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
            revision: decided.rollout.0.revision,
            changes: decided.changes.clone(),
            note: None,
        });
        Applied {
            revision,
            dry_run,
            tasks: tasks.collect(),
            services: services.collect(),
            upstreams: self.upstreams.iter().map(DecidedUpstream::report).collect(),
        }
    }
}

//! Services: list, describe, scale, delete.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use serde::de::DeserializeOwned;

use crate::model::{self, Name, duration};
use crate::runtime::{ServiceCell, ServiceView};
use crate::store::{self, Cond, Consistency, Op, RangeReq, Revision, Store, Txn, codec, keys};
use crate::telemetry::StatsSnapshot;

use super::apply::{describe_scale, too_large_or_broken};
use super::dto::{
    AppliedService, Change, Deleted, ScaleChange, Service, ServiceDetail, Stats, Status, Task,
};
use super::failure::Failure;
use super::overview::Overview;
use super::problem::Problem;
use super::segment::Segment;
use super::{Shared, State as Node, scaling};

/// How often a change of one service starts again because others changed it.
pub(super) const ROUNDS: usize = 5;

/// Lists the services, those that are being deleted included.
#[utoipa::path(
    get,
    path = "/v1/services",
    tag = "services",
    responses(
        (status = 200, description = "The services by name", body = Vec<Service>),
        (status = 503, description = "`state-unavailable`", body = Problem),
    ),
)]
pub(super) async fn list(State(node): Shared) -> Result<Json<Vec<Service>>, Failure> {
    let overview = Overview::read(&*node.parts.store).await?;
    let names = overview.names();
    let services = names.iter().filter_map(|name| {
        let view = node.parts.table.get_or_leaving(name).map(|cell| cell.view());
        service(&node, &overview, name, view.as_ref())
    });
    Ok(Json(services.collect()))
}

/// Describes a service: what is wanted, what nodes report, what runs and what was counted.
#[utoipa::path(
    get,
    path = "/v1/services/{name}",
    tag = "services",
    params(("name" = String, Path, description = "The service")),
    responses(
        (status = 200, description = "The service", body = ServiceDetail),
        (status = 404, description = "`service-not-found`", body = Problem),
        (status = 503, description = "`state-unavailable`", body = Problem),
    ),
)]
pub(super) async fn describe(
    State(node): Shared,
    Segment(text): Segment,
) -> Result<Json<ServiceDetail>, Failure> {
    let store = &*node.parts.store;
    let name = named(store, &text).await?;
    let overview = Overview::read_one(store, &name).await?;
    match detail(&node, &overview, &name) {
        Some(detail) => Ok(Json(detail)),
        None => Err(not_found(store, &text).await?),
    }
}

/// Deletes a service. It takes no more requests, and finishes those that it has.
#[utoipa::path(
    delete,
    path = "/v1/services/{name}",
    tag = "services",
    params(("name" = String, Path, description = "The service")),
    responses(
        (status = 202, description = "The service is being deleted", body = Deleted),
        (status = 404, description = "`service-not-found`", body = Problem),
        (status = 503, description = "`state-unavailable`", body = Problem),
    ),
)]
pub(super) async fn delete(
    State(node): Shared,
    Segment(text): Segment,
) -> Result<(StatusCode, Json<Deleted>), Failure> {
    let store = &*node.parts.store;
    let name = named(store, &text).await?;
    match delete_record(store, &name, keys::service(name.as_str())).await? {
        Some(deleted) => Ok((StatusCode::ACCEPTED, Json(deleted))),
        None => Err(not_found(store, &text).await?),
    }
}

/// Deletes the record of something with this name, if there is one.
pub(super) async fn delete_record(
    store: &dyn Store,
    name: &Name,
    key: Bytes,
) -> Result<Option<Deleted>, store::Error> {
    let txn = Txn::of(vec![Op::delete(key.clone())]).when(Cond::Exists(key));
    let done = store.txn(txn).await?;
    let deleted = Deleted { name: name.to_string(), revision: done.revision.0 };
    Ok(done.succeeded.then_some(deleted))
}

/// Changes how many tasks a service has.
#[utoipa::path(
    patch,
    path = "/v1/services/{name}/scale",
    tag = "services",
    params(("name" = String, Path, description = "The service")),
    request_body = ScaleChange,
    responses(
        (status = 200, description = "What changed", body = AppliedService),
        (status = 404, description = "`service-not-found`", body = Problem),
        (status = 409, description = "`conflict`", body = Problem),
        (status = 422, description = "`scale-invalid`", body = Problem),
        (status = 503, description = "`state-unavailable`", body = Problem),
    ),
)]
pub(super) async fn scale(
    State(node): Shared,
    Segment(text): Segment,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<AppliedService>, Failure> {
    let body = body.map_err(|error| too_large_or_broken(&error))?;
    let unreadable = |why: String| Failure::Body { what: "new scale", why };
    let change: ScaleChange =
        serde_json::from_slice(&body).map_err(|error| unreadable(error.to_string()))?;
    let store = &*node.parts.store;
    let name = named(store, &text).await?;
    for _ in 0..ROUNDS {
        let key = keys::service(name.as_str());
        let Some((before, seen)) = read_record::<model::Service>(store, key.clone()).await? else {
            return Err(not_found(store, &text).await?);
        };
        let mut service = before.clone();
        service.scale = changed(&before.scale, &change)?;
        let changes = describe_scale(&before.scale, &service.scale);
        if changes.is_empty() {
            return Ok(Json(scaled(&service, changes)));
        }
        service.generation += 1;
        let put = Op::put(key.clone(), codec::encode(&service).map_err(store::Error::from)?);
        let mut txn = Txn::of(vec![put]).when(Cond::ModRev { key, is: seen });
        // Grants carry the version of the deployment: it grows with the change.
        let key = keys::rollout(name.as_str());
        if let Some((mut rollout, seen)) = read_record::<model::Rollout>(store, key.clone()).await?
        {
            rollout.version += 1;
            let value = codec::encode(&rollout).map_err(store::Error::from)?;
            txn.then.push(Op::put(key.clone(), value));
            txn = txn.when(Cond::ModRev { key, is: seen });
        }
        if store.txn(txn).await?.succeeded {
            return Ok(Json(scaled(&service, changes)));
        }
    }
    Err(Failure::Conflict)
}

/// A service with what only this node knows of it.
fn service(
    node: &Node,
    overview: &Overview,
    name: &Name,
    view: Option<&ServiceView>,
) -> Option<Service> {
    let pull = node.parts.pulls.get(name).map(Into::into);
    let compile = node.parts.compiler.progress(name).map(Into::into);
    Some(Service { pull, compile, ..overview.service(name, view)? })
}

fn detail(node: &Node, overview: &Overview, name: &Name) -> Option<ServiceDetail> {
    let cell = node.parts.table.get_or_leaving(name);
    let view = cell.as_ref().map(|cell| cell.view());
    let service = service(node, overview, name, view.as_ref())?;
    let rollout = overview.snapshot.rollouts.get(name);
    let definition = service.task.parse().ok();
    let definition = definition.and_then(|id| overview.snapshot.definitions.get(&id));
    let serving = service.serving.clone().unwrap_or_default();
    let running = view.iter().flat_map(|view| &view.tasks);
    let running = running.map(|task| Task::new(name, &serving, &node.parts.node, task));
    let running = running.collect();
    let stats = cell.as_ref().and_then(|cell| cell.stats_if_any().map(|s| s.snapshot()));
    let logs = cell.as_ref().map(|cell| cell.logs());
    let wanted = overview.snapshot.services.get(name);
    Some(ServiceDetail {
        definition: definition.map(Into::into),
        policies: wanted.map_or_else(Default::default, |wanted| wanted.scaling.clone()),
        schedule: wanted.map_or_else(Vec::new, |wanted| wanted.schedule.clone()),
        scaling: cell.as_ref().map_or_else(Vec::new, |cell| scaling::of(cell)),
        health: wanted.map_or_else(model::Health::default, |wanted| wanted.health.clone()),
        rules: wanted.map_or_else(Vec::new, ruled),
        traffic: wanted.map_or_else(Vec::new, |wanted| wanted.traffic.clone()),
        affinity: wanted.and_then(|wanted| wanted.affinity.clone()),
        mirror: wanted.and_then(|wanted| wanted.mirror.clone()),
        mirrored: cell.as_ref().map_or_else(BTreeMap::new, |cell| mirrored(cell)),
        status: overview.reports(name).flat_map(Status::all).collect(),
        rollout: rollout.map(Into::into),
        revisions: overview.kept(name),
        events: rollout.into_iter().flat_map(|r| &r.events).map(Into::into).collect(),
        why: overview.why(name),
        running,
        loaded: view.as_ref().is_some_and(|view| view.loaded),
        stats: stats.as_ref().map(Stats::from),
        log_lines: logs.map_or(0, |logs| logs.tail(usize::MAX).len()),
        log_dropped_bytes: logs.map_or(0, |logs| logs.dropped_bytes()),
        service,
    })
}

/// The new bounds, checked against each other.
fn changed(scale: &model::Scale, change: &ScaleChange) -> Result<model::Scale, Failure> {
    let idle = match &change.idle {
        None => scale.idle,
        Some(text) => duration::parse(text)
            .map_err(|error| Failure::Body { what: "new scale", why: format!("idle: {error}") })?,
    };
    let scale = model::Scale {
        min: change.min.unwrap_or(scale.min),
        max: change.max.unwrap_or(scale.max),
        idle,
    };
    scale.check()?;
    Ok(scale)
}

fn mirrored(cell: &ServiceCell) -> BTreeMap<String, u64> {
    let counted = cell.mirrors().counted().filter(|(_, count)| *count > 0);
    counted.map(|(outcome, count)| (outcome.as_str().to_owned(), count)).collect()
}

/// The routes that have rules.
fn ruled(service: &model::Service) -> Vec<model::Route> {
    service.routes.iter().filter(|route| !route.rules.is_none()).cloned().collect()
}

fn scaled(service: &model::Service, changes: Vec<String>) -> AppliedService {
    AppliedService {
        name: service.name.to_string(),
        change: if changes.is_empty() { Change::Unchanged } else { Change::Updated },
        task: service.task.to_string(),
        generation: service.generation,
        revision: service.revisions,
        changes,
        note: (!service.schedule.is_empty()).then(|| {
            "its schedule sets the bounds: those given here count before the schedule's first \
             entry, and where an entry names only one"
                .to_owned()
        }),
    }
}

/// A record, and the revision that last changed it.
pub(super) async fn read_record<T: DeserializeOwned>(
    store: &dyn Store,
    key: Bytes,
) -> Result<Option<(T, Revision)>, store::Error> {
    let range = RangeReq::key(key);
    let found = store.range(range, Consistency::Linearizable).await?;
    match found.kvs.first() {
        Some(record) => Ok(Some((codec::decode(record)?, record.mod_rev))),
        None => Ok(None),
    }
}

/// The name that the path gives; what cannot be a name is no service.
pub(super) async fn named(store: &dyn Store, text: &str) -> Result<Name, Failure> {
    match parse_name(text) {
        Some(name) => Ok(name),
        None => Err(not_found(store, text).await?),
    }
}

pub(super) fn parse_name(text: &str) -> Option<Name> {
    text.parse().ok()
}

/// The failure, with the services that there are.
pub(super) async fn not_found(store: &dyn Store, text: &str) -> Result<Failure, store::Error> {
    let range = RangeReq::prefix(keys::SERVICES);
    let found = store.range(range, Consistency::Linearizable).await?;
    let names = found.kvs.iter().filter_map(|record| keys::parse_service(&record.key));
    let known = names.filter_map(|name| name.parse().ok()).collect();
    Ok(Failure::NoService { name: shown(text), known })
}

/// A name as it may stand in a message: at most as long as a name can be.
pub(super) fn shown(text: &str) -> String {
    let text = crate::telemetry::sanitise(text.as_bytes());
    match text.chars().nth(Name::MAX_LEN) {
        None => text,
        Some(_) => text.chars().take(Name::MAX_LEN).chain(['…']).collect(),
    }
}

impl From<&StatsSnapshot> for Stats {
    fn from(stats: &StatsSnapshot) -> Self {
        let by_code = stats.by_code.iter().map(|(code, n)| (code.as_str().to_owned(), *n));
        let by_code: BTreeMap<String, u64> = by_code.collect();
        let duration = &stats.duration;
        let mean_s = if duration.count == 0 { 0.0 } else { duration.sum_s / duration.count as f64 };
        Self {
            requests: by_code.values().sum(),
            by_code,
            cold_starts: stats.cold_starts,
            duration_mean_ms: mean_s * 1e3,
            duration_p50_ms: duration.quantile_s(50) * 1e3,
            duration_p99_ms: duration.quantile_s(99) * 1e3,
            fuel: stats.fuel,
            cpu_s: stats.cpu_s,
            bytes_in: stats.bytes_in,
            bytes_out: stats.bytes_out,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_messages_are_short_and_tame() {
        assert_eq!(shown("hello"), "hello");
        assert_eq!(shown(&"x".repeat(70_000)).chars().count(), Name::MAX_LEN + 1);
        assert!(!shown("\u{1b}[2J").contains('\u{1b}'));
    }
}

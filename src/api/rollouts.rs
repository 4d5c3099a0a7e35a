//! Revisions and deployments: list, follow, and what a person asks of them.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;

use crate::clock;
use crate::model::{self, DeployPolicy, Name, Order, Strategy};
use crate::rollout;
use crate::store::{self, Cond, Op, Store, Txn, codec, keys};

use super::Shared;
use super::apply::too_large_or_broken;
use super::dto::{Revision, Rollout, RolloutAction, RolloutOrder};
use super::failure::Failure;
use super::overview::Overview;
use super::problem::Problem;
use super::segment::Segment;
use super::services::{named, not_found, read_record};

/// How often an order starts again because the deployment went on meanwhile.
const ROUNDS: usize = 10;

/// Lists the revisions of a service that are kept, the newest first.
#[utoipa::path(
    get,
    path = "/v1/services/{name}/revisions",
    tag = "deployments",
    params(("name" = String, Path, description = "The service")),
    responses(
        (status = 200, description = "The revisions", body = Vec<Revision>),
        (status = 404, description = "`service-not-found`", body = Problem),
        (status = 503, description = "`state-unavailable`", body = Problem),
    ),
)]
pub(super) async fn revisions(
    State(node): Shared,
    Segment(text): Segment,
) -> Result<Json<Vec<Revision>>, Failure> {
    let store = &*node.parts.store;
    let name = named(store, &text).await?;
    let overview = Overview::read_one(store, &name).await?;
    if !overview.snapshot.services.contains_key(&name) {
        return Err(not_found(store, &text).await?);
    }
    Ok(Json(overview.kept(&name)))
}

/// Lists the revisions of all services.
#[utoipa::path(
    get,
    path = "/v1/revisions",
    tag = "deployments",
    responses(
        (status = 200, description = "The revisions by service, the newest first",
            body = Vec<Revision>),
        (status = 503, description = "`state-unavailable`", body = Problem),
    ),
)]
pub(super) async fn all_revisions(State(node): Shared) -> Result<Json<Vec<Revision>>, Failure> {
    let overview = Overview::read(&*node.parts.store).await?;
    let names = overview.snapshot.services.keys();
    Ok(Json(names.flat_map(|name| overview.kept(name)).collect()))
}

/// Describes the deployment of a service that is under way, or was last.
#[utoipa::path(
    get,
    path = "/v1/services/{name}/rollout",
    tag = "deployments",
    params(("name" = String, Path, description = "The service")),
    responses(
        (status = 200, description = "The deployment", body = Rollout),
        (status = 404, description = "`service-not-found`", body = Problem),
        (status = 503, description = "`state-unavailable`", body = Problem),
    ),
)]
pub(super) async fn status(
    State(node): Shared,
    Segment(text): Segment,
) -> Result<Json<Rollout>, Failure> {
    let store = &*node.parts.store;
    let name = named(store, &text).await?;
    let rollout = read_record::<model::Rollout>(store, keys::rollout(name.as_str())).await?;
    match rollout {
        Some((rollout, _)) => Ok(Json((&rollout).into())),
        None => Err(not_found(store, &text).await?),
    }
}

/// Pauses, resumes, promotes, aborts or undoes the deployment of a service.
#[utoipa::path(
    post,
    path = "/v1/services/{name}/rollout",
    tag = "deployments",
    params(("name" = String, Path, description = "The service")),
    request_body = RolloutOrder,
    responses(
        (status = 200, description = "The deployment, which carries the order out", body = Rollout),
        (status = 404, description = "`service-not-found`", body = Problem),
        (status = 409, description = "`conflict`, `rollout-over`, `revision-not-kept`",
            body = Problem),
        (status = 503, description = "`state-unavailable`", body = Problem),
    ),
)]
pub(super) async fn order(
    State(node): Shared,
    Segment(text): Segment,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Rollout>, Failure> {
    let body = body.map_err(|error| too_large_or_broken(&error))?;
    let order: RolloutOrder = serde_json::from_slice(&body)
        .map_err(|error| Failure::Body { what: "order", why: error.to_string() })?;
    let store = &*node.parts.store;
    let name = named(store, &text).await?;
    for _ in 0..ROUNDS {
        let key = keys::rollout(name.as_str());
        let Some((before, seen)) = read_record::<model::Rollout>(store, key.clone()).await? else {
            return Err(not_found(store, &text).await?);
        };
        let after = match order.action {
            RolloutAction::Undo => undo(store, &name, &before, order.revision).await?,
            RolloutAction::Pause => ordered(&before, Order::Pause)?,
            RolloutAction::Resume => ordered(&before, Order::Resume)?,
            RolloutAction::Promote => ordered(&before, Order::Promote)?,
            RolloutAction::Abort => ordered(&before, Order::Abort)?,
        };
        let put = Op::put(key.clone(), codec::encode(&after).map_err(store::Error::from)?);
        let txn = Txn::of(vec![put]).when(Cond::ModRev { key, is: seen });
        if store.txn(txn).await?.succeeded {
            return Ok(Json((&after).into()));
        }
    }
    Err(Failure::Conflict)
}

fn ordered(rollout: &model::Rollout, order: Order) -> Result<model::Rollout, Failure> {
    if rollout.stage.is_over() {
        let (number, stage) = (rollout.number, rollout.stage.as_str());
        return Err(Failure::RolloutOver { number, stage });
    }
    Ok(model::Rollout { order: Some(order), version: rollout.version + 1, ..rollout.clone() })
}

/// A deployment of an earlier revision, all at once: it was in service before.
async fn undo(
    store: &dyn Store,
    name: &Name,
    before: &model::Rollout,
    revision: Option<u64>,
) -> Result<model::Rollout, Failure> {
    let overview = Overview::read_one(store, name).await?;
    let kept: Vec<u64> = overview.revisions(name).map(|revision| revision.number).collect();
    let earlier = || {
        let is_earlier = |number: &u64| *number < before.revision;
        before.stable.or_else(|| kept.iter().copied().rfind(is_earlier))
    };
    let target = revision.or_else(earlier);
    let found = overview.revisions(name).find(|revision| Some(revision.number) == target);
    let Some(found) = found else {
        return Err(Failure::NotKept { revision: target, known: kept });
    };
    let request = rollout::Request {
        service: name.clone(),
        revision: found.number,
        task: found.definition.id.to_string(),
        policy: DeployPolicy {
            strategy: Strategy::AllAtOnce,
            bake: Duration::ZERO,
            ..before.policy.clone()
        },
        now_ms: clock::unix_ms(),
        floor: 0,
        anew: false,
    };
    Ok(rollout::begin(Some(before), request))
}

impl Overview {
    /// The revisions of a service, the newest first.
    pub(super) fn kept(&self, name: &Name) -> Vec<Revision> {
        let service = self.snapshot.services.get(name);
        let rollout = self.snapshot.rollouts.get(name);
        let parts = service.zip(rollout).map(|(s, r)| rollout::parts(s, r)).unwrap_or_default();
        let stable = rollout.and_then(|rollout| match rollout.stage {
            model::Stage::Completed => Some(rollout.revision),
            _ => rollout.stable,
        });
        let mut kept: Vec<Revision> = self
            .revisions(name)
            .map(|revision| {
                let part = parts.iter().find(|part| part.revision == revision.number);
                Revision::new(revision, part, stable == Some(revision.number))
            })
            .collect();
        kept.reverse();
        kept
    }
}

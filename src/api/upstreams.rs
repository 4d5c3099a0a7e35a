//! Upstreams: list, describe, delete.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use crate::model;
use crate::store::{self, Consistency, RangeReq, Store, codec, keys};

use super::dto::{Deleted, Stats, Upstream, UpstreamDetail, UpstreamTarget};
use super::failure::Failure;
use super::problem::Problem;
use super::segment::Segment;
use super::services::{delete_record, parse_name, read_record, shown};
use super::{Shared, State as Node};

/// Lists the upstreams.
#[utoipa::path(
    get,
    path = "/v1/upstreams",
    tag = "upstreams",
    responses(
        (status = 200, description = "The upstreams by name", body = Vec<Upstream>),
        (status = 503, description = "`state-unavailable`", body = Problem),
    ),
)]
pub(super) async fn list(State(node): Shared) -> Result<Json<Vec<Upstream>>, Failure> {
    let all = all(&*node.parts.store).await?;
    Ok(Json(all.iter().map(|upstream| seen(&node, upstream)).collect()))
}

/// Describes an upstream: how its servers are used, how they are, and what was counted.
#[utoipa::path(
    get,
    path = "/v1/upstreams/{name}",
    tag = "upstreams",
    params(("name" = String, Path, description = "The upstream")),
    responses(
        (status = 200, description = "The upstream", body = UpstreamDetail),
        (status = 404, description = "`upstream-not-found`", body = Problem),
        (status = 503, description = "`state-unavailable`", body = Problem),
    ),
)]
pub(super) async fn describe(
    State(node): Shared,
    Segment(text): Segment,
) -> Result<Json<UpstreamDetail>, Failure> {
    let store = &*node.parts.store;
    let found = match parse_name(&text) {
        Some(name) => read_record::<model::Upstream>(store, keys::upstream(name.as_str())).await?,
        None => None,
    };
    let Some((upstream, _)) = found else { return Err(not_found(store, &text).await?) };
    let cell = node.parts.upstreams.get(&upstream.name);
    let stats = cell.as_ref().and_then(|cell| cell.stats_if_any().map(|stats| stats.snapshot()));
    Ok(Json(UpstreamDetail {
        upstream: seen(&node, &upstream),
        retries: cell.map_or(0, |cell| cell.retries()),
        stats: stats.as_ref().map(Stats::from),
        rules: upstream.routes.into_iter().filter(|route| !route.rules.is_none()).collect(),
        policy: upstream.policy,
    }))
}

/// Deletes an upstream. It takes no more requests; those under way end by themselves.
#[utoipa::path(
    delete,
    path = "/v1/upstreams/{name}",
    tag = "upstreams",
    params(("name" = String, Path, description = "The upstream")),
    responses(
        (status = 202, description = "The upstream is deleted", body = Deleted),
        (status = 404, description = "`upstream-not-found`", body = Problem),
        (status = 503, description = "`state-unavailable`", body = Problem),
    ),
)]
pub(super) async fn delete(
    State(node): Shared,
    Segment(text): Segment,
) -> Result<(StatusCode, Json<Deleted>), Failure> {
    let store = &*node.parts.store;
    let Some(name) = parse_name(&text) else { return Err(not_found(store, &text).await?) };
    match delete_record(store, &name, keys::upstream(name.as_str())).await? {
        Some(deleted) => Ok((StatusCode::ACCEPTED, Json(deleted))),
        None => Err(not_found(store, &text).await?),
    }
}

/// An upstream with what this node knows of its servers.
fn seen(node: &Node, upstream: &model::Upstream) -> Upstream {
    let cell = node.parts.upstreams.get(&upstream.name);
    let in_force = cell.as_ref().map_or(0, |cell| cell.upstream().generation);
    let views = cell.map_or_else(Vec::new, |cell| cell.view());
    let targets = upstream.targets.iter().map(|target| {
        let text = target.to_string();
        let view = views.iter().find(|view| *view.target == *text);
        view.cloned().map_or_else(|| UpstreamTarget::unknown(target), Into::into)
    });
    Upstream {
        name: upstream.name.to_string(),
        routes: upstream.routes.iter().map(|route| route.pattern.to_string()).collect(),
        targets: targets.collect(),
        generation: upstream.generation,
        in_force,
    }
}

async fn all(store: &dyn Store) -> Result<Vec<model::Upstream>, store::Error> {
    let found = store.range(RangeReq::prefix(keys::UPSTREAMS), Consistency::Linearizable).await?;
    found.kvs.iter().map(|record| codec::decode(record).map_err(Into::into)).collect()
}

/// The failure, with the upstreams that there are.
async fn not_found(store: &dyn Store, text: &str) -> Result<Failure, store::Error> {
    let known = all(store).await?.into_iter().map(|upstream| upstream.name).collect();
    Ok(Failure::NoUpstream { name: shown(text), known })
}

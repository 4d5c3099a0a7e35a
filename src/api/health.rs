//! What probes read.

use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;

use super::Shared;
use super::dto::Health;
use super::failure::Failure;
use super::problem::Problem;

/// Answers as long as the process does.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "health",
    responses((status = 200, description = "The process answers", body = Health)),
)]
pub(super) async fn healthz() -> Json<Health> {
    Json(Health { status: "ok".to_owned() })
}

/// Says whether the node serves requests, and shall be sent more.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "health",
    responses(
        (status = 200, description = "The node serves", body = Health),
        (status = 503, description = "`not-ready`, `draining`", body = Problem),
    ),
)]
pub(super) async fn readyz(State(node): Shared) -> Result<Json<Health>, Failure> {
    if !node.parts.ready.load(Ordering::Acquire) || node.shutdown.has_begun() {
        return Err(Failure::NotReady);
    }
    match node.parts.draining.is_on() {
        true => Err(Failure::Draining(node.parts.node.clone())),
        false => Ok(healthz().await),
    }
}

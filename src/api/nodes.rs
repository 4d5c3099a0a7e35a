//! Nodes, and the version of the one that answers.

use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;

use crate::control;
use crate::runtime::ResetMode;

use super::dto::{Live, Node, Version};
use super::failure::Failure;
use super::problem::Problem;
use super::{Shared, State as Here};

/// Lists the nodes. The one that answers says what it holds at the moment.
#[utoipa::path(
    get,
    path = "/v1/nodes",
    tag = "nodes",
    responses(
        (status = 200, description = "The nodes by name", body = Vec<Node>),
        (status = 503, description = "`state-unavailable`", body = Problem),
    ),
)]
pub(super) async fn list(State(here): Shared) -> Result<Json<Vec<Node>>, Failure> {
    let snapshot = control::observe(&*here.parts.store).await?.snapshot;
    let nodes = snapshot.nodes.values().map(|node| Node {
        live: (node.id == here.parts.node).then(|| live(&here)),
        ..Node::from(node)
    });
    Ok(Json(nodes.collect()))
}

/// Says which Wharf answers.
#[utoipa::path(
    get,
    path = "/v1/version",
    tag = "nodes",
    responses((status = 200, description = "The version", body = Version)),
)]
pub(super) async fn version(State(here): Shared) -> Json<Version> {
    Json(Version {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        wasmtime: env!("WHARF_WASMTIME_VERSION").to_owned(),
        node: here.parts.node.to_string(),
        ready: here.parts.ready.load(Ordering::Acquire),
    })
}

/// What this node holds now.
pub(super) fn live(here: &Here) -> Live {
    let engine = here.parts.runtime.engine();
    let (sizing, memory) = (engine.sizing(), here.parts.runtime.memory());
    let reset = match sizing.reset {
        ResetMode::Fast => "fast",
        ResetMode::Safe => "safe",
    };
    Live {
        instances: engine.live_instances(),
        slots: sizing.slots,
        slots_because: sizing.slots_because.to_owned(),
        loaded: here.parts.loader.live(),
        loaded_max: sizing.loaded,
        memory_used_bytes: memory.used(),
        memory_max_bytes: memory.max(),
        reset: reset.to_owned(),
        reset_because: sizing.reset_because.clone(),
        reset_hazard: engine.reset_hazard(),
        compiles: here.parts.compiler.compiled(),
        loads: here.parts.loader.loads(),
    }
}

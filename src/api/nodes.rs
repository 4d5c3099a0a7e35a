//! Nodes, and the version of the one that answers.

use std::sync::atomic::Ordering;

use std::time::Duration;

use axum::Json;
use axum::extract::State;

use crate::control;
use crate::model::{self, NodeId, NodeStatus};
use crate::runtime::ResetMode;
use crate::store::{self, Cond, Consistency, Op, RangeReq, Store, Txn, codec, keys};

use super::dto::{Live, Node, Version};
use super::failure::Failure;
use super::problem::Problem;
use super::segment::Segment;
use super::services::{ROUNDS, parse_name, read_record, shown};
use super::{Shared, State as Here};

/// How long a change of the node's own status may take to be in force before the call answers
/// without it, and how often it is looked at.
const IN_FORCE: Duration = Duration::from_secs(1);
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

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
    Ok(Json(snapshot.nodes.values().map(|node| seen(&here, node)).collect()))
}

/// Takes a node out: it gets no new services, `/readyz` answers 503 `draining`, and clients of its
/// load balancer are told to go elsewhere. What still comes is served. Services that it has go to
/// other nodes as soon as those serve them, and stay where there is none.
#[utoipa::path(
    post,
    path = "/v1/nodes/{node}/drain",
    tag = "nodes",
    params(("node" = String, Path, description = "The node")),
    responses(
        (status = 200, description = "The node, which drains", body = Node),
        (status = 404, description = "`node-not-found`", body = Problem),
        (status = 409, description = "`conflict`", body = Problem),
        (status = 503, description = "`state-unavailable`", body = Problem),
    ),
)]
pub(super) async fn drain(
    State(here): Shared,
    Segment(text): Segment,
) -> Result<Json<Node>, Failure> {
    set_status(&here, &text, NodeStatus::Draining).await
}

/// Brings a node that drains back.
#[utoipa::path(
    post,
    path = "/v1/nodes/{node}/undrain",
    tag = "nodes",
    params(("node" = String, Path, description = "The node")),
    responses(
        (status = 200, description = "The node, which is active", body = Node),
        (status = 404, description = "`node-not-found`", body = Problem),
        (status = 409, description = "`conflict`", body = Problem),
        (status = 503, description = "`state-unavailable`", body = Problem),
    ),
)]
pub(super) async fn undrain(
    State(here): Shared,
    Segment(text): Segment,
) -> Result<Json<Node>, Failure> {
    set_status(&here, &text, NodeStatus::Active).await
}

/// Writes what is asked of a node, unless it is so already. The agent of that node acts by it.
async fn set_status(here: &Here, text: &str, status: NodeStatus) -> Result<Json<Node>, Failure> {
    let store = &*here.parts.store;
    let Some(id) = parse_name(text) else { return Err(not_found(store, text).await?) };
    for _ in 0..ROUNDS {
        let key = keys::node(id.as_str());
        let Some((before, is)) = read_record::<model::Node>(store, key.clone()).await? else {
            return Err(not_found(store, text).await?);
        };
        let node = model::Node { status, ..before.clone() };
        let put = Op::put(key.clone(), codec::encode(&node).map_err(store::Error::from)?);
        let unchanged = Cond::ModRev { key, is };
        if node == before || store.txn(Txn::of(vec![put]).when(unchanged)).await?.succeeded {
            in_force(here, &node).await;
            return Ok(Json(seen(here, &node)));
        }
    }
    Err(Failure::Conflict)
}

/// Waits until the node that answers acts by its record, so that whoever looks next sees it.
async fn in_force(here: &Here, node: &model::Node) {
    let acts = async {
        while here.parts.draining.is_on() != node.is_draining() {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    };
    if node.id == here.parts.node {
        let _ = tokio::time::timeout(IN_FORCE, acts).await;
    }
}

/// A node with what only itself knows, if it is this one.
fn seen(here: &Here, node: &model::Node) -> Node {
    let live = (node.id == here.parts.node).then(|| live(here));
    Node { live, ..Node::from(node) }
}

/// The failure, with the nodes that there are.
async fn not_found(store: &dyn Store, text: &str) -> Result<Failure, store::Error> {
    let found = store.range(RangeReq::prefix(keys::NODES), Consistency::Linearizable).await?;
    let names = found.kvs.iter().filter_map(|record| keys::parse_node(&record.key));
    let known: Vec<NodeId> = names.filter_map(|name| name.parse().ok()).collect();
    Ok(Failure::NoNode { name: shown(text), known })
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
        connections: here.parts.open.count(),
        in_flight: in_flight(here),
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
        compiles: here.parts.compiler.load().compiled,
        loads: here.parts.loader.loads(),
    }
}

/// Requests that are answered or wait, of services and upstreams.
fn in_flight(here: &Here) -> u64 {
    let services = here.parts.table.all();
    let asked = services.iter().filter(|cell| cell.stats_if_any().is_some());
    let services = asked.map(|cell| {
        let (in_flight, tasks) = cell.load();
        u64::from(in_flight) + u64::from(tasks.waiting)
    });
    let upstreams = here.parts.upstreams.all();
    let servers = upstreams.iter().flat_map(|cell| cell.view());
    services.sum::<u64>() + servers.map(|server| u64::from(server.in_flight)).sum::<u64>()
}

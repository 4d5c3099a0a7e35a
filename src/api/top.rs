//! What goes on now, for whoever looks again and again.

use axum::Json;
use axum::extract::State;

use crate::clock;

use super::dto::{Top, TopEntry, TopNode};
use super::{Shared, State as Node, metrics, nodes};

/// Counters of the services and upstreams that have been asked for anything on the node that
/// answers: two answers make the rates of an interval. The store is not read.
#[utoipa::path(
    get,
    path = "/v1/top",
    tag = "nodes",
    responses((status = 200, description = "Counters since the node started", body = Top)),
)]
pub(super) async fn read(State(node): Shared) -> Json<Top> {
    let counts = metrics::counts(&node);
    Json(Top {
        at_ms: node.clock.now_ms(),
        node: of_node(&node),
        bounds_s: counts.first().map_or_else(Vec::new, |one| Top::bounds(&one.stats.duration)),
        entries: counts.iter().map(TopEntry::from).collect(),
    })
}

fn of_node(node: &Node) -> TopNode {
    let live = nodes::live(node);
    TopNode {
        id: node.parts.node.to_string(),
        cpu_s: clock::process_cpu().as_secs_f64(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        memory_used_bytes: live.memory_used_bytes,
        memory_max_bytes: live.memory_max_bytes,
        instances: live.instances,
        slots: live.slots,
    }
}

//! What scrapers read.

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use crate::telemetry::{self, NodeGauges, Scrape, ServiceCounts, TargetCounts};
use crate::upstream::UpstreamCell;

use super::nodes;
use super::{Shared, State as Node};

/// What `telemetry::render` writes: OpenMetrics 1.0.
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// Counters and gauges of the node and of every service that has had a request.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "health",
    responses((status = 200, description = "OpenMetrics text", body = String,
        content_type = "application/openmetrics-text")),
)]
pub(super) async fn scrape(State(node): Shared) -> Response {
    let mut cells = node.parts.table.all();
    cells.sort_by(|a, b| a.name().cmp(b.name()));
    let services = cells.iter().filter_map(|cell| {
        let stats = cell.stats_if_any()?;
        Some(ServiceCounts { name: cell.name().clone(), stats: stats.snapshot() })
    });
    let mut upstreams = node.parts.upstreams.all();
    upstreams.sort_by(|a, b| a.name().cmp(b.name()));
    let forwarded = upstreams.iter().filter_map(|cell| {
        let stats = cell.stats_if_any()?;
        Some(ServiceCounts { name: cell.name().clone(), stats: stats.snapshot() })
    });
    let services = services.chain(forwarded).collect();
    let targets = upstreams.iter().flat_map(|cell| targets(cell)).collect();
    let scrape = Scrape { services, targets, node: gauges(&node, cells.len()) };
    let text = telemetry::render(scrape, &node.parts.unparsed);
    ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response()
}

fn targets(cell: &UpstreamCell) -> impl Iterator<Item = TargetCounts> {
    cell.view().into_iter().map(|server| TargetCounts {
        upstream: cell.name().clone(),
        target: server.target,
        up: server.healthy && !server.ejected,
        in_flight: server.in_flight,
        requests: server.requests,
        failures: server.failures,
        ejections: server.ejections,
        connects: server.connects,
        probes_failed: server.probes.1,
    })
}

fn gauges(node: &Node, services: usize) -> NodeGauges {
    let live = nodes::live(node);
    NodeGauges {
        instances: (live.instances, u64::from(live.slots)),
        components: (u64::from(live.loaded), u64::from(live.loaded_max)),
        memory_bytes: (live.memory_used_bytes, live.memory_max_bytes),
        component_loads: live.loads,
        compiles: live.compiles,
        reset_fast: live.reset == "fast",
        services: services as u64,
    }
}

//! What scrapers read.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use crate::model::{Name, Rollout};
use crate::runtime::ServiceCell;
use crate::store::{Consistency, RangeReq, Revision, Store, codec, keys};
use crate::telemetry::{self, NodeGauges, RolloutStage, Scrape, ServiceCounts, TargetCounts};
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
    let cells = asked(&node);
    let upstreams = node.parts.upstreams.all();
    let scrape = Scrape {
        services: counts(&node),
        revisions: cells.iter().flat_map(|cell| cell.revision_counts()).collect(),
        stages: stages(&*node.parts.store, &cells).await,
        targets: by_name(upstreams, |cell| cell.name()).iter().flat_map(|c| targets(c)).collect(),
        node: gauges(&node),
    };
    let text = telemetry::render(scrape, &node.parts.unparsed);
    ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response()
}

/// What was counted of every service and upstream that has been asked for anything, by name.
pub(super) fn counts(node: &Node) -> Vec<ServiceCounts> {
    let services = asked(node).into_iter().filter_map(|cell| {
        let (name, stats) = (cell.name().clone(), cell.stats_if_any()?.snapshot());
        let (in_flight, tasks) = cell.load();
        let mirrored = cell.mirrors().counted().filter(|(_, count)| *count > 0);
        let mirrored = mirrored.map(|(outcome, count)| (outcome.as_str(), count)).collect();
        let sent = cell.outlet_if_any().into_iter().flat_map(|outlet| outlet.counted());
        let sent = sent.filter(|(_, count)| *count > 0);
        let outgoing = sent.map(|(outcome, count)| (outcome.as_str(), count)).collect();
        let (tasks, retries) = (Some(tasks), None);
        Some(ServiceCounts { name, stats, in_flight, tasks, retries, outgoing, mirrored })
    });
    let upstreams = node.parts.upstreams.all();
    let upstreams = by_name(upstreams, |cell| cell.name()).into_iter().filter_map(|cell| {
        let (name, stats) = (cell.name().clone(), cell.stats_if_any()?.snapshot());
        let in_flight = cell.view().iter().map(|server| server.in_flight).sum();
        let retries = Some(cell.retries());
        let (outgoing, mirrored) = Default::default();
        Some(ServiceCounts { name, stats, in_flight, tasks: None, retries, outgoing, mirrored })
    });
    services.chain(upstreams).collect()
}

/// The services that have been asked for anything. Most of a large node's have not, and cost a
/// scrape no more than a look.
fn asked(node: &Node) -> Vec<Arc<ServiceCell>> {
    let mut cells = node.parts.table.all();
    cells.retain(|cell| cell.stats_if_any().is_some());
    by_name(cells, |cell| cell.name())
}

fn by_name<T>(mut all: Vec<T>, name: impl Fn(&T) -> &Name) -> Vec<T> {
    all.sort_by(|a, b| name(a).cmp(name(b)));
    all
}

/// How far the deployments of these services are. What cannot be read is left out: a scrape goes
/// on when the store does not.
async fn stages(store: &dyn Store, cells: &[Arc<ServiceCell>]) -> Vec<RolloutStage> {
    let mut stages = Vec::new();
    for cell in cells {
        let range = RangeReq::key(keys::rollout(cell.name().as_str()));
        let Ok(found) = store.range(range, Consistency::Cached(Revision::ZERO)).await else {
            break;
        };
        let record = found.kvs.first().and_then(|kv| codec::decode::<Rollout>(kv).ok());
        stages.extend(record.map(|rollout| {
            let (service, stage) = (cell.name().clone(), rollout.stage.as_str());
            RolloutStage { service, stage }
        }));
    }
    stages
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

fn gauges(node: &Node) -> NodeGauges {
    let live = nodes::live(node);
    let compiler = node.parts.compiler.load();
    NodeGauges {
        instances: (live.instances, u64::from(live.slots)),
        components: (u64::from(live.loaded), u64::from(live.loaded_max)),
        memory_bytes: (live.memory_used_bytes, live.memory_max_bytes),
        component_loads: live.loads,
        compiles: live.compiles,
        compile_failures: compiler.failed,
        compile_ms: u64::try_from(compiler.busy.as_millis()).unwrap_or(u64::MAX),
        compiling: (compiler.running as u64, compiler.waiting as u64),
        reset_fast: live.reset == "fast",
        services: node.parts.table.len() as u64,
        connections: live.connections,
        draining: node.parts.draining.is_on(),
    }
}

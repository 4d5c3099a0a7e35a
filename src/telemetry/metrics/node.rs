//! What the node measures of itself.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType::{Counter, Gauge};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::model::Code;

use super::super::unparsed::Unparsed;
use super::series;

/// What the node measures of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeGauges {
    /// Instances that live now, and that can live at once.
    pub instances: (u64, u64),
    /// Components in memory, and that fit.
    pub components: (u64, u64),
    /// Bytes of memory that instances hold, and that they may hold.
    pub memory_bytes: (u64, u64),
    /// Components loaded since the start.
    pub component_loads: u64,
    /// Components compiled since the start.
    pub compiles: u64,
    /// Components that could not be compiled.
    pub compile_failures: u64,
    /// Time that compilations took, in milliseconds.
    pub compile_ms: u64,
    /// Compilations that are under way, and that wait for their turn.
    pub compiling: (u64, u64),
    /// Whether memory is reset by written pages only.
    pub reset_fast: bool,
    /// Services that this node has a grant for.
    pub services: u64,
    /// Connections of clients of the load balancer.
    pub connections: u64,
    /// Whether the node drains.
    pub draining: bool,
}

type Gauged = (&'static str, &'static str, fn(&NodeGauges) -> u64);

const GAUGES: [Gauged; 15] = [
    ("instances_live", "Instances that live now", |node| node.instances.0),
    ("instances_max", "Instances that can live at once", |node| node.instances.1),
    ("components_loaded", "Components in memory", |node| node.components.0),
    ("components_loaded_max", "Components that fit", |node| node.components.1),
    ("memory_used_bytes", "Memory that instances hold", |node| node.memory_bytes.0),
    ("memory_max_bytes", "Memory that instances may hold", |node| node.memory_bytes.1),
    ("component_loads", "Components loaded since the start", |node| node.component_loads),
    ("compiles", "Components compiled since the start", |node| node.compiles),
    ("compile_failures", "Components that could not be compiled", |node| node.compile_failures),
    ("compiles_running", "Compilations that are under way", |node| node.compiling.0),
    ("compiles_waiting", "Compilations that wait for their turn", |node| node.compiling.1),
    ("reset_fast", "Whether memory is reset by written pages only", |node| {
        u64::from(node.reset_fast)
    }),
    ("services", "Services that this node has a grant for", |node| node.services),
    ("connections", "Connections of clients of the load balancer", |node| node.connections),
    ("draining", "Whether the node drains", |node| u64::from(node.draining)),
];

const COMPILE_SECONDS: (&str, &str) =
    ("compile_seconds", "Wall-clock time that compilations took, those that failed included");

const UNPARSED: (&str, &str) =
    ("unparsed_requests", "Connections that the HTTP parser ended, by why it did");

const UNROUTED: (&str, &str) =
    ("unrouted_requests", "Requests that are for no service, by how they ended");

/// What came to the load balancer and is for no service.
#[derive(Debug)]
pub(super) struct Strays {
    unparsed: [(&'static str, u64); 3],
    unrouted: Vec<(Code, u64)>,
}

impl From<&Unparsed> for Strays {
    fn from(counts: &Unparsed) -> Self {
        Self { unparsed: counts.counts(), unrouted: counts.unrouted() }
    }
}

pub(super) fn encode(
    encoder: &mut DescriptorEncoder<'_>,
    node: &NodeGauges,
    strays: &Strays,
) -> fmt::Result {
    let unparsed = strays.unparsed.iter().map(|(reason, count)| ([("reason", *reason)], *count));
    series::encode_counters(encoder, UNPARSED, unparsed)?;
    let unrouted = strays.unrouted.iter().map(|(code, count)| ([("code", code.as_str())], *count));
    series::encode_counters(encoder, UNROUTED, unrouted)?;
    let (name, help) = COMPILE_SECONDS;
    let seconds = ConstCounter::new(node.compile_ms as f64 / 1e3);
    seconds.encode(encoder.encode_descriptor(name, help, None, Counter)?)?;
    for (name, help, value) in GAUGES {
        let gauge = ConstGauge::new(value(node));
        gauge.encode(encoder.encode_descriptor(name, help, None, Gauge)?)?;
    }
    Ok(())
}

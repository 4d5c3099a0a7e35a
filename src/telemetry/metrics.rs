//! Every metric name, and the text that `/metrics` answers with.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeMetric, LabelSetEncoder,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::model::{Code, Name};

use super::stats::{HistogramSnapshot, StatsSnapshot};
use super::unparsed::Unparsed;

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
    /// Whether memory is reset by written pages only.
    pub reset_fast: bool,
    /// Services that this node has a grant for.
    pub services: u64,
}

type Gauged = (&'static str, &'static str, fn(&NodeGauges) -> u64);

const GAUGES: [Gauged; 10] = [
    ("instances_live", "Instances that live now", |node| node.instances.0),
    ("instances_max", "Instances that can live at once", |node| node.instances.1),
    ("components_loaded", "Components in memory", |node| node.components.0),
    ("components_loaded_max", "Components that fit", |node| node.components.1),
    ("memory_used_bytes", "Memory that instances hold", |node| node.memory_bytes.0),
    ("memory_max_bytes", "Memory that instances may hold", |node| node.memory_bytes.1),
    ("component_loads", "Components loaded since the start", |node| node.component_loads),
    ("compiles", "Components compiled since the start", |node| node.compiles),
    ("reset_fast", "Whether memory is reset by written pages only", |node| {
        u64::from(node.reset_fast)
    }),
    ("services", "Services that this node has a grant for", |node| node.services),
];

/// What is known of one server of an upstream.
#[derive(Clone, Debug)]
pub struct TargetCounts {
    /// The upstream.
    pub upstream: Name,
    /// The server.
    pub target: Arc<str>,
    /// Whether it takes requests.
    pub up: bool,
    /// Requests that it answers now.
    pub in_flight: u32,
    /// Requests that it has answered, or failed to.
    pub requests: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// How often it was left alone because it answered badly.
    pub ejections: u64,
    /// Connections that were opened to it.
    pub connects: u64,
    /// Probes that failed.
    pub probes_failed: u64,
}

/// Renders the OpenMetrics text. Series exist only for services that have had a request, and for
/// the servers of upstreams.
pub fn render(
    services: Vec<(Name, StatsSnapshot)>,
    targets: Vec<TargetCounts>,
    node: NodeGauges,
    unparsed: &Unparsed,
) -> String {
    let mut registry = Registry::with_prefix("wharf");
    let (unparsed, unrouted) = (unparsed.counts(), unparsed.unrouted());
    registry.register_collector(Box::new(Scrape { services, targets, node, unparsed, unrouted }));
    let mut text = String::new();
    // Writing into a `String` fails only if a value's own formatting fails, which none does.
    let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
    text
}

#[derive(Debug)]
struct Scrape {
    services: Vec<(Name, StatsSnapshot)>,
    targets: Vec<TargetCounts>,
    node: NodeGauges,
    unparsed: [(&'static str, u64); 3],
    unrouted: Vec<(Code, u64)>,
}

struct ServiceLabel<'a>(&'a Name);

impl EncodeLabelSet for ServiceLabel<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder) -> Result<(), fmt::Error> {
        use prometheus_client::encoding::EncodeLabel;
        ("service", self.0.as_str()).encode(encoder.encode_label())
    }
}

struct TargetLabels<'a>(&'a TargetCounts);

impl EncodeLabelSet for TargetLabels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder) -> Result<(), fmt::Error> {
        use prometheus_client::encoding::EncodeLabel;
        ("service", self.0.upstream.as_str()).encode(encoder.encode_label())?;
        ("target", &*self.0.target).encode(encoder.encode_label())
    }
}

struct CodeLabels<'a>(&'a Name, &'static str);

impl EncodeLabelSet for CodeLabels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder) -> Result<(), fmt::Error> {
        use prometheus_client::encoding::EncodeLabel;
        ("service", self.0.as_str()).encode(encoder.encode_label())?;
        ("code", self.1).encode(encoder.encode_label())
    }
}

const UNPARSED: (&str, &str) =
    ("unparsed_requests", "Connections that the HTTP parser ended, by why it did");

const UNROUTED: (&str, &str) =
    ("unrouted_requests", "Requests that are for no service, by how they ended");

type Counted = (&'static str, &'static str, fn(&StatsSnapshot) -> f64);

const COUNTERS: [Counted; 5] = [
    ("cold_starts", "Requests that a task was started for", |s| s.cold_starts as f64),
    ("fuel", "Instructions executed by guests", |s| s.fuel as f64),
    ("cpu_seconds", "CPU time used by guests", |s| s.cpu_s),
    ("request_bytes", "Request body bytes given to guests", |s| s.bytes_in as f64),
    ("response_bytes", "Response body bytes produced by guests", |s| s.bytes_out as f64),
];

type Timed = (&'static str, &'static str, fn(&StatsSnapshot) -> &HistogramSnapshot);

const HISTOGRAMS: [Timed; 2] = [
    (
        "request_duration_seconds",
        "Time from a request's head to the last byte of its response",
        |s| &s.duration,
    ),
    ("queue_wait_seconds", "Time that requests waited for a task", |s| &s.wait),
];

type OfTarget = (&'static str, &'static str, MetricType, fn(&TargetCounts) -> u64);

const TARGETS: [OfTarget; 7] = [
    ("target_up", "Whether a server takes requests", MetricType::Gauge, |t| u64::from(t.up)),
    ("target_in_flight", "Requests that a server answers now", MetricType::Gauge, |t| {
        u64::from(t.in_flight)
    }),
    ("target_requests", "Requests sent to a server", MetricType::Counter, |t| t.requests),
    ("target_failures", "Requests that a server failed", MetricType::Counter, |t| t.failures),
    ("target_connects", "Connections opened to a server", MetricType::Counter, |t| t.connects),
    ("probe_failures", "Probes that a server failed", MetricType::Counter, |t| t.probes_failed),
    ("ejections", "Times that a server was left alone", MetricType::Counter, |t| t.ejections),
];

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        self.encode_requests(&mut encoder)?;
        for (name, help, value) in COUNTERS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (service, stats) in &self.services {
                let metric = ConstCounter::new(value(stats));
                metric.encode(family.encode_family(&ServiceLabel(service))?)?;
            }
        }
        for (name, help, histogram) in HISTOGRAMS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
            for (service, stats) in &self.services {
                let h = histogram(stats);
                family
                    .encode_family(&ServiceLabel(service))?
                    .encode_histogram::<prometheus_client::encoding::NoLabelSet>(
                    h.sum_s, h.count, &h.buckets, None,
                )?;
            }
        }
        self.encode_targets(&mut encoder)?;
        self.encode_unparsed(&mut encoder)?;
        for (name, help, value) in GAUGES {
            let gauge = ConstGauge::new(i64::try_from(value(&self.node)).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        Ok(())
    }
}

impl Scrape {
    fn encode_requests(&self, encoder: &mut DescriptorEncoder) -> Result<(), fmt::Error> {
        let help = "Requests by how they ended";
        let mut family = encoder.encode_descriptor("requests", help, None, MetricType::Counter)?;
        for (service, stats) in &self.services {
            for (code, count) in &stats.by_code {
                let labels = CodeLabels(service, code.as_str());
                ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn encode_targets(&self, encoder: &mut DescriptorEncoder) -> Result<(), fmt::Error> {
        for (name, help, kind, value) in TARGETS {
            let is_counter = matches!(kind, MetricType::Counter);
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for target in &self.targets {
                let labels = TargetLabels(target);
                let encoder = family.encode_family(&labels)?;
                match is_counter {
                    true => ConstCounter::new(value(target)).encode(encoder)?,
                    false => {
                        let value = i64::try_from(value(target)).unwrap_or(i64::MAX);
                        ConstGauge::new(value).encode(encoder)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn encode_unparsed(&self, encoder: &mut DescriptorEncoder) -> Result<(), fmt::Error> {
        let (name, help) = UNPARSED;
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (reason, count) in self.unparsed {
            ConstCounter::new(count).encode(family.encode_family(&[("reason", reason)])?)?;
        }
        let (name, help) = UNROUTED;
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (code, count) in &self.unrouted {
            let labels = [("code", code.as_str())];
            ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{ServiceStats, Usage};
    use super::*;

    #[test]
    fn a_scrape_reads_as_open_metrics() {
        let stats = ServiceStats::default();
        let usage = Usage { fuel: 7, ..Usage::default() };
        stats.record(Code::Ok, Duration::from_millis(1), Duration::ZERO, &usage);
        let name: Name = "hello".parse().expect("valid");
        let node = NodeGauges { instances: (3, 10), ..NodeGauges::default() };
        let unparsed = Unparsed::default();
        unparsed.count_unrouted(Code::NoRoute);
        unparsed.too_large.store(2, std::sync::atomic::Ordering::Relaxed);
        let text = render(vec![(name, stats.snapshot())], Vec::new(), node, &unparsed);
        assert!(text.contains("wharf_unparsed_requests_total{reason=\"too-large\"} 2"), "{text}");
        assert!(text.contains("wharf_unrouted_requests_total{code=\"no-route\"} 1"), "{text}");
        assert!(text.contains("wharf_requests_total{service=\"hello\",code=\"ok\"} 1"), "{text}");
        assert!(text.contains("wharf_fuel_total{service=\"hello\"} 7"), "{text}");
        assert!(text.contains("wharf_request_duration_seconds_count{service=\"hello\"} 1"));
        let last = "wharf_request_duration_seconds_bucket{le=\"+Inf\",service=\"hello\"} 1";
        assert!(text.contains(last), "{text}");
        assert!(text.contains("wharf_instances_live 3"), "{text}");
        assert!(text.trim_end().ends_with("# EOF"));
    }
}

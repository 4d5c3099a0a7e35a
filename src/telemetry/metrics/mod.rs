//! Every metric name, and the text that `/metrics` answers with: one file for each subject.
//!
//! Start reading at [`render`], then `series.rs` and any subject.

mod series;
mod node;
mod service;
mod revision;
mod target;

pub use node::NodeGauges;
pub use revision::{RevisionCounts, RolloutStage};
pub use service::{ServiceCounts, TaskGauges};
pub use target::TargetCounts;

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;

use super::unparsed::Unparsed;

use node::Strays;

/// What a scrape is told. Series exist only for what is in here.
#[derive(Debug)]
pub struct Scrape {
    /// Services that have had a request, and upstreams that have.
    pub services: Vec<ServiceCounts>,
    /// The revisions of these services.
    pub revisions: Vec<RevisionCounts>,
    /// How far their deployments are.
    pub stages: Vec<RolloutStage>,
    /// The servers of upstreams.
    pub targets: Vec<TargetCounts>,
    /// The node.
    pub node: NodeGauges,
}

/// Renders the OpenMetrics text.
pub fn render(scrape: Scrape, unparsed: &Unparsed) -> String {
    let mut registry = Registry::with_prefix("wharf");
    registry.register_collector(Box::new(Subjects { scrape, strays: unparsed.into() }));
    let mut text = String::new();
    // Writing into a `String` fails only if a value's own formatting fails, which none does.
    let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
    text
}

#[derive(Debug)]
struct Subjects {
    scrape: Scrape,
    strays: Strays,
}

impl Collector for Subjects {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        service::encode(&mut encoder, &self.scrape.services)?;
        revision::encode(&mut encoder, &self.scrape.revisions, &self.scrape.stages)?;
        target::encode(&mut encoder, &self.scrape.targets)?;
        node::encode(&mut encoder, &self.scrape.node, &self.strays)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::model::{Code, Name};

    use super::super::stats::Ended;
    use super::super::{ProbeKind, ServiceStats, Usage};
    use super::*;

    #[test]
    fn a_scrape_reads_as_open_metrics() {
        let stats = ServiceStats::default();
        let usage = Usage { fuel: 7, ..Usage::default() };
        let ended = Ended { code: Code::Ok, failed: true };
        stats.record(ended, Duration::from_millis(1), Duration::ZERO, &usage);
        let name: Name = "hello".parse().expect("valid");
        let node = NodeGauges { instances: (3, 10), compile_ms: 1_500, ..NodeGauges::default() };
        let unparsed = Unparsed::default();
        unparsed.count_unrouted(Code::NoRoute);
        unparsed.too_large.store(2, std::sync::atomic::Ordering::Relaxed);
        let tasks = TaskGauges { waiting: 1, tasks: 2, desired: 3, memory_bytes: 4 };
        let services = vec![ServiceCounts {
            name: name.clone(),
            stats: stats.snapshot(),
            in_flight: 5,
            tasks: Some(tasks),
            retries: None,
            outgoing: vec![("denied", 4)],
            mirrored: vec![("sent", 3)],
        }];
        let revisions = vec![RevisionCounts {
            service: name.clone(),
            number: 7,
            requests: 8,
            errors: 9,
            failed_probes: ProbeKind::ALL
                .map(|kind| (kind, if kind == ProbeKind::Liveness { 2 } else { 0 })),
            share: Some(0.25),
        }];
        let stages = vec![RolloutStage { service: name, stage: "baking" }];
        let scrape = Scrape { services, revisions, stages, targets: Vec::new(), node };
        let text = render(scrape, &unparsed);
        assert!(text.contains("wharf_unparsed_requests_total{reason=\"too-large\"} 2"), "{text}");
        assert!(text.contains("wharf_unrouted_requests_total{code=\"no-route\"} 1"), "{text}");
        assert!(text.contains("wharf_requests_total{service=\"hello\",code=\"ok\"} 1"), "{text}");
        for series in [
            "wharf_errors_total{service=\"hello\"} 1\n",
            "wharf_requests_in_flight{service=\"hello\"} 5\n",
            "wharf_requests_waiting{service=\"hello\"} 1\n",
            "wharf_tasks{service=\"hello\"} 2\n",
            "wharf_tasks_desired{service=\"hello\"} 3\n",
            "wharf_tasks_memory_bytes{service=\"hello\"} 4\n",
            "wharf_revision_requests_total{service=\"hello\",revision=\"7\"} 8\n",
            "wharf_revision_errors_total{service=\"hello\",revision=\"7\"} 9\n",
            "wharf_rollout_share{service=\"hello\",revision=\"7\"} 0.25\n",
            "wharf_rollout_stage{service=\"hello\",stage=\"baking\"} 1\n",
        ] {
            assert!(text.contains(series), "{series}{text}");
        }
        let probes = "wharf_revision_probe_failures_total{service=\"hello\",revision=\"7\",probe=";
        assert!(text.contains(&format!("{probes}\"liveness\"}} 2\n")), "{text}");
        assert_eq!(text.matches(probes).count(), 1, "{text}");
        assert!(!text.contains("wharf_retries_total{"), "a service has none: {text}");
        assert!(text.contains("wharf_fuel_total{service=\"hello\"} 7"), "{text}");
        assert!(text.contains("wharf_request_duration_seconds_count{service=\"hello\"} 1"));
        let last = "wharf_request_duration_seconds_bucket{le=\"+Inf\",service=\"hello\"} 1";
        assert!(text.contains(last), "{text}");
        assert!(text.contains("wharf_instances_live 3"), "{text}");
        assert!(text.contains("wharf_compile_seconds_total 1.5\n"), "{text}");
        assert!(
            text.contains("wharf_mirrors_total{service=\"hello\",outcome=\"sent\"} 3"),
            "{text}"
        );
        let outgoing = "wharf_outgoing_requests_total{service=\"hello\",outcome=\"denied\"} 4";
        assert!(text.contains(outgoing), "{text}");
        assert!(text.trim_end().ends_with("# EOF"));
    }
}

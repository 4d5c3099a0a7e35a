//! What a run measured: the JSON document, and what the tables and the page are made from.
//!
//! *Invariant:* fields are added, never renamed or removed, and each says its unit.

use serde::Serialize;

use super::machine::{Machine, Stretch};
use super::stats::{Estimate, quantile, sorted};

/// The version of the document.
pub(super) const FORMAT: &str = "wharf-bench/1";

/// Everything about one run.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Results {
    pub(super) format: &'static str,
    /// When it began (RFC 3339).
    pub(super) started_at: String,
    pub(super) elapsed_s: f64,
    pub(super) versions: Versions,
    pub(super) machine: Machine,
    /// What else the machine did meanwhile.
    pub(super) conditions: Stretch,
    pub(super) parameters: Parameters,
    #[serde(flatten)]
    pub(super) figures: Figures,
    pub(super) restart: Restart,
}

/// What was measured on a node that runs.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figures {
    pub(super) control: Control,
    pub(super) deploy: Deploy,
    pub(super) memory: Memory,
    pub(super) live: Live,
    pub(super) cold: Cold,
    pub(super) warm: Warm,
    pub(super) latency: Latency,
    /// Only with the built-in component, which can compute without end.
    pub(super) fairness: Option<Fairness>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Versions {
    pub(super) wharf: &'static str,
    pub(super) wasmtime: &'static str,
    pub(super) rustc: &'static str,
}

/// What was asked for, and what followed from it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Parameters {
    pub(super) services: u32,
    /// Services that the flat figures are compared with, on a node of their own.
    pub(super) few_services: u32,
    /// Services that each have a component of their own; the rest share one.
    pub(super) distinct_components: u32,
    pub(super) live: u32,
    /// What was given as `--rate`, if it was not `auto`.
    pub(super) asked_rate_per_s: Option<f64>,
    pub(super) duration_s: f64,
    /// `built-in`, or the file.
    pub(super) component: String,
    pub(super) component_bytes: u64,
    pub(super) component_digest: String,
    /// How the node makes memory clean between two instances: `fast` or `safe`.
    pub(super) reset: String,
}

/// The same thing measured twice in turns, which should not differ.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Control {
    /// CPU per request of the one divided by that of the other, for each round.
    pub(super) ratios: Vec<f64>,
    pub(super) ratio: Estimate,
    pub(super) noisy: bool,
}

/// How far the control's interval may be from 1.
const QUIET: f64 = 0.07;

impl Control {
    pub(super) fn of(ratios: Vec<f64>) -> Self {
        let ratio = Estimate::of(&ratios);
        let includes_one = ratio.low <= 1.0 && ratio.high >= 1.0;
        let narrow = ratio.low >= 1.0 - QUIET && ratio.high <= 1.0 + QUIET;
        Self { ratios, ratio, noisy: !(includes_one && narrow) }
    }
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Deploy {
    /// Putting the components into the node's registry.
    pub(super) push_s: f64,
    /// From the first manifest until every service can take requests.
    pub(super) seconds: f64,
    pub(super) services_per_s: f64,
    /// How many services were there after how many seconds.
    pub(super) points: Vec<DeployPoint>,
    /// From one more manifest with one service to its first answer, with all services there.
    pub(super) one_more_ms: Vec<f64>,
    /// The same on the node with few services.
    pub(super) one_more_of_few_ms: Vec<f64>,
    /// Median of the one by median of the other.
    pub(super) one_more_ratio: f64,
}

impl Deploy {
    pub(super) fn one_more_ms(&self) -> f64 {
        quantile(&sorted(&self.one_more_ms), 0.5)
    }
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct DeployPoint {
    pub(super) services: u32,
    pub(super) seconds: f64,
}

/// The node's memory while it has services that sleep.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Memory {
    pub(super) points: Vec<MemoryPoint>,
    /// The slope of proportional set size and page tables over services.
    pub(super) bytes_per_service: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct MemoryPoint {
    /// Services, or live instances.
    pub(super) count: u32,
    pub(super) pss_bytes: u64,
    pub(super) page_table_bytes: u64,
    pub(super) mappings: u64,
}

impl MemoryPoint {
    pub(super) fn bytes(&self) -> f64 {
        (self.pss_bytes + self.page_table_bytes) as f64
    }
}

/// The node's memory while it holds requests, each in an instance of its own.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Live {
    /// `instances` that hold a request, or only `awake` services, where the component cannot hold.
    pub(super) kind: &'static str,
    pub(super) points: Vec<MemoryPoint>,
    pub(super) bytes_per_replica: f64,
    pub(super) mappings_per_replica: f64,
}

/// Requests to services that sleep, one after the other, and then the same warm.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Cold {
    pub(super) cold_us: Vec<f64>,
    pub(super) warm_us: Vec<f64>,
    pub(super) cold_p50_us: f64,
    pub(super) cold_p99_us: f64,
    pub(super) warm_p50_us: f64,
    pub(super) warm_p99_us: f64,
    pub(super) ratio_p50: f64,
    pub(super) ratio_p99: f64,
    pub(super) storms: Vec<Storm>,
    /// The median of the storms' rates.
    pub(super) starts_per_s: f64,
}

/// Many services asked at once, each of which sleeps.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Storm {
    pub(super) connections: u32,
    pub(super) cold_starts: u32,
    pub(super) seconds: f64,
    pub(super) starts_per_s: f64,
}

impl Cold {
    pub(super) fn of(cold_us: Vec<f64>, warm_us: Vec<f64>, storms: Vec<Storm>) -> Self {
        let (cold, warm) = (sorted(&cold_us), sorted(&warm_us));
        let rates: Vec<f64> = storms.iter().map(|storm| storm.starts_per_s).collect();
        let p = |values: &[f64], q| quantile(values, q);
        Self {
            cold_p50_us: p(&cold, 0.5),
            cold_p99_us: p(&cold, 0.99),
            warm_p50_us: p(&warm, 0.5),
            warm_p99_us: p(&warm, 0.99),
            ratio_p50: p(&cold, 0.5) / p(&warm, 0.5),
            ratio_p99: p(&cold, 0.99) / p(&warm, 0.99),
            starts_per_s: p(&sorted(&rates), 0.5),
            cold_us,
            warm_us,
            storms,
        }
    }
}

/// Load without pauses on services that are awake.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Warm {
    pub(super) connections: u32,
    pub(super) window_s: f64,
    /// One service of all.
    pub(super) hot: Series,
    /// The same again, in turns with it: the control.
    pub(super) hot_again: Series,
    /// One service of few, on the other node.
    pub(super) hot_of_few: Series,
    /// All services that share a component, in random order.
    pub(super) random: Series,
    /// How many those are.
    pub(super) random_services: u32,
    /// CPU per request of `hot` by that of `hot_of_few`.
    pub(super) flat_ratio: Estimate,
    /// CPU per request of `random` by that of `hot`.
    pub(super) random_ratio: Estimate,
}

/// One kind of load, round by round.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Series {
    pub(super) requests_per_s: Vec<f64>,
    pub(super) cpu_us_per_request: Vec<f64>,
}

impl Series {
    pub(super) fn rate(&self) -> f64 {
        quantile(&sorted(&self.requests_per_s), 0.5)
    }

    pub(super) fn cpu(&self) -> f64 {
        quantile(&sorted(&self.cpu_us_per_request), 0.5)
    }

    /// Round by round.
    pub(super) fn ratios(&self, other: &Self) -> Vec<f64> {
        let pairs = self.cpu_us_per_request.iter().zip(&other.cpu_us_per_request);
        pairs.map(|(mine, theirs)| mine / theirs).collect()
    }
}

/// Requests that come at a constant rate, however long the ones before take.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Latency {
    pub(super) rate_per_s: f64,
    /// What the services could take without pauses.
    pub(super) capacity_per_s: f64,
    pub(super) seconds: f64,
    pub(super) requests: u64,
    /// Requests that were due and not sent before the end.
    pub(super) unsent: u64,
    pub(super) p50_us: f64,
    pub(super) p90_us: f64,
    pub(super) p99_us: f64,
    pub(super) p999_us: f64,
    pub(super) max_us: f64,
    /// How late the load generator was with 99 of 100 requests for which a connection was free.
    pub(super) late_p99_us: f64,
    /// The whole distribution: percentile and time.
    pub(super) curve: Vec<CurvePoint>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct CurvePoint {
    pub(super) percentile: f64,
    pub(super) us: f64,
}

/// A service beside others that compute as much as they can.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Fairness {
    pub(super) rate_per_s: f64,
    pub(super) neighbours: u32,
    pub(super) alone_p50_us: f64,
    pub(super) alone_p99_us: f64,
    pub(super) beside_p50_us: f64,
    pub(super) beside_p99_us: f64,
    pub(super) ratio_p99: f64,
}

/// A node that is killed, and started anew with all services.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Restart {
    pub(super) services: u32,
    pub(super) start_of_empty_ms: f64,
    pub(super) start_ms: f64,
    /// From the start of the process to the answer of the service in the middle.
    pub(super) first_answer_ms: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_is_quiet_when_its_interval_is_near_one_and_holds_it() {
        assert!(!Control::of(vec![0.99, 1.0, 1.01, 1.0, 0.98]).noisy);
        assert!(Control::of(vec![0.8, 1.0, 1.3, 0.9, 1.2]).noisy, "too wide");
        assert!(Control::of(vec![1.03, 1.04, 1.03, 1.05, 1.04]).noisy, "without 1");
    }

    #[test]
    fn cold_starts_are_compared_with_warm_requests() {
        let storm =
            |starts_per_s| Storm { connections: 64, cold_starts: 1, seconds: 1.0, starts_per_s };
        let cold = Cold::of(vec![4.0, 6.0, 5.0], vec![2.0], vec![storm(1.0), storm(3.0)]);
        assert_eq!((cold.cold_p50_us, cold.ratio_p50, cold.starts_per_s), (5.0, 2.5, 2.0));
    }
}

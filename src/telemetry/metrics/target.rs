//! The servers of upstreams.

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::MetricType::{Counter, Gauge};

use crate::model::Name;

use super::series::Value::Whole;
use super::series::{self, Family, Labelled};

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

impl Labelled for TargetCounts {
    fn labels(&self) -> impl EncodeLabelSet {
        [("service", self.upstream.as_str()), ("target", &*self.target)]
    }
}

const FAMILIES: [Family<TargetCounts>; 7] = [
    ("target_up", "Whether a server takes requests", Gauge, |t| Some(Whole(t.up.into()))),
    ("target_in_flight", "Requests that a server answers now", Gauge, |t| {
        Some(Whole(t.in_flight.into()))
    }),
    ("target_requests", "Requests sent to a server", Counter, |t| Some(Whole(t.requests))),
    ("target_failures", "Requests that a server failed", Counter, |t| Some(Whole(t.failures))),
    ("target_connects", "Connections opened to a server", Counter, |t| Some(Whole(t.connects))),
    ("probe_failures", "Probes that a server failed", Counter, |t| Some(Whole(t.probes_failed))),
    ("ejections", "Times that a server was left alone", Counter, |t| Some(Whole(t.ejections))),
];

pub(super) fn encode(encoder: &mut DescriptorEncoder<'_>, all: &[TargetCounts]) -> fmt::Result {
    series::encode(encoder, FAMILIES, all)
}

//! Revisions of services, and how one takes over from another.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::MetricType::{Counter, Gauge};

use crate::model::Name;

use super::super::stats::ProbeKind;
use super::series::Value::{Real, Whole};
use super::series::{self, Family, Labelled};

/// What was counted of one revision of a service.
#[derive(Clone, Debug)]
pub struct RevisionCounts {
    /// The service.
    pub service: Name,
    /// The revision's number.
    pub number: u64,
    /// Requests that it answered, or failed to.
    pub requests: u64,
    /// Those of them that failed.
    pub errors: u64,
    /// Probes that it failed, by kind.
    pub failed_probes: [(ProbeKind, u64); ProbeKind::ALL.len()],
    /// Its share of the requests, from 0 to 1, if it was given one.
    pub share: Option<f64>,
}

/// How far the deployment of a service is.
#[derive(Clone, Debug)]
pub struct RolloutStage {
    /// The service.
    pub service: Name,
    /// The stage in force.
    pub stage: &'static str,
}

impl Labelled for RevisionCounts {
    fn labels(&self) -> impl EncodeLabelSet {
        ([("service", self.service.as_str())], [("revision", self.number)])
    }
}

impl Labelled for RolloutStage {
    fn labels(&self) -> impl EncodeLabelSet {
        [("service", self.service.as_str()), ("stage", self.stage)]
    }
}

const FAMILIES: [Family<RevisionCounts>; 3] = [
    ("revision_requests", "Requests that a revision took", Counter, |r| Some(Whole(r.requests))),
    ("revision_errors", "Requests that a revision failed", Counter, |r| Some(Whole(r.errors))),
    ("rollout_share", "Share of the requests that a revision gets, from 0 to 1", Gauge, |r| {
        r.share.map(Real)
    }),
];

const STAGES: [Family<RolloutStage>; 1] =
    [("rollout_stage", "The stage of a deployment that is in force", Gauge, |_| Some(Whole(1)))];

const PROBES: (&str, &str) = ("revision_probe_failures", "Probes that a revision failed");

pub(super) fn encode(
    encoder: &mut DescriptorEncoder<'_>,
    revisions: &[RevisionCounts],
    stages: &[RolloutStage],
) -> fmt::Result {
    series::encode(encoder, FAMILIES, revisions)?;
    let probes = revisions.iter().flat_map(|revision| {
        let failed = revision.failed_probes.iter().filter(|(_, count)| *count > 0);
        failed.map(|(kind, count)| ((revision.labels(), [("probe", kind.as_str())]), *count))
    });
    series::encode_counters(encoder, PROBES, probes)?;
    series::encode(encoder, STAGES, stages)
}

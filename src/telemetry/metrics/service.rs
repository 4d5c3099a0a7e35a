//! Services, and upstreams as a whole.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::MetricType::{Counter, Gauge, Histogram};

use crate::model::Name;

use super::super::stats::{HistogramSnapshot, StatsSnapshot};
use super::series::Value::{Real, Whole};
use super::series::{self, Family, Labelled};

/// Counts by outcome.
type Outcomes = Vec<(&'static str, u64)>;

/// What was counted of a service or an upstream.
#[derive(Clone, Debug)]
pub struct ServiceCounts {
    /// Its name.
    pub name: Name,
    /// Its counters.
    pub stats: StatsSnapshot,
    /// Requests that are answered now.
    pub in_flight: u32,
    /// Its tasks, if it is a service.
    pub tasks: Option<TaskGauges>,
    /// Attempts that were not the first of their request, if it is an upstream.
    pub retries: Option<u64>,
    /// Requests that its guests sent, by what became of them, without what never happened.
    pub outgoing: Outcomes,
    /// Copies of its requests by what became of them, without what never happened.
    pub mirrored: Outcomes,
}

/// The tasks of a service now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskGauges {
    /// Requests that wait for one.
    pub waiting: u32,
    /// Tasks that take requests.
    pub tasks: u32,
    /// Tasks that there should be.
    pub desired: u32,
    /// Memory that their instances hold.
    pub memory_bytes: u64,
}

impl Labelled for ServiceCounts {
    fn labels(&self) -> impl EncodeLabelSet {
        [("service", self.name.as_str())]
    }
}

const REQUESTS: (&str, &str) = ("requests", "Requests by how they ended");
const OUTGOING: (&str, &str) =
    ("outgoing_requests", "Requests that guests sent by what became of them");
const MIRRORS: (&str, &str) = ("mirrors", "Copies of requests by what became of them");

/// What is known of the tasks of a service; of an upstream there are none.
fn of_tasks(counts: &ServiceCounts, value: fn(&TaskGauges) -> u64) -> Option<series::Value> {
    counts.tasks.as_ref().map(|tasks| Whole(value(tasks)))
}

const FAMILIES: [Family<ServiceCounts>; 12] = [
    ("errors", "Requests that failed: status 5xx, or a response that broke off", Counter, |s| {
        Some(Whole(s.stats.errors))
    }),
    ("retries", "Attempts that were not the first of their request", Counter, |s| {
        s.retries.map(Whole)
    }),
    ("requests_in_flight", "Requests that are answered now", Gauge, |s| {
        Some(Whole(s.in_flight.into()))
    }),
    ("requests_waiting", "Requests that wait for a task", Gauge, |s| {
        of_tasks(s, |tasks| tasks.waiting.into())
    }),
    ("tasks", "Tasks that take requests", Gauge, |s| of_tasks(s, |tasks| tasks.tasks.into())),
    ("tasks_desired", "Tasks that there should be", Gauge, |s| {
        of_tasks(s, |tasks| tasks.desired.into())
    }),
    ("tasks_memory_bytes", "Memory that instances of the service hold", Gauge, |s| {
        of_tasks(s, |tasks| tasks.memory_bytes)
    }),
    ("cold_starts", "Requests that a task was started for", Counter, |s| {
        Some(Whole(s.stats.cold_starts))
    }),
    ("fuel", "Instructions executed by guests", Counter, |s| Some(Whole(s.stats.fuel))),
    ("cpu_seconds", "CPU time used by guests", Counter, |s| Some(Real(s.stats.cpu_s))),
    ("request_bytes", "Request body bytes given to guests", Counter, |s| {
        Some(Whole(s.stats.bytes_in))
    }),
    ("response_bytes", "Response body bytes produced by guests", Counter, |s| {
        Some(Whole(s.stats.bytes_out))
    }),
];

type Counted = ((&'static str, &'static str), fn(&ServiceCounts) -> &Outcomes);

type Timed = (&'static str, &'static str, fn(&StatsSnapshot) -> &HistogramSnapshot);

const HISTOGRAMS: [Timed; 2] = [
    (
        "request_duration_seconds",
        "Time from a request's head to the last byte of its response",
        |s| &s.duration,
    ),
    ("queue_wait_seconds", "Time that requests waited for a task", |s| &s.wait),
];

pub(super) fn encode(encoder: &mut DescriptorEncoder<'_>, all: &[ServiceCounts]) -> fmt::Result {
    let by_code = all.iter().flat_map(|one| {
        let name = one.name.as_str();
        let counts = one.stats.by_code.iter();
        counts.map(move |(code, n)| ([("service", name), ("code", code.as_str())], *n))
    });
    series::encode_counters(encoder, REQUESTS, by_code)?;
    let outcomes: [Counted; 2] = [(MIRRORS, |one| &one.mirrored), (OUTGOING, |one| &one.outgoing)];
    for (name, counts) in outcomes {
        let by_outcome = all.iter().flat_map(|one| {
            let (service, counts) = (one.name.as_str(), counts(one).iter());
            counts.map(move |(outcome, n)| ([("service", service), ("outcome", *outcome)], *n))
        });
        series::encode_counters(encoder, name, by_outcome)?;
    }
    series::encode(encoder, FAMILIES, all)?;
    for (name, help, histogram) in HISTOGRAMS {
        let mut family = encoder.encode_descriptor(name, help, None, Histogram)?;
        for one in all {
            series::encode_histogram(&mut family, &one.labels(), histogram(&one.stats))?;
        }
    }
    Ok(())
}

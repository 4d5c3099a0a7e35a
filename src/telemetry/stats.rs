//! Counters of one service. They exist once the service has had a request.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::model::Code;

use super::code_counts::CodeCounts;
use super::exchange::Usage;

/// Upper bounds of the latency buckets, in microseconds: powers of two from 128 µs to 67 s, so
/// that a bucket is found by counting leading zeros.
const BUCKETS: usize = 20;
const FIRST_BUCKET_SHIFT: u32 = 7;

/// A histogram of durations.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    buckets: [AtomicU64; BUCKETS + 1],
    sum_us: AtomicU64,
}

impl HistogramSnapshot {
    /// The upper bound in seconds of the bucket that the percentile falls into; of the last,
    /// which has none, the bound of the one before. Zero without observations.
    pub fn quantile_s(&self, percent: u64) -> f64 {
        let rank = (self.count * percent).div_ceil(100);
        let mut seen = 0;
        let mut bound_s = 0.0;
        for (upper_s, count) in &self.buckets {
            bound_s = if upper_s.is_infinite() { bound_s } else { *upper_s };
            seen += count;
            if seen >= rank {
                break;
            }
        }
        if self.count == 0 { 0.0 } else { bound_s }
    }
}

impl Histogram {
    fn record(&self, value: Duration) {
        let us = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        let bits = u64::BITS - us.saturating_sub(1).leading_zeros();
        let position = (bits.saturating_sub(FIRST_BUCKET_SHIFT) as usize).min(BUCKETS);
        self.buckets[position].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(us, Relaxed);
    }

    fn snapshot(&self) -> HistogramSnapshot {
        let counts = self.buckets.each_ref().map(|bucket| bucket.load(Relaxed));
        let bound_s = |i: usize| (1u64 << (FIRST_BUCKET_SHIFT as usize + i)) as f64 / 1e6;
        let buckets = counts.iter().enumerate().map(|(i, count)| match i {
            BUCKETS => (f64::INFINITY, *count),
            _ => (bound_s(i), *count),
        });
        HistogramSnapshot {
            buckets: buckets.collect(),
            count: counts.iter().sum(),
            sum_s: self.sum_us.load(Relaxed) as f64 / 1e6,
        }
    }
}

/// A histogram as it was at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramSnapshot {
    /// Upper bound in seconds and number of observations in each bucket, not cumulated.
    pub buckets: Vec<(f64, u64)>,
    /// Number of observations.
    pub count: u64,
    /// Their sum, in seconds.
    pub sum_s: f64,
}

/// What a revision is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeKind {
    /// Whether it has started.
    Startup,
    /// Whether its tasks have to be replaced.
    Liveness,
    /// Whether it takes requests now.
    Readiness,
}

impl ProbeKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Startup, Self::Liveness, Self::Readiness];

    /// Its name in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Liveness => "liveness",
            Self::Readiness => "readiness",
        }
    }
}

/// How the requests to one revision of a service end, to compare it with another.
#[derive(Debug, Default)]
pub struct RevisionStats {
    requests: AtomicU64,
    errors: AtomicU64,
    duration: Histogram,
    failed_probes: [AtomicU64; ProbeKind::ALL.len()],
}

impl RevisionStats {
    pub(super) fn record(&self, failed: bool, duration: Duration) {
        self.duration.record(duration);
        self.errors.fetch_add(failed.into(), Relaxed);
        self.requests.fetch_add(1, Relaxed);
    }

    /// Adds one probe that failed.
    pub fn record_failed_probe(&self, kind: ProbeKind) {
        self.failed_probes[kind as usize].fetch_add(1, Relaxed);
    }

    /// Probes that failed, by kind.
    pub fn failed_probes(&self) -> [(ProbeKind, u64); ProbeKind::ALL.len()] {
        ProbeKind::ALL.map(|kind| (kind, self.failed_probes[kind as usize].load(Relaxed)))
    }

    /// Requests that have ended.
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Those of them that failed: status 5xx, or a response that broke off.
    pub fn errors(&self) -> u64 {
        self.errors.load(Relaxed)
    }

    /// Their durations.
    pub fn duration(&self) -> HistogramSnapshot {
        self.duration.snapshot()
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) code: Code,
    /// Whether its client saw a failure of the server: status 5xx, or a response that broke off.
    pub(super) failed: bool,
}

/// The counters of one service.
#[derive(Debug, Default)]
pub struct ServiceStats {
    by_code: CodeCounts,
    errors: AtomicU64,
    duration: Histogram,
    wait: Histogram,
    cold_starts: AtomicU64,
    fuel: AtomicU64,
    cpu_ns: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

impl ServiceStats {
    /// Adds one finished request.
    pub(super) fn record(&self, ended: Ended, duration: Duration, wait: Duration, usage: &Usage) {
        self.by_code.count(ended.code);
        self.errors.fetch_add(ended.failed.into(), Relaxed);
        self.duration.record(duration);
        if !wait.is_zero() {
            self.wait.record(wait);
        }
        self.fuel.fetch_add(usage.fuel, Relaxed);
        let cpu_ns = u64::try_from(usage.cpu.as_nanos()).unwrap_or(u64::MAX);
        self.cpu_ns.fetch_add(cpu_ns, Relaxed);
        self.bytes_in.fetch_add(usage.bytes_in, Relaxed);
        self.bytes_out.fetch_add(usage.bytes_out, Relaxed);
    }

    /// Adds one request that a task was started for.
    pub fn record_cold_start(&self) {
        self.cold_starts.fetch_add(1, Relaxed);
    }

    /// The counters as they are now.
    pub fn snapshot(&self) -> StatsSnapshot {
        StatsSnapshot {
            by_code: self.by_code.seen(),
            errors: self.errors.load(Relaxed),
            duration: self.duration.snapshot(),
            wait: self.wait.snapshot(),
            cold_starts: self.cold_starts.load(Relaxed),
            fuel: self.fuel.load(Relaxed),
            cpu_s: self.cpu_ns.load(Relaxed) as f64 / 1e9,
            bytes_in: self.bytes_in.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
        }
    }
}

/// [`ServiceStats`] at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct StatsSnapshot {
    /// Requests by how they ended, without those that never happened.
    pub by_code: Vec<(Code, u64)>,
    /// Requests that failed: status 5xx, or a response that broke off.
    pub errors: u64,
    /// Time from the request's head to the response's last byte.
    pub duration: HistogramSnapshot,
    /// Time that requests waited for a task, of those that waited.
    pub wait: HistogramSnapshot,
    /// Requests that a task was started for.
    pub cold_starts: u64,
    /// Fuel used.
    pub fuel: u64,
    /// CPU seconds used by guests.
    pub cpu_s: f64,
    /// Request body bytes.
    pub bytes_in: u64,
    /// Response body bytes.
    pub bytes_out: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_bounds_of_buckets() {
        let buckets = vec![(0.001, 50), (0.002, 48), (0.004, 1), (f64::INFINITY, 1)];
        let histogram = HistogramSnapshot { buckets, count: 100, sum_s: 1.0 };
        assert_eq!(histogram.quantile_s(50), 0.001);
        assert_eq!(histogram.quantile_s(99), 0.004);
        assert_eq!(histogram.quantile_s(100), 0.004);
        let empty = HistogramSnapshot { buckets: vec![(0.001, 0)], count: 0, sum_s: 0.0 };
        assert_eq!(empty.quantile_s(50), 0.0);
    }

    #[test]
    fn durations_fall_into_the_bucket_that_bounds_them() {
        let histogram = Histogram::default();
        for us in [0, 1, 128, 129, 256, 1_000_000, 500_000_000] {
            histogram.record(Duration::from_micros(us));
        }
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.count, 7);
        assert_eq!(snapshot.buckets[0], (0.000_128, 3));
        assert_eq!(snapshot.buckets[1], (0.000_256, 2));
        assert_eq!(snapshot.buckets[BUCKETS].1, 1);
    }
}

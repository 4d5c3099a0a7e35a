//! What happened between two looks at the counters of a node.

use std::collections::HashMap;

use serde::Serialize;

use crate::api::{Top, TopEntry, TopKind};
use crate::telemetry::HistogramSnapshot;

use super::Sort;

/// An interval, for `-o json`.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Interval {
    /// How long it was.
    pub(super) seconds: f64,
    pub(super) node: NodeLine,
    pub(super) rows: Vec<Row>,
}

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct NodeLine {
    pub(super) id: String,
    /// Cores that the process used, on average.
    pub(super) cpu_cores: f64,
    pub(super) cores: usize,
    pub(super) memory_used_bytes: u64,
    pub(super) memory_max_bytes: u64,
    pub(super) instances: u64,
    pub(super) slots: u32,
}

/// A service or an upstream in the interval.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) kind: TopKind,
    pub(super) requests_per_s: f64,
    pub(super) errors_per_s: f64,
    /// Upper bounds of percentiles, if a request ended.
    pub(super) p50_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
    pub(super) in_flight: u32,
    pub(super) waiting: u32,
    /// Of a service.
    pub(super) tasks: Option<u32>,
    /// Cores that the requests used which ended.
    pub(super) cpu_cores: f64,
    pub(super) memory_bytes: u64,
}

impl Interval {
    pub(super) fn between(before: &Top, now: &Top) -> Self {
        let seconds = (now.at_ms.saturating_sub(before.at_ms)).max(1) as f64 / 1e3;
        let key = |entry: &TopEntry| (entry.kind.as_str(), entry.name.clone());
        let known: HashMap<_, _> = before.entries.iter().map(|entry| (key(entry), entry)).collect();
        let rows = now.entries.iter().map(|entry| {
            let before = known.get(&key(entry)).filter(|before| !has_restarted(before, entry));
            Row::of(before.copied(), entry, &now.bounds_s, seconds)
        });
        let node = &now.node;
        Self {
            seconds,
            rows: rows.collect(),
            node: NodeLine {
                id: node.id.clone(),
                cpu_cores: (node.cpu_s - before.node.cpu_s).max(0.0) / seconds,
                cores: node.cores,
                memory_used_bytes: node.memory_used_bytes,
                memory_max_bytes: node.memory_max_bytes,
                instances: node.instances,
                slots: node.slots,
            },
        }
    }

    /// The most first, and no more than so many.
    pub(super) fn sort(&mut self, by: Sort, most: Option<usize>) {
        let amount = |row: &Row| match by {
            Sort::Requests => row.requests_per_s,
            Sort::Errors => row.errors_per_s,
            Sort::Cpu => row.cpu_cores,
            Sort::Memory => row.memory_bytes as f64,
        };
        let order = |a: &Row, b: &Row| amount(b).total_cmp(&amount(a)).then(a.name.cmp(&b.name));
        self.rows.sort_by(order);
        self.rows.truncate(most.unwrap_or(usize::MAX));
    }
}

/// Whether the counters began anew: those of before say nothing then.
fn has_restarted(before: &TopEntry, now: &TopEntry) -> bool {
    now.requests < before.requests || now.errors < before.errors || now.cpu_s < before.cpu_s
}

impl Row {
    fn of(before: Option<&TopEntry>, now: &TopEntry, bounds_s: &[f64], seconds: f64) -> Self {
        let since = |count: fn(&TopEntry) -> u64| {
            count(now).saturating_sub(before.map_or(0, count)) as f64 / seconds
        };
        let durations = ended(before, now, bounds_s);
        let percentile =
            |percent| (durations.count > 0).then(|| durations.quantile_s(percent) * 1e3);
        Self {
            name: now.name.clone(),
            kind: now.kind,
            requests_per_s: since(|entry| entry.requests),
            errors_per_s: since(|entry| entry.errors),
            p50_ms: percentile(50),
            p99_ms: percentile(99),
            in_flight: now.in_flight,
            waiting: now.waiting,
            tasks: (now.kind == TopKind::Service).then_some(now.tasks),
            cpu_cores: (now.cpu_s - before.map_or(0.0, |before| before.cpu_s)) / seconds,
            memory_bytes: now.memory_bytes,
        }
    }
}

/// The durations of the requests that ended in the interval.
fn ended(before: Option<&TopEntry>, now: &TopEntry, bounds_s: &[f64]) -> HistogramSnapshot {
    let earlier = |at: usize| before.and_then(|before| before.durations.get(at)).unwrap_or(&0);
    let counts = now.durations.iter().enumerate();
    let buckets: Vec<(f64, u64)> = counts
        .map(|(at, count)| {
            let upper_s = bounds_s.get(at).copied().unwrap_or(f64::INFINITY);
            (upper_s, count.saturating_sub(*earlier(at)))
        })
        .collect();
    let count = buckets.iter().map(|(_, count)| count).sum();
    // Nobody asks for their sum.
    HistogramSnapshot { buckets, count, sum_s: 0.0 }
}

#[cfg(test)]
mod tests {
    use crate::api::TopNode;

    use super::*;

    fn entry(name: &str, requests: u64, errors: u64, durations: [u64; 3], cpu_s: f64) -> TopEntry {
        let (kind, durations) = (TopKind::Service, durations.to_vec());
        let (in_flight, waiting, tasks, memory_bytes) = (1, 2, 3, requests);
        let name = name.to_owned();
        TopEntry {
            name,
            kind,
            requests,
            errors,
            durations,
            cpu_s,
            in_flight,
            waiting,
            tasks,
            memory_bytes,
        }
    }

    fn top(at_ms: u64, cpu_s: f64, entries: Vec<TopEntry>) -> Top {
        let node = TopNode {
            id: "local".to_owned(),
            cpu_s,
            cores: 2,
            memory_used_bytes: 1,
            memory_max_bytes: 2,
            instances: 3,
            slots: 4,
        };
        Top { at_ms, node, bounds_s: vec![0.001, 0.002], entries }
    }

    #[test]
    fn rates_are_of_the_interval_only() {
        let before = top(1_000, 5.0, vec![entry("a", 100, 10, [100, 0, 0], 1.0)]);
        let now = top(3_000, 8.0, vec![entry("a", 120, 14, [100, 19, 1], 2.0)]);
        let interval = Interval::between(&before, &now);
        assert_eq!((interval.seconds, interval.node.cpu_cores), (2.0, 1.5));
        let row = &interval.rows[0];
        assert_eq!((row.requests_per_s, row.errors_per_s, row.cpu_cores), (10.0, 2.0, 0.5));
        assert_eq!((row.p50_ms, row.p99_ms), (Some(2.0), Some(2.0)));
        assert_eq!((row.in_flight, row.waiting, row.tasks), (1, 2, Some(3)));
    }

    #[test]
    fn who_is_new_or_began_anew_counts_from_zero() {
        let before = top(0, 5.0, vec![entry("a", 100, 10, [100, 0, 0], 1.0)]);
        let now = entry("a", 7, 0, [7, 0, 0], 0.5);
        let now = top(1_000, 1.0, vec![now, entry("b", 0, 0, [0, 0, 0], 0.0)]);
        let interval = Interval::between(&before, &now);
        assert_eq!(interval.node.cpu_cores, 0.0);
        assert_eq!((interval.rows[0].requests_per_s, interval.rows[0].p50_ms), (7.0, Some(1.0)));
        assert_eq!((interval.rows[1].requests_per_s, interval.rows[1].p50_ms), (0.0, None));
    }

    #[test]
    fn the_most_comes_first_and_names_decide_the_rest() {
        let entries = vec![
            entry("c", 1, 1, [1, 0, 0], 9.0),
            entry("b", 5, 0, [5, 0, 0], 1.0),
            entry("a", 1, 0, [1, 0, 0], 1.0),
        ];
        let mut interval = Interval::between(&top(0, 0.0, Vec::new()), &top(1_000, 0.0, entries));
        let mut names = |by, most| -> String {
            interval.sort(by, most);
            interval.rows.iter().map(|row| row.name.as_str()).collect()
        };
        assert_eq!(names(Sort::Requests, None), "bac");
        assert_eq!(names(Sort::Errors, None), "cab");
        assert_eq!(names(Sort::Cpu, None), "cab");
        assert_eq!(names(Sort::Memory, Some(2)), "ba");
    }
}

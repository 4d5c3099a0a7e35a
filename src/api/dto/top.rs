//! Counters from which rates are made.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::telemetry::{HistogramSnapshot, ServiceCounts};

/// Counters of everything that has been asked for anything on the node that answers. Two of them
/// make an interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Top {
    /// When they were read, in milliseconds; only differences mean anything, and time that is set
    /// does not change them.
    pub at_ms: u64,
    /// The node.
    pub node: TopNode,
    /// The upper bounds of the buckets of `durations`, in seconds; the last bucket has none.
    pub bounds_s: Vec<f64>,
    /// Services and upstreams that have been asked for anything, by kind and name.
    pub entries: Vec<TopEntry>,
}

/// What the node uses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TopNode {
    /// Its name.
    pub id: String,
    /// CPU time of the whole process since it started, in seconds.
    pub cpu_s: f64,
    /// Cores that it may use.
    pub cores: usize,
    /// Memory that instances hold, in bytes.
    pub memory_used_bytes: u64,
    /// Memory that they may hold, in bytes.
    pub memory_max_bytes: u64,
    /// Instances that live now.
    pub instances: u64,
    /// Instances that can live at once.
    pub slots: u32,
}

/// What was counted of a service or an upstream since the node started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TopEntry {
    /// Its name.
    pub name: String,
    /// Which of the two it is.
    pub kind: TopKind,
    /// Requests that have ended.
    pub requests: u64,
    /// Those of them that failed: status 5xx, or a response that broke off.
    pub errors: u64,
    /// How many of them took how long: one number for each bucket, not cumulated.
    pub durations: Vec<u64>,
    /// CPU time that guests used in them, in seconds.
    pub cpu_s: f64,
    /// Requests that are answered now.
    pub in_flight: u32,
    /// Requests that wait for a task now.
    pub waiting: u32,
    /// Tasks that take requests now.
    pub tasks: u32,
    /// Memory that their instances hold now, in bytes.
    pub memory_bytes: u64,
}

/// What answers requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum TopKind {
    /// A service.
    Service,
    /// An upstream.
    Upstream,
}

impl TopKind {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Upstream => "upstream",
        }
    }
}

impl From<&ServiceCounts> for TopEntry {
    fn from(counts: &ServiceCounts) -> Self {
        let stats = &counts.stats;
        let kind = if counts.tasks.is_some() { TopKind::Service } else { TopKind::Upstream };
        let tasks = counts.tasks.unwrap_or_default();
        Self {
            name: counts.name.to_string(),
            kind,
            requests: stats.duration.count,
            errors: stats.errors,
            durations: stats.duration.buckets.iter().map(|(_, count)| *count).collect(),
            cpu_s: stats.cpu_s,
            in_flight: counts.in_flight,
            waiting: tasks.waiting,
            tasks: tasks.tasks,
            memory_bytes: tasks.memory_bytes,
        }
    }
}

impl Top {
    /// The bounds of a histogram's buckets, without the last, which has none.
    pub fn bounds(histogram: &HistogramSnapshot) -> Vec<f64> {
        let bounds = histogram.buckets.iter().map(|(upper_s, _)| *upper_s);
        bounds.filter(|upper_s| upper_s.is_finite()).collect()
    }
}

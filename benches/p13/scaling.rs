//! What a node says about the number of tasks of a service.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use serde::Deserialize;

use crate::harness::node::Node;

/// The tasks of a service, and the last changes of their number.
pub(crate) struct Seen {
    pub(crate) tasks: u32,
    changes: Vec<Change>,
}

#[derive(Deserialize)]
struct Detail {
    tasks: u32,
    #[serde(default)]
    scaling: Vec<Scaling>,
}

#[derive(Deserialize)]
struct Scaling {
    #[serde(default)]
    changes: Vec<Change>,
}

#[derive(Deserialize)]
struct Change {
    at_ms: u64,
    tasks: u32,
}

/// Now, as milliseconds since the Unix epoch.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// What the node says.
pub(crate) fn of(node: &Node, service: &str) -> anyhow::Result<Seen> {
    let text = node.call(&["describe", service, "-o", "json"])?;
    let detail: Detail = serde_json::from_str(&text)?;
    let scaling = detail.scaling.into_iter().next().context("a service without a revision")?;
    Ok(Seen { tasks: detail.tasks, changes: scaling.changes })
}

impl Seen {
    /// How long after `from_ms` there were so many tasks; 0 if there were before.
    pub(crate) fn reached(&self, tasks: u32, from_ms: u64) -> Option<f64> {
        let first = self.changes.iter().find(|change| change.tasks >= tasks)?;
        Some(first.at_ms.saturating_sub(from_ms) as f64)
    }

    /// Changes since then.
    pub(crate) fn since(&self, from_ms: u64) -> usize {
        self.changes.iter().filter(|change| change.at_ms >= from_ms).count()
    }
}

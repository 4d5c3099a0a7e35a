//! What a service does at the moment, in numbers.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::telemetry::{ProbeKind, RevisionCounts, TaskGauges};

use super::revision::RevisionCell;
use super::service::ServiceCell;

impl ServiceCell {
    /// Requests in flight, and the tasks of all its revisions together.
    pub fn load(&self) -> (u32, TaskGauges) {
        let (mut in_flight, mut sum) = (0, TaskGauges::default());
        for revision in self.revisions() {
            let view = revision.view();
            let tasks = u32::try_from(view.tasks.len()).unwrap_or(u32::MAX);
            let min = view.deployment.map_or(0, |deployment| deployment.scale.min);
            let decided = revision.scaling().map(|scaling| scaling.last.decision.tasks);
            in_flight += view.in_flight;
            sum.waiting += view.waiting;
            sum.tasks += tasks;
            // Without policies, requests start a task the moment that they need it.
            sum.desired += decided.unwrap_or(tasks.max(min));
            sum.memory_bytes += view.tasks.iter().map(|task| task.memory_bytes).sum::<u64>();
        }
        (in_flight, sum)
    }

    /// What was counted of each revision that has a share or has had a request, by number.
    pub fn revision_counts(&self) -> Vec<RevisionCounts> {
        let mut all = BTreeMap::new();
        let new = |number| {
            let (service, failed_probes) = (self.name().clone(), ProbeKind::ALL.map(|k| (k, 0)));
            RevisionCounts { service, number, requests: 0, errors: 0, failed_probes, share: None }
        };
        // A number may come back while the cell that had it finishes its requests.
        for revision in self.revisions() {
            let Some(stats) = revision.stats_if_any() else { continue };
            let counts = all.entry(revision.number()).or_insert_with_key(|number| new(*number));
            counts.requests += stats.requests();
            counts.errors += stats.errors();
            let failed = counts.failed_probes.iter_mut().zip(stats.failed_probes());
            failed.for_each(|((_, sum), (_, count))| *sum += count);
        }
        for (number, share) in self.shares() {
            let counts = all.entry(number).or_insert_with(|| new(number));
            counts.share = Some(f64::from(share.basis_points()) / 10_000.0);
        }
        all.into_values().collect()
    }

    /// Counts a probe that one of its revisions failed. From then on the service has series, as
    /// after its first request.
    pub fn count_failed_probe(&self, revision: &Arc<RevisionCell>, kind: ProbeKind) {
        self.stats();
        revision.stats().record_failed_probe(kind);
    }
}

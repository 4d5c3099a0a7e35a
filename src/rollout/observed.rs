//! What the nodes see of a revision, together.

use crate::model::{Failure, GrantPhase, GrantStatus, RevisionStatus, TaskDefinitionId};

use super::judge::Cause;

/// How a revision fares on all nodes that hold it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Whether every node that holds it can run it.
    pub ready: bool,
    /// Why it cannot run, if that is certain.
    pub failed: Option<Failure>,
    /// What it waits for, or what failed last.
    pub message: String,
    /// The code of what failed last.
    pub code: Option<String>,
    /// Tasks that take requests.
    pub tasks: u32,
    /// What failed and was tried again.
    pub failures: u32,
    /// Requests that were answered.
    pub requests: u64,
    /// Those of them that failed.
    pub errors: u64,
    /// Upper bound of the 99th percentile of their durations, in microseconds.
    pub p99_us: u64,
}

/// Adds up what was reported about the revision, which runs `definition`: of a service that was
/// deleted and made again there may be reports about another one of the same number.
pub fn observe<'a>(
    reports: impl IntoIterator<Item = &'a GrantStatus>,
    revision: u64,
    definition: Option<&TaskDefinitionId>,
) -> Observed {
    let is_it =
        |one: &&RevisionStatus| one.number == revision && Some(&one.definition) == definition;
    let of = |report: &'a GrantStatus| report.revisions.iter().find(is_it);
    let mut all = Observed { ready: true, ..Observed::default() };
    let mut any = false;
    for status in reports.into_iter().filter_map(of) {
        any = true;
        all.ready &= status.phase == GrantPhase::Ready;
        if status.phase == GrantPhase::Failed {
            let failure = Cause::NoProgress.failure(status.message.clone());
            let code = status.code.clone().unwrap_or(failure.code);
            all.failed.get_or_insert(Failure { code, ..failure });
        }
        if status.phase != GrantPhase::Ready || all.message.is_empty() {
            all.message.clone_from(&status.message);
            all.code.clone_from(&status.code);
        }
        all.tasks += status.tasks;
        all.failures += status.failures;
        all.requests += status.requests;
        all.errors += status.errors;
        all.p99_us = all.p99_us.max(status.p99_us);
    }
    all.ready &= any;
    all
}

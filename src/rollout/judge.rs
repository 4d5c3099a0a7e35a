//! Whether a deployment has failed.

use crate::model::{Baseline, Failure, Percent, Rollout, Stage};

use super::observed::Observed;

/// What makes a deployment fail that has no code of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The new revision does worse than the old one.
    Alarm,
    /// The new revision does not come up.
    NoProgress,
}

impl Cause {
    fn code(&self) -> &'static str {
        match self {
            Self::Alarm => "deployment-alarm",
            Self::NoProgress => "deployment-failed",
        }
    }

    pub(super) fn failure(self, message: String) -> Failure {
        Failure { code: self.code().to_owned(), message }
    }
}

/// Why it has failed, if it has.
pub(super) fn failure(
    rollout: &Rollout,
    new: &Observed,
    old: Option<&Observed>,
) -> Option<Failure> {
    if let Some(why) = &new.failed {
        return Some(why.clone());
    }
    let tasks = rollout.tasks.unwrap_or_default();
    let allowed = rollout.policy.breaker.failures(tasks);
    if new.failures >= allowed {
        let message = format!("it failed {} times, last: {}", new.failures, new.message);
        let failure = Cause::NoProgress.failure(message);
        return Some(Failure { code: new.code.clone().unwrap_or(failure.code), ..failure });
    }
    match rollout.stage {
        Stage::Shifting { .. } | Stage::Baking => {
            alarm(rollout, new, old?).map(|message| Cause::Alarm.failure(message))
        }
        _ => None,
    }
}

/// Compares what the two revisions have answered since the new one got its first requests.
fn alarm(rollout: &Rollout, new: &Observed, old: &Observed) -> Option<String> {
    let alarm = &rollout.policy.alarm;
    let since = rollout.baseline;
    let requests = answered(new.requests, since.new_requests);
    if requests == 0 || requests < alarm.requests {
        return None;
    }
    let rate = share(answered(new.errors, since.new_errors), requests);
    let old_rate = match answered(old.requests, since.old_requests) {
        // In a bake it has no requests: what it did before is what there is to compare with.
        0 if old.requests == 0 => return None,
        0 => share(old.errors, old.requests),
        requests => share(answered(old.errors, since.old_errors), requests),
    };
    if rate > old_rate.plus(alarm.errors) {
        return Some(format!(
            "{rate} of its {requests} requests failed, {old_rate} of those of the old revision"
        ));
    }
    let allowed = old.p99_us.saturating_mul(alarm.latency.into()) / 100;
    let is_slow = alarm.latency > 0 && old.p99_us > 0 && new.p99_us > allowed;
    is_slow.then(|| {
        let ms = |us: u64| us as f64 / 1e3;
        format!("its p99 is {} ms, that of the old revision {} ms", ms(new.p99_us), ms(old.p99_us))
    })
}

/// A node that started again counts from zero.
fn answered(now: u64, before: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}

fn share(part: u64, whole: u64) -> Percent {
    if whole == 0 {
        return Percent::NONE;
    }
    let points = u128::from(part.min(whole)) * 10_000 / u128::from(whole);
    Percent::from_basis_points(u32::try_from(points).unwrap_or(10_000)).unwrap_or(Percent::ALL)
}

/// Where the counters stand now.
pub(super) fn baseline(new: &Observed, old: Option<&Observed>) -> Baseline {
    Baseline {
        new_requests: new.requests,
        new_errors: new.errors,
        old_requests: old.map_or(0, |old| old.requests),
        old_errors: old.map_or(0, |old| old.errors),
    }
}

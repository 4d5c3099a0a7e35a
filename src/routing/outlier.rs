//! Which of several servers are left alone because they answer badly.

use std::time::{Duration, Instant};

use crate::model::Ejection;

/// The longest time that a server is left alone, as in Envoy.
const LONGEST: Duration = Duration::from_secs(300);
/// How long a server must answer well before its next ejection is as short as its first.
const FORGIVEN_AFTER: Duration = Duration::from_secs(600);

/// Follows how one server answers.
#[derive(Clone, Debug, Default)]
pub struct Outlier {
    /// Failures since the last good answer.
    row: u32,
    /// Ejections that are not forgiven yet.
    times: u32,
    until: Option<Instant>,
}

impl Outlier {
    /// Takes an answer into account. Whether the server should be ejected.
    pub fn note(&mut self, failed: bool, policy: &Ejection) -> bool {
        self.row = if failed { self.row.saturating_add(1) } else { 0 };
        policy.failures > 0 && self.row >= policy.failures
    }

    /// Leaves the server alone. Until when.
    pub fn eject(&mut self, policy: &Ejection, now: Instant) -> Instant {
        let forgiven = self.until.is_some_and(|until| now >= until + FORGIVEN_AFTER);
        self.times = if forgiven { 1 } else { self.times.saturating_add(1) };
        self.row = 0;
        let until = now + policy.time.saturating_mul(self.times).min(LONGEST);
        self.until = Some(until);
        until
    }

    /// Until when the server is left alone, if it is.
    pub fn out_until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }
}

/// Whether one more of so many servers may be left alone: at least half of them take requests.
pub fn may_eject(out: usize, count: usize) -> bool {
    (out + 1) * 2 <= count
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Ejection = Ejection { failures: 3, time: Duration::from_secs(30) };

    fn fail(outlier: &mut Outlier, now: Instant) -> Option<Duration> {
        let due = outlier.note(true, &POLICY);
        due.then(|| outlier.eject(&POLICY, now) - now)
    }

    #[test]
    fn failures_in_a_row_eject_for_longer_each_time_until_they_are_forgiven() {
        let (mut outlier, now) = (Outlier::default(), Instant::now());
        assert_eq!(fail(&mut outlier, now), None);
        assert_eq!(fail(&mut outlier, now), None);
        assert!(!outlier.note(false, &POLICY));
        let rounds: Vec<_> = (0..9).map(|_| fail(&mut outlier, now)).collect();
        let secs = |secs| Some(Duration::from_secs(secs));
        let expected = [None, None, secs(30), None, None, secs(60), None, None, secs(90)];
        assert_eq!(rounds, expected);
        assert_eq!(outlier.out_until(now), Some(now + Duration::from_secs(90)));
        assert_eq!(outlier.out_until(now + Duration::from_secs(90)), None);
        let later = now + Duration::from_secs(690);
        let rounds: Vec<_> = (0..3).map(|_| fail(&mut outlier, later)).collect();
        assert_eq!(rounds, [None, None, secs(30)]);
    }

    #[test]
    fn half_of_the_servers_always_stay_and_zero_failures_eject_nobody() {
        let ejected = |count: usize| (0..count).find(|out| !may_eject(*out, count));
        assert_eq!([1, 2, 3, 4, 9].map(ejected), [0, 1, 1, 2, 4].map(Some));
        let never = Ejection { failures: 0, ..POLICY };
        let mut outlier = Outlier::default();
        assert!((0..100).all(|_| !outlier.note(true, &never)));
    }
}

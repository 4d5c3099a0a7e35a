//! What follows from the answers to probes.

use std::time::{Duration, Instant};

use crate::model::Probe;

/// How often a revision that starts is asked at first, so that a deployment waits for its guest
/// and not for an interval.
const STARTING: Duration = Duration::from_millis(100);
/// For how long it is asked so often, at most.
const STARTING_TIME: Duration = Duration::from_secs(10);

/// The first pause between two restarts of a revision, as in Kubernetes.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// The longest one, as in Kubernetes.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// How long nothing may fail before the next pause is the first one again, as in Kubernetes.
const FORGIVEN_AFTER: Duration = Duration::from_secs(600);

/// Answers of the same kind in a row.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    passed: bool,
    row: u32,
}

impl Tally {
    /// Counts an answer. Whether the probe passes or fails, once enough answers agree.
    pub fn note(&mut self, passed: bool, probe: &Probe) -> Option<bool> {
        let goes_on = self.passed == passed;
        self.row = if goes_on { self.row.saturating_add(1) } else { 1 };
        self.passed = passed;
        let needed = if passed { probe.successes } else { probe.failures };
        (self.row >= needed).then_some(passed)
    }
}

/// What comes after an answer to a startup probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The revision has started.
    Passed,
    /// It has failed.
    Failed,
    /// It is asked again then.
    Again(Instant),
}

/// Follows a revision that starts.
///
/// It is asked often during the first interval. Failures count at most once in an interval, so
/// that a guest has `failures` intervals of time however often it is asked.
#[derive(Clone, Debug)]
pub struct Startup<'a> {
    probe: &'a Probe,
    often_until: Instant,
    counts_from: Instant,
    failures: u32,
    passes: u32,
}

impl<'a> Startup<'a> {
    /// Begins with the first question.
    pub fn new(probe: &'a Probe, now: Instant) -> Self {
        let often_until = now + probe.interval.min(STARTING_TIME);
        Self { probe, often_until, counts_from: now, failures: 0, passes: 0 }
    }

    /// Takes an answer into account.
    pub fn note(&mut self, passed: bool, now: Instant) -> Start {
        self.passes = if passed { self.passes + 1 } else { 0 };
        if self.passes >= self.probe.successes {
            return Start::Passed;
        }
        if passed {
            self.failures = 0;
        } else if now >= self.counts_from {
            self.failures += 1;
            self.counts_from = now + self.probe.interval;
        }
        if self.failures >= self.probe.failures {
            return Start::Failed;
        }
        Start::Again(match now < self.often_until {
            true => now + STARTING.min(self.probe.interval),
            false if passed => now + self.probe.interval,
            false => self.counts_from,
        })
    }
}

/// When the tasks of a revision that is ill may be replaced: at once, and then with pauses that
/// double from 10 s to 5 minutes until it was well for 10 minutes.
#[derive(Clone, Debug, Default)]
pub struct Restarts {
    pause: Duration,
    allowed_from: Option<Instant>,
    ill_at: Option<Instant>,
}

impl Restarts {
    /// Takes an answer to the liveness probe into account.
    pub fn note(&mut self, passed: bool, now: Instant) {
        match (passed, self.ill_at) {
            (false, _) => self.ill_at = Some(now),
            (true, Some(ill_at)) if now.saturating_duration_since(ill_at) >= FORGIVEN_AFTER => {
                *self = Self::default();
            }
            (true, _) => {}
        }
    }

    /// Whether the tasks are replaced now. If so the next time is later.
    pub fn try_restart(&mut self, now: Instant) -> bool {
        if self.allowed_from.is_some_and(|from| now < from) {
            return false;
        }
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        self.allowed_from = Some(now + self.pause);
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn probe(failures: u32, successes: u32) -> Probe {
        Probe { failures, successes, ..Probe::new("/".parse().expect("a path")) }
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    /// Answers every question in the same way; how often, and for how long, it was asked.
    fn start(probe: &Probe, passed: impl Fn(Duration) -> bool) -> (Start, u32, Duration) {
        let began = Instant::now();
        let (mut startup, mut now) = (Startup::new(probe, began), began);
        for asked in 1.. {
            match startup.note(passed(now - began), now) {
                Start::Again(next) => now = next,
                end => return (end, asked, now - began),
            }
        }
        unreachable!("there is always another question")
    }

    #[test]
    fn a_start_is_noticed_at_once_and_a_failure_in_the_time_that_was_asked_for() {
        let three = probe(3, 1);
        assert_eq!(start(&three, |_| true), (Start::Passed, 1, Duration::ZERO));
        let soon = start(&three, |time| time >= Duration::from_millis(250));
        assert_eq!(soon, (Start::Passed, 4, Duration::from_millis(300)));
        let (end, _, time) = start(&three, |_| false);
        assert_eq!((end, time), (Start::Failed, secs(20)));
        let late = start(&probe(3, 1), |time| time >= secs(15));
        assert_eq!((late.0, late.2), (Start::Passed, secs(20)));
        let one = start(&probe(1, 1), |_| false);
        assert_eq!(one, (Start::Failed, 1, Duration::ZERO));
        let twice = start(&probe(1, 2), |_| true);
        assert_eq!(twice, (Start::Passed, 2, STARTING));
    }

    #[test]
    fn pauses_between_restarts_double_until_the_revision_was_well() {
        let began = Instant::now();
        let mut restarts = Restarts::default();
        let mut at = Vec::new();
        for second in 0..1_500 {
            let now = began + secs(second);
            restarts.note(false, now);
            if restarts.try_restart(now) {
                at.push(second);
            }
        }
        assert_eq!(at, [0, 10, 30, 70, 150, 310, 610, 910, 1_210]);
        restarts.note(true, began + secs(1_900));
        assert!(!restarts.try_restart(began + secs(1_500)));
        restarts.note(true, began + secs(2_099));
        assert!(restarts.try_restart(began + secs(2_100)));
        assert!(restarts.try_restart(began + secs(2_110)));
        assert!(!restarts.try_restart(began + secs(2_129)));
    }

    proptest! {
        #[test]
        fn only_answers_in_a_row_decide(
            answers in prop::collection::vec(any::<bool>(), 1..60),
            failures in 1u32..6,
            successes in 1u32..6,
        ) {
            let probe = probe(failures, successes);
            let mut tally = Tally::default();
            for end in 1..=answers.len() {
                let last = answers[end - 1];
                let row = answers[..end].iter().rev().take_while(|one| **one == last).count();
                let needed = if last { successes } else { failures } as usize;
                prop_assert_eq!(tally.note(last, &probe), (row >= needed).then_some(last));
            }
        }
    }
}

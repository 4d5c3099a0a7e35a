//! The hard cap of a task: CPU time that comes in at the rate of its units.
//!
//! *Invariant:* pure.

use std::time::{Duration, Instant};

/// What may be saved up: a tenth of a second's worth, as the kernel's quota has it.
const PERIOD: Duration = Duration::from_millis(100);
/// What there must be before a task that has spent everything goes on: a turn's worth.
const LEAST: Duration = Duration::from_millis(1);

/// A bucket of CPU time.
#[derive(Debug)]
pub(super) struct Cap {
    /// Of a core.
    share: f64,
    /// Seconds; below zero after a turn that took more than there was.
    left: f64,
    filled: Option<Instant>,
}

impl Cap {
    pub(super) fn new(units: u64, core_units: u64) -> Self {
        let share = units as f64 / core_units as f64;
        Self { share, left: share * PERIOD.as_secs_f64(), filled: None }
    }

    fn fill(&mut self, now: Instant) {
        let since = self.filled.replace(now).unwrap_or(now);
        let came = now.saturating_duration_since(since).as_secs_f64() * self.share;
        self.left = (self.left + came).min(self.share * PERIOD.as_secs_f64());
    }

    pub(super) fn spend(&mut self, used: Duration, now: Instant) {
        self.fill(now);
        self.left -= used.as_secs_f64();
    }

    /// How long to wait until there is enough for a turn; `None` if there is something left.
    pub(super) fn pause(&mut self, now: Instant) -> Option<Duration> {
        self.fill(now);
        if self.left > 0.0 {
            return None;
        }
        let enough = LEAST.as_secs_f64().min(self.share * PERIOD.as_secs_f64());
        Some(Duration::from_secs_f64((enough - self.left) / self.share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capped_task_gets_its_share_and_no_more() {
        let mut cap = Cap::new(256, 1_024);
        let (start, mut now) = (crate::clock::now(), crate::clock::now());
        let mut used = Duration::ZERO;
        while now - start < Duration::from_secs(10) {
            match cap.pause(now) {
                Some(pause) => now += pause,
                None => {
                    let turn = Duration::from_millis(2);
                    now += turn;
                    used += turn;
                    cap.spend(turn, now);
                }
            }
        }
        let share = used.as_secs_f64() / (now - start).as_secs_f64();
        assert!((0.245..0.256).contains(&share), "{share}");
    }

    #[test]
    fn what_was_not_used_is_not_saved_up_for_longer_than_a_period() {
        let mut cap = Cap::new(1_024, 1_024);
        let start = crate::clock::now();
        let later = start + Duration::from_secs(60);
        assert_eq!(cap.pause(start), None);
        cap.spend(Duration::from_millis(99), later);
        assert_eq!(cap.pause(later), None);
        cap.spend(Duration::from_millis(2), later);
        assert_eq!(cap.pause(later), Some(Duration::from_millis(2)));
    }
}

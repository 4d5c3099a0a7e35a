//! When leases end.
//!
//! Deadlines live in memory only: after a restart every lease gets its full TTL again, because
//! nobody could keep it alive while the store was away.
//!
//! *Invariant:* this is the one place in the module that reads a clock, tokio's monotonic one, and
//! only [`now`] does.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::types::LeaseId;

/// How often deadlines are looked at. Rule 6 allows 2 s after the TTL; this leaves most of it to
/// the write.
pub(super) const TICK: Duration = Duration::from_millis(500);

/// The time by which leases end.
pub(super) fn now() -> Instant {
    Instant::now()
}

/// The deadlines of all leases; bounded by `LEASES_MAX`.
#[derive(Debug, Default)]
pub(super) struct Deadlines(BTreeMap<LeaseId, Deadline>);

#[derive(Clone, Copy, Debug)]
struct Deadline {
    ttl: Duration,
    at: Instant,
}

impl Deadlines {
    /// Takes over the leases of a state: those that are new to it get their full TTL.
    pub(super) fn sync(
        &mut self,
        leases: impl IntoIterator<Item = (LeaseId, Duration)>,
        now: Instant,
    ) {
        let mut old = std::mem::take(&mut self.0);
        for (id, ttl) in leases {
            let deadline = old.remove(&id).unwrap_or(Deadline { ttl, at: now + ttl });
            self.0.insert(id, deadline);
        }
    }

    pub(super) fn start(&mut self, id: LeaseId, ttl: Duration, now: Instant) {
        self.0.insert(id, Deadline { ttl, at: now + ttl });
    }

    pub(super) fn stop(&mut self, id: LeaseId) {
        self.0.remove(&id);
    }

    /// Gives a lease its full TTL again and returns it, unless the lease is over.
    pub(super) fn keepalive(&mut self, id: LeaseId, now: Instant) -> Option<Duration> {
        let deadline = self.0.get_mut(&id)?;
        deadline.at = now + deadline.ttl;
        Some(deadline.ttl)
    }

    /// Takes out the leases that are over. From here on a keepalive cannot save them.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<(LeaseId, Duration)> {
        let due = self.0.extract_if(.., |_, deadline| deadline.at <= now);
        due.map(|(id, deadline)| (id, deadline.ttl)).collect()
    }

    /// Puts back a lease whose end could not be written, to try again at the next look.
    pub(super) fn retry(&mut self, id: LeaseId, ttl: Duration, now: Instant) {
        self.0.insert(id, Deadline { ttl, at: now });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(5);

    #[test]
    fn a_lease_is_due_at_its_ttl_and_only_once() {
        let start = now();
        let mut deadlines = Deadlines::default();
        deadlines.start(LeaseId(1), TTL, start);
        assert!(deadlines.take_due(start + TTL - Duration::from_millis(1)).is_empty());
        assert_eq!(deadlines.take_due(start + TTL), [(LeaseId(1), TTL)]);
        assert!(deadlines.take_due(start + TTL * 2).is_empty());
        assert_eq!(deadlines.keepalive(LeaseId(1), start), None);
    }

    #[test]
    fn a_keepalive_gives_the_full_ttl_again() {
        let start = now();
        let mut deadlines = Deadlines::default();
        deadlines.start(LeaseId(1), TTL, start);
        assert_eq!(deadlines.keepalive(LeaseId(1), start + TTL / 2), Some(TTL));
        assert!(deadlines.take_due(start + TTL).is_empty());
        assert_eq!(deadlines.take_due(start + TTL + TTL / 2).len(), 1);
    }

    #[test]
    fn a_sync_keeps_known_deadlines_and_extends_new_ones() {
        let start = now();
        let mut deadlines = Deadlines::default();
        deadlines.start(LeaseId(1), TTL, start);
        deadlines.start(LeaseId(2), TTL, start);
        deadlines.sync([(LeaseId(1), TTL), (LeaseId(3), TTL)], start + TTL);
        assert_eq!(deadlines.take_due(start + TTL), [(LeaseId(1), TTL)]);
        assert_eq!(deadlines.keepalive(LeaseId(2), start), None);
        assert_eq!(deadlines.take_due(start + TTL * 2), [(LeaseId(3), TTL)]);
    }
}

//! Copies of the requests of one service: which are made, how many at once, and what became of
//! them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::model::Percent;
use crate::routing::is_in_share;

use super::service::ServiceCell;

/// Copies of one service at once, those included whose body is still on its way. Each may hold a
/// body in memory.
const MOST_AT_ONCE: u32 = 32;

/// What became of a request that was to be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MirrorOutcome {
    /// The copy was sent; how it ended is counted where it went.
    Sent,
    /// As many copies as there may be were under way.
    Busy,
    /// The body is too large, of unknown length, or was not read to its end.
    Body,
    /// The revision or service is not there, or not ready.
    Absent,
}

impl MirrorOutcome {
    const ALL: [Self; 4] = [Self::Sent, Self::Busy, Self::Body, Self::Absent];

    /// Its name, which does not change.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Busy => "busy",
            Self::Body => "body",
            Self::Absent => "absent",
        }
    }
}

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Mirrors {
    /// Requests that came by.
    asked: AtomicU32,
    under_way: AtomicU32,
    outcomes: [AtomicU64; MirrorOutcome::ALL.len()],
}

impl Mirrors {
    /// Whether the next request is one of this share.
    pub fn is_next(&self, share: Percent) -> bool {
        is_in_share(self.asked.fetch_add(1, Relaxed), share)
    }

    /// Counts what became of a request that was to be copied.
    pub fn count(&self, outcome: MirrorOutcome) {
        self.outcomes[outcome as usize].fetch_add(1, Relaxed);
    }

    /// What became of all of them.
    pub fn counted(&self) -> impl Iterator<Item = (MirrorOutcome, u64)> + use<'_> {
        MirrorOutcome::ALL.into_iter().map(|one| (one, self.outcomes[one as usize].load(Relaxed)))
    }

    fn enter(&self) -> bool {
        let one_more = |count| (count < MOST_AT_ONCE).then_some(count + 1);
        self.under_way.fetch_update(Relaxed, Relaxed, one_more).is_ok()
    }
}

/// The place of one copy, until it has ended.
#[derive(Debug)]
pub struct MirrorPlace(Arc<ServiceCell>);

impl MirrorPlace {
    /// A place, if one is free.
    pub fn take(service: &Arc<ServiceCell>) -> Option<Self> {
        service.mirrors().enter().then(|| Self(Arc::clone(service)))
    }

    /// The service whose request is copied.
    pub fn service(&self) -> &Arc<ServiceCell> {
        &self.0
    }
}

impl Drop for MirrorPlace {
    fn drop(&mut self) {
        self.0.mirrors().under_way.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_an_end_to_copies_at_once_and_to_the_count_of_each_outcome() {
        let mirrors = Mirrors::default();
        assert_eq!((0..100).filter(|_| mirrors.enter()).count(), MOST_AT_ONCE as usize);
        mirrors.under_way.fetch_sub(1, Relaxed);
        assert!(mirrors.enter() && !mirrors.enter());
        for (count, outcome) in MirrorOutcome::ALL.into_iter().enumerate() {
            (0..=count).for_each(|_| mirrors.count(outcome));
        }
        let counted: Vec<_> = mirrors.counted().map(|(one, n)| (one.as_str(), n)).collect();
        assert_eq!(counted, [("sent", 1), ("busy", 2), ("body", 3), ("absent", 4)]);
    }
}

//! Who runs now, for a watchman that does not run on the threads of guests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::clock;
use crate::telemetry::Exchange;

use super::gate::Gate;

/// Turns that are watched at once. More are possible on very large machines, and are not watched.
const LANES: usize = 64;
/// How long a turn may take. Guests are interrupted after milliseconds; what takes longer is one
/// host call, or one instruction.
pub(super) const LONGEST_TURN: Duration = Duration::from_secs(1);

/// Turns under way.
#[derive(Debug)]
pub(super) struct Lanes {
    free: AtomicU64,
    lanes: [Mutex<Option<Held>>; LANES],
}

/// A turn under way.
#[derive(Clone, Debug)]
struct Held {
    since: Instant,
    exchange: Arc<Exchange>,
    overstayed: Arc<AtomicBool>,
}

/// A place among those who are watched.
#[derive(Debug)]
pub(super) struct Lane {
    number: usize,
    overstayed: Arc<AtomicBool>,
}

impl Default for Lanes {
    fn default() -> Self {
        Self { free: AtomicU64::new(u64::MAX), lanes: [const { Mutex::new(None) }; LANES] }
    }
}

impl Lanes {
    pub(super) fn take(&self, exchange: &Arc<Exchange>, now: Instant) -> Option<Lane> {
        let mut number = 0;
        let taken = self.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, |free| {
            number = free.trailing_zeros() as usize;
            (free != 0).then(|| free & (free - 1))
        });
        taken.ok()?;
        let overstayed = Arc::<AtomicBool>::default();
        let (exchange, told) = (Arc::clone(exchange), Arc::clone(&overstayed));
        *self.lanes[number].lock() = Some(Held { since: now, exchange, overstayed: told });
        Some(Lane { number, overstayed })
    }

    /// Whether the turn was too long, so that another one was lent in its place.
    pub(super) fn release(&self, lane: &Lane) -> bool {
        *self.lanes[lane.number].lock() = None;
        self.free.fetch_or(1 << lane.number, Ordering::AcqRel);
        lane.overstayed.load(Ordering::Acquire)
    }
}

impl Gate {
    /// Looks for turns that do not end. Their requests are named, and others get a turn in their
    /// place.
    pub(crate) fn watch(&self) {
        let now = clock::now();
        if self.lanes.free.load(Ordering::Relaxed) == u64::MAX {
            return;
        }
        for lane in &self.lanes.lanes {
            let held = lane.lock();
            let Some(held) = held.as_ref() else { continue };
            if now.saturating_duration_since(held.since) < LONGEST_TURN
                || held.overstayed.swap(true, Ordering::AcqRel)
            {
                continue;
            }
            tracing::error!(
                request = held.exchange.id(),
                service = held.exchange.service_name().map_or("", |name| name.as_str()),
                "a guest holds its thread in one call; it is stopped when the call returns"
            );
            self.lend();
        }
    }
}

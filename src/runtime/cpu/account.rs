//! What one task has had of the CPU.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::model::CpuUnits;

use super::cap::Cap;

/// CPU units of a whole core.
const CORE_UNITS: u64 = 1_024;
/// What a turn is taken to last before that is known.
const EXPECTED_NS: u64 = 500_000;

/// Numbers accounts, so that two that have had the same stand in some order.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// An account. Its time is *virtual*: nanoseconds of CPU, divided by the share of a core that the
/// task is entitled to.
#[derive(Debug)]
pub(crate) struct Account {
    pub(super) number: u64,
    units: u64,
    /// Up to where the task has been served.
    served: AtomicU64,
    /// Changed only under the gate's lock.
    pub(super) line: Mutex<Line>,
    cap: Option<Mutex<Cap>>,
}

/// Those of a task that wait for a turn, the first that came first.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Under which the account stands in the gate's order, while anybody waits.
    pub(super) key: u64,
    pub(super) tickets: VecDeque<Arc<Ticket>>,
}

/// Somebody who waits.
#[derive(Debug)]
pub(super) struct Ticket {
    granted: AtomicBool,
    waker: Mutex<Waker>,
}

impl Ticket {
    pub(super) fn new(waker: &Waker) -> Arc<Self> {
        Arc::new(Self { granted: AtomicBool::new(false), waker: Mutex::new(waker.clone()) })
    }

    pub(super) fn grant(&self) {
        self.granted.store(true, Ordering::Release);
        self.waker.lock().wake_by_ref();
    }

    /// Whether it was granted; if not, this one is woken when it is.
    pub(super) fn is_granted(&self, waker: &Waker) -> bool {
        if self.granted.load(Ordering::Acquire) {
            return true;
        }
        self.waker.lock().clone_from(waker);
        // It may have been granted just before, and then somebody else was woken.
        self.granted.load(Ordering::Acquire)
    }
}

impl Account {
    /// The account of a task. One that is capped never gets more than its units, even if nobody
    /// else wants the CPU.
    pub(crate) fn new(units: CpuUnits, is_capped: bool) -> Arc<Self> {
        let units = u64::from(units.0).max(1);
        Arc::new(Self {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            units,
            served: AtomicU64::new(0),
            line: Mutex::default(),
            cap: is_capped.then(|| Mutex::new(Cap::new(units, CORE_UNITS))),
        })
    }

    fn virtual_ns(&self, ns: u64) -> u64 {
        ns.saturating_mul(CORE_UNITS) / self.units
    }

    pub(super) fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    /// Nobody saves up for later: whoever was away begins where everybody is now.
    pub(super) fn catch_up(&self, now: u64) -> u64 {
        self.served.fetch_max(now, Ordering::Relaxed).max(now)
    }

    /// Whether the task has had much less than everybody else, so that it need not wait for a turn
    /// to end by itself.
    pub(super) fn is_behind(&self, now: u64) -> bool {
        self.served().saturating_add(self.virtual_ns(2 * EXPECTED_NS)) < now
    }

    /// Takes a turn into account before its length is known, so that several turns at once do not
    /// all go to the same task.
    pub(super) fn begin(&self) {
        self.served.fetch_add(self.virtual_ns(EXPECTED_NS), Ordering::Relaxed);
    }

    pub(super) fn end(&self, used: Duration) {
        let used = u64::try_from(used.as_nanos()).unwrap_or(u64::MAX);
        let (took, expected) = (self.virtual_ns(used), self.virtual_ns(EXPECTED_NS));
        match took.checked_sub(expected) {
            Some(more) => self.served.fetch_add(more, Ordering::Relaxed),
            None => self.served.fetch_sub(expected - took, Ordering::Relaxed),
        };
    }

    /// Adds what was used outside of a turn.
    pub(super) fn charge(&self, used: Duration, now: Instant) {
        let ns = u64::try_from(used.as_nanos()).unwrap_or(u64::MAX);
        self.served.fetch_add(self.virtual_ns(ns), Ordering::Relaxed);
        self.spend(used, now);
    }

    /// Takes used time out of what a capped task may have.
    pub(super) fn spend(&self, used: Duration, now: Instant) {
        if let Some(cap) = &self.cap {
            cap.lock().spend(used, now);
        }
    }

    /// Whether the task has a cap.
    pub(super) fn is_capped(&self) -> bool {
        self.cap.is_some()
    }

    /// How long a capped task that has had its share has to pause.
    pub(super) fn pause(&self, now: Instant) -> Option<Duration> {
        self.cap.as_ref()?.lock().pause(now)
    }
}

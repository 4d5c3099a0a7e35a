//! How the parts of a node learn that it is stopping, or draining.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// A signal that is given once and seen by every clone.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    given: CancellationToken,
    replaced: Arc<AtomicBool>,
}

impl Shutdown {
    /// A signal that has not been given.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the signal. Giving it again changes nothing.
    pub fn begin(&self) {
        self.given.cancel();
    }

    /// Gives the signal because another process goes on with the same listening sockets.
    pub fn begin_replaced(&self) {
        self.replaced.store(true, Ordering::Release);
        self.begin();
    }

    /// Whether the signal has been given.
    pub fn has_begun(&self) -> bool {
        self.given.is_cancelled()
    }

    /// Whether it was given because another process goes on.
    pub fn is_replaced(&self) -> bool {
        self.replaced.load(Ordering::Acquire)
    }

    /// Completes when the signal is given.
    pub async fn begun(&self) {
        self.given.cancelled().await;
    }

    /// Runs `work` until it completes or the signal is given; `None` in the second case.
    pub async fn unless_begun<F: Future>(&self, work: F) -> Option<F::Output> {
        self.given.run_until_cancelled(work).await
    }
}

/// Whether clients are told to go elsewhere. Unlike stopping it may end again.
#[derive(Clone, Debug)]
pub struct Draining(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    on: AtomicBool,
    stop: Shutdown,
    /// Given while `on`, and by `stop`: whoever waits for both waits for one.
    given: Mutex<CancellationToken>,
}

impl Draining {
    /// Not draining, of a node that stops by this signal.
    pub fn of(stop: &Shutdown) -> Self {
        let given = Mutex::new(stop.given.child_token());
        Self(Arc::new(Inner { on: AtomicBool::new(false), stop: stop.clone(), given }))
    }

    /// Begins or ends it. Saying the same again changes nothing.
    pub fn set(&self, on: bool) {
        let Inner { stop, given, .. } = &*self.0;
        let mut given = given.lock();
        if self.0.on.swap(on, Ordering::AcqRel) == on {
            return;
        }
        match on {
            true => given.cancel(),
            false => *given = stop.given.child_token(),
        }
    }

    /// Whether it is under way.
    pub fn is_on(&self) -> bool {
        self.0.on.load(Ordering::Acquire)
    }

    /// A signal that is given when draining begins, or when the node stops.
    pub fn signal(&self) -> Shutdown {
        let given = self.0.given.lock().clone();
        Shutdown { given, replaced: Arc::clone(&self.0.stop.replaced) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draining_ends_and_begins_again_and_stopping_does_not() {
        let stop = Shutdown::new();
        let draining = Draining::of(&stop);
        let first = draining.signal();
        draining.set(true);
        draining.set(true);
        assert!(draining.is_on() && first.has_begun() && draining.signal().has_begun());
        assert!(!stop.has_begun());
        draining.set(false);
        let second = draining.signal();
        assert!(!draining.is_on() && !second.has_begun() && first.has_begun());
        draining.set(true);
        assert!(second.has_begun());
        draining.set(false);
        let third = draining.signal();
        stop.begin_replaced();
        assert!(third.has_begun() && third.is_replaced() && !draining.is_on());
    }
}

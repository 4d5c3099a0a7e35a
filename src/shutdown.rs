//! How the parts of a node learn that it is stopping.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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

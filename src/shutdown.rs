//! How the parts of a node learn that it is stopping.

use std::future::Future;

use tokio_util::sync::CancellationToken;

/// A signal that is given once and seen by every clone.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// A signal that has not been given.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the signal. Giving it again changes nothing.
    pub fn begin(&self) {
        self.0.cancel();
    }

    /// Whether the signal has been given.
    pub fn has_begun(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Completes when the signal is given.
    pub async fn begun(&self) {
        self.0.cancelled().await;
    }

    /// Runs `work` until it completes or the signal is given; `None` in the second case.
    pub async fn unless_begun<F: Future>(&self, work: F) -> Option<F::Output> {
        self.0.run_until_cancelled(work).await
    }
}

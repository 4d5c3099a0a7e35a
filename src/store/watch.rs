//! Watches: how changes reach those who wait for them.
//!
//! *Invariant:* publishing never waits. A watcher whose buffer is full is disconnected and told
//! where to resume.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::error::{Error, Reason};
use super::limits::{WATCH_BATCHES_MAX, WATCHERS_MAX};
use super::mvcc::with_prefix;
use super::types::{Batch, Revision};

/// The receiving end of a watch; see rules 4 and 5 of [`Store`](super::Store).
#[derive(Debug)]
pub struct WatchStream {
    /// What had happened when the watch began; bounded by the history that a store retains.
    backlog: VecDeque<Batch>,
    batches: mpsc::Receiver<Batch>,
    failure: Arc<OnceLock<Error>>,
    ended: bool,
}

impl WatchStream {
    /// Waits for the next batch. `None` means that the store was closed, or that an error was
    /// reported before. Dropping the future loses nothing.
    ///
    /// # Errors
    /// `Lagged` when this watcher was too slow, after everything that had been buffered.
    pub async fn next(&mut self) -> Result<Option<Batch>, Error> {
        if let Some(batch) = self.backlog.pop_front() {
            return Ok(Some(batch));
        }
        if let Some(batch) = self.batches.recv().await {
            return Ok(Some(batch));
        }
        match self.failure.get() {
            Some(failure) if !self.ended => {
                self.ended = true;
                Err(failure.clone())
            }
            _ => Ok(None),
        }
    }
}

/// The sending end of a watch.
#[derive(Debug)]
pub(super) struct WatchSender {
    batches: mpsc::Sender<Batch>,
    failure: Arc<OnceLock<Error>>,
}

/// A new watch that first delivers a backlog.
pub(super) fn channel(backlog: VecDeque<Batch>) -> (WatchSender, WatchStream) {
    let (sender, batches) = mpsc::channel(WATCH_BATCHES_MAX);
    let failure = Arc::new(OnceLock::new());
    let stream = WatchStream { backlog, batches, failure: failure.clone(), ended: false };
    (WatchSender { batches: sender, failure }, stream)
}

impl WatchSender {
    /// Hands over a batch; false when the watch is over, because nobody listens or because its
    /// buffer is full.
    pub(super) fn offer(&self, batch: Batch) -> bool {
        let resume = batch.revision;
        match self.batches.try_send(batch) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(_)) => {
                // The first failure is the one that counts, and this is the only place.
                let _ = self.failure.set(Error::Lagged { resume });
                false
            }
        }
    }
}

/// All watches of an embedded store.
#[derive(Debug, Default)]
pub(super) struct Watchers(Vec<Watcher>);

#[derive(Debug)]
struct Watcher {
    prefix: Bytes,
    from: Revision,
    sender: WatchSender,
}

impl Watchers {
    /// Adds a watch whose backlog ends where the next [`Watchers::publish`] goes on.
    ///
    /// # Errors
    /// `TooMany`.
    pub(super) fn add(
        &mut self,
        prefix: Bytes,
        from: Revision,
        backlog: VecDeque<Batch>,
    ) -> Result<WatchStream, Error> {
        self.0.retain(|watcher| !watcher.sender.batches.is_closed());
        if self.0.len() >= WATCHERS_MAX {
            return Err(Reason::TooMany { what: "watchers", max: WATCHERS_MAX }.into());
        }
        let (sender, stream) = channel(backlog);
        self.0.push(Watcher { prefix, from, sender });
        Ok(stream)
    }

    /// Hands a batch to every watch that covers it.
    pub(super) fn publish(&mut self, batch: &Batch) {
        self.0.retain(|watcher| {
            if batch.revision < watcher.from {
                return !watcher.sender.batches.is_closed();
            }
            match with_prefix(batch, &watcher.prefix) {
                Some(batch) => watcher.sender.offer(batch),
                None => !watcher.sender.batches.is_closed(),
            }
        });
    }
}

//! Brings a body from the network to a [`Writer`] on a blocking thread.
//!
//! The thread hands the writer back when the body ends, for whatever reason, even if the future
//! that fed it was dropped: a client that went away in the middle of an upload may resume it.

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Result, Stored, Writer};

/// How many pieces wait for the disk. Pieces are what the network gives at once, at most
/// about 64 KiB, so a stream holds 1 MiB while the disk is busy; then the sender waits.
const QUEUE_CHUNKS: usize = 16;

/// A body on its way to the disk; `T` is what becomes of the writer at its end.
pub(crate) struct Feed<T> {
    sender: mpsc::Sender<Bytes>,
    job: JoinHandle<(Result<()>, T)>,
}

/// Commits on a blocking thread.
pub(crate) async fn commit(writer: Writer) -> Result<Stored> {
    joined(tokio::task::spawn_blocking(move || writer.commit()).await)
}

impl<T: Send + 'static> Feed<T> {
    /// Starts writing; `back` takes the writer when the body has ended or writing has failed.
    pub(crate) fn start(
        mut writer: Writer,
        back: impl FnOnce(Writer) -> T + Send + 'static,
    ) -> Self {
        let (sender, mut receiver) = mpsc::channel::<Bytes>(QUEUE_CHUNKS);
        let job = tokio::task::spawn_blocking(move || {
            let mut outcome = Ok(());
            while outcome.is_ok()
                && let Some(chunk) = receiver.blocking_recv()
            {
                outcome = writer.write(&chunk);
            }
            (outcome, back(writer))
        });
        Self { sender, job }
    }

    /// Hands over the next piece; `false` if writing has failed, which `finish` explains.
    pub(crate) async fn send(&self, chunk: Bytes) -> bool {
        self.sender.send(chunk).await.is_ok()
    }

    /// Waits until all is written and the writer is back.
    pub(crate) async fn finish(self) -> Result<T> {
        drop(self.sender);
        let (outcome, back) = joined(self.job.await);
        outcome.map(|()| back)
    }
}

/// The outcome of a blocking job. Jobs are never aborted, so the only other end is a panic,
/// which goes on here.
pub(crate) fn joined<T>(outcome: std::result::Result<T, tokio::task::JoinError>) -> T {
    match outcome {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

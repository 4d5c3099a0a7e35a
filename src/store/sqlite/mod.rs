//! [`SqliteStore`]: the store of a single node.
//!
//! The state lives in memory; one SQLite file is its log. One thread writes: it takes all waiting
//! writes, decides them in one draft, commits them in one SQLite transaction (one fsync), makes
//! them visible and answers them. Reads and watches never touch the disk.
//!
//! | file | what it does |
//! |---|---|
//! | `writer` | the thread: group commit, and what to do when the disk fails |
//! | `disk` | opening, checking and reopening the file |
//! | `rows` | what the tables hold, and their checksums |
//! | `lock` | one process at a time |
//! | `open_error` | why a file cannot be opened, for people |
//!
//! *Invariant:* nothing here deletes or repairs a file. What cannot be read in full is refused.

mod disk;
mod lock;
mod open_error;
mod rows;
mod writer;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use super::error::{Error, Reason};
use super::expiry::{self, Deadlines};
use super::limits;
use super::live::Live;
use super::traits::Store;
use super::types::{
    Consistency, Lease, LeaseId, RangeReq, RangeResp, Revision, Status, Txn, TxnResp,
};
use super::watch::WatchStream;

pub use open_error::OpenError;
use writer::{Command, Done, Job, Work, Writer};

/// Commands that wait for the writer. Four groups: beyond that, callers wait for their turn.
const QUEUE_MAX: usize = 1024;

/// The default of [`SqliteOptions::quota_bytes`], the same as etcd's: 2 GiB.
const QUOTA_BYTES_DEFAULT: u64 = 2 * 1024 * 1024 * 1024;

/// Where a [`SqliteStore`] lives and how large it may grow.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// The database file. It is created (mode 0600) when it does not exist; its folder is not.
    /// Beside it live `-wal` and `-shm`, which SQLite needs, and `.lock`.
    pub path: PathBuf,
    /// From how many bytes on puts are refused. Deletes and compaction go on.
    pub quota_bytes: u64,
}

impl SqliteOptions {
    /// The defaults for a database at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), quota_bytes: QUOTA_BYTES_DEFAULT }
    }
}

/// A durable store in one SQLite file.
///
/// Dropping it waits for the writes that were handed over, and releases the file. It needs a
/// tokio runtime with time. Leases run on real time: do not use it on a paused clock.
#[derive(Debug)]
pub struct SqliteStore {
    shared: Arc<Shared>,
    /// `None` only while it is dropped.
    queue: Option<mpsc::Sender<Command>>,
    writer: Option<JoinHandle<()>>,
    ticker: AbortHandle,
}

/// What the writer shares with readers.
#[derive(Debug)]
struct Shared {
    quota_bytes: u64,
    live: RwLock<Live>,
    deadlines: Mutex<Deadlines>,
    used_bytes: AtomicU64,
    healthy: AtomicBool,
    /// Whether there is a write of which nobody knows whether it happened.
    in_doubt: AtomicBool,
}

impl SqliteStore {
    /// Opens the database, or creates it, and loads its state.
    ///
    /// # Errors
    /// Why the file cannot be used. Nothing was changed then.
    pub async fn open(options: SqliteOptions) -> Result<Self, OpenError> {
        let (opened, open) = oneshot::channel();
        let (queue, commands) = mpsc::channel(QUEUE_MAX);
        let path = options.path.clone();
        let run = move || match start(options) {
            Ok((shared, disk)) => {
                // A caller that went away has dropped the queue, too: the writer ends at once.
                let _ = opened.send(Ok(shared.clone()));
                Writer::new(shared, disk).run(commands);
            }
            Err(error) => {
                let _ = opened.send(Err(error));
            }
        };
        let spawned = std::thread::Builder::new().name("wharf-store".into()).spawn(run);
        let writer = spawned.map_err(|source| OpenError::Io { path: path.clone(), source })?;
        let died = |_| OpenError::Io { path, source: std::io::Error::other("the writer died") };
        let shared = open.await.map_err(died)??;
        let ticker = tokio::spawn(tick(Arc::downgrade(&shared), queue.downgrade()));
        let ticker = ticker.abort_handle();
        Ok(Self { shared, queue: Some(queue), writer: Some(writer), ticker })
    }

    /// Finishes the writes that were handed over and releases the file, for another process. What
    /// is asked for afterwards is refused; reads see what was there last.
    pub async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if self.send(Command::Close { reply }).await.is_ok() {
            // Without an answer the writer has died, and released the file while it unwound.
            let _ = closed.await;
        }
    }

    async fn submit(&self, work: Work) -> Result<Done, Error> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Job(Job { work, reply })).await?;
        answer.await.unwrap_or_else(|_| Err(lost()))
    }

    async fn send(&self, command: Command) -> Result<(), Error> {
        let queue = self.queue.as_ref().ok_or(Reason::Unavailable)?;
        queue.send(command).await.map_err(|_| Reason::Unavailable.into())
    }
}

/// Runs on the writer's thread, which is allowed to block.
fn start(options: SqliteOptions) -> Result<(Arc<Shared>, disk::Disk), OpenError> {
    let (disk, state) = disk::Disk::open(options.path)?;
    let mut deadlines = Deadlines::default();
    deadlines.sync(state.leases().map(|(id, grant)| (id, grant.ttl)), expiry::now());
    let shared = Shared {
        quota_bytes: options.quota_bytes,
        live: RwLock::new(Live::new(state)),
        deadlines: Mutex::new(deadlines),
        used_bytes: AtomicU64::new(0),
        healthy: AtomicBool::new(true),
        in_doubt: AtomicBool::new(false),
    };
    Ok((Arc::new(shared), disk))
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.ticker.abort();
        self.queue.take();
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has released the file while it unwound.
            let _ = writer.join();
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn range(&self, req: RangeReq, consistency: Consistency) -> Result<RangeResp, Error> {
        let in_doubt = self.shared.in_doubt.load(Ordering::Acquire);
        if in_doubt && consistency == Consistency::Linearizable {
            return Err(Reason::Unavailable.into());
        }
        self.shared.live.read().range(&req, consistency)
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResp, Error> {
        limits::check_txn(&txn)?;
        match self.submit(Work::Txn(txn)).await? {
            Done::Txn(answer) => Ok(answer),
            Done::Grant(_) | Done::Revoke => Err(lost()),
        }
    }

    async fn watch(&self, prefix: Bytes, from: Revision) -> Result<WatchStream, Error> {
        self.shared.live.write().watch(prefix, from)
    }

    async fn lease_grant(&self, ttl: Duration) -> Result<Lease, Error> {
        match self.submit(Work::Grant(ttl)).await? {
            Done::Grant(lease) => Ok(lease),
            Done::Txn(_) | Done::Revoke => Err(lost()),
        }
    }

    async fn lease_keepalive(&self, id: LeaseId) -> Result<Duration, Error> {
        let kept = self.shared.deadlines.lock().keepalive(id, expiry::now());
        kept.ok_or(Reason::LeaseNotFound.into())
    }

    async fn lease_revoke(&self, id: LeaseId) -> Result<(), Error> {
        self.submit(Work::Revoke(id)).await.map(drop)
    }

    async fn compact(&self, before: Revision) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Compact { before, reply }).await?;
        answer.await.unwrap_or_else(|_| Err(lost()))
    }

    async fn status(&self) -> Result<Status, Error> {
        let counters = self.shared.live.read().state().counters();
        Ok(Status {
            revision: counters.revision,
            compacted: counters.compacted,
            db_bytes: self.shared.used_bytes.load(Ordering::Relaxed),
            quota_bytes: self.shared.quota_bytes,
            healthy: self.shared.healthy.load(Ordering::Relaxed),
        })
    }
}

/// The writer ended before it answered.
fn lost() -> Error {
    Error::Unknown("the writer of the store ended".into())
}

/// Ends leases, and lets the writer try to recover, until the store is dropped.
///
/// It holds the queue only while it does not wait, so that the writer can end.
async fn tick(shared: Weak<Shared>, queue: mpsc::WeakSender<Command>) {
    loop {
        tokio::time::sleep(expiry::TICK).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let due = shared.deadlines.lock().take_due(expiry::now());
        let mut waiting = Vec::with_capacity(due.len());
        {
            let Some(queue) = queue.upgrade() else { return };
            if !shared.healthy.load(Ordering::Relaxed) {
                // A full queue wakes the writer just as well.
                let _ = queue.try_send(Command::Heal);
            }
            for (id, ttl) in due {
                let (reply, answer) = oneshot::channel();
                // When the queue is full, the answer is lost and the lease is tried again.
                let _ = queue.try_send(Command::Job(Job { work: Work::Revoke(id), reply }));
                waiting.push((id, ttl, answer));
            }
        }
        for (id, ttl, answer) in waiting {
            match answer.await {
                Ok(Ok(_) | Err(Error::NotApplied(Reason::LeaseNotFound))) => {}
                _ => shared.deadlines.lock().retry(id, ttl, expiry::now()),
            }
        }
    }
}

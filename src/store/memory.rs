//! [`MemStore`]: the store without a disk.
//!
//! The reference model: what it answers is what every other implementation must answer.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use super::draft::Draft;
use super::error::{Error, Reason};
use super::expiry::{self, Deadlines};
use super::limits;
use super::live::Live;
use super::traits::Store;
use super::types::{
    Consistency, Lease, LeaseId, RangeReq, RangeResp, Revision, Status, Txn, TxnResp,
};
use super::watch::WatchStream;

/// A store in memory, for tests and simulations. It forgets everything when it is dropped.
///
/// Calls never wait, so that a simulation stays deterministic. Leases expire on `tokio::time`,
/// paused or not: the first lease starts a task that lives as long as the store.
#[derive(Debug)]
pub struct MemStore {
    inner: Arc<Inner>,
    ticker: OnceLock<tokio::task::AbortHandle>,
}

#[derive(Debug)]
struct Inner {
    quota_bytes: u64,
    live: RwLock<Live>,
    deadlines: Mutex<Deadlines>,
}

impl MemStore {
    /// An empty store without a quota.
    #[must_use]
    pub fn new() -> Self {
        Self::with_quota(u64::MAX)
    }

    /// An empty store that refuses puts once keys and values, history included, take this many
    /// bytes.
    #[must_use]
    pub fn with_quota(quota_bytes: u64) -> Self {
        let inner = Inner { quota_bytes, live: RwLock::default(), deadlines: Mutex::default() };
        Self { inner: Arc::new(inner), ticker: OnceLock::new() }
    }
}

impl Default for MemStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for MemStore {
    fn drop(&mut self) {
        if let Some(ticker) = self.ticker.get() {
            ticker.abort();
        }
    }
}

#[async_trait]
impl Store for MemStore {
    async fn range(&self, req: RangeReq, consistency: Consistency) -> Result<RangeResp, Error> {
        self.inner.live.read().range(&req, consistency)
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResp, Error> {
        limits::check_txn(&txn)?;
        self.inner.write(|draft| draft.txn(&txn))
    }

    async fn watch(&self, prefix: Bytes, from: Revision) -> Result<WatchStream, Error> {
        self.inner.live.write().watch(prefix, from)
    }

    async fn lease_grant(&self, ttl: Duration) -> Result<Lease, Error> {
        let lease = self.inner.write(|draft| draft.grant(ttl))?;
        self.inner.deadlines.lock().start(lease.id, lease.ttl_granted, expiry::now());
        let inner = Arc::downgrade(&self.inner);
        self.ticker.get_or_init(|| tokio::spawn(expire(inner)).abort_handle());
        Ok(lease)
    }

    async fn lease_keepalive(&self, id: LeaseId) -> Result<Duration, Error> {
        let kept = self.inner.deadlines.lock().keepalive(id, expiry::now());
        kept.ok_or(Reason::LeaseNotFound.into())
    }

    async fn lease_revoke(&self, id: LeaseId) -> Result<(), Error> {
        self.inner.write(|draft| draft.revoke(id))?;
        self.inner.deadlines.lock().stop(id);
        Ok(())
    }

    async fn compact(&self, before: Revision) -> Result<(), Error> {
        self.inner.live.write().compact(before).map(drop)
    }

    async fn status(&self) -> Result<Status, Error> {
        let live = self.inner.live.read();
        let counters = live.state().counters();
        Ok(Status {
            revision: counters.revision,
            compacted: counters.compacted,
            db_bytes: live.state().bytes() as u64,
            quota_bytes: self.inner.quota_bytes,
            healthy: true,
        })
    }
}

impl Inner {
    fn write<T>(&self, decide: impl FnOnce(&mut Draft) -> Result<T, Error>) -> Result<T, Error> {
        let mut live = self.live.write();
        let full = live.state().bytes() as u64 >= self.quota_bytes;
        let mut draft = Draft::new(live.state(), full);
        let answer = decide(&mut draft)?;
        let changes = draft.finish();
        live.apply(changes);
        Ok(answer)
    }
}

/// Ends leases until the store is dropped.
async fn expire(inner: Weak<Inner>) {
    loop {
        tokio::time::sleep(expiry::TICK).await;
        let Some(inner) = inner.upgrade() else { return };
        let due = inner.deadlines.lock().take_due(expiry::now());
        for (id, _) in due {
            // The only failure is that a revoke was faster.
            let _ = inner.write(|draft| draft.revoke(id));
        }
    }
}

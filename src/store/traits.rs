//! The [`Store`] trait and the rules that every implementation keeps.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::error::Error;
use super::types::{
    Consistency, Lease, LeaseId, RangeReq, RangeResp, Revision, Status, Txn, TxnResp,
};
use super::watch::WatchStream;

/// A multi-version key-value store with transactions, watches and leases.
///
/// # Rules
///
/// Every implementation shows these; each has its cases in the conformance suite.
///
/// 1. All effects of a transaction become visible together, at one revision. Operations apply in
///    order: a get after a put in the same branch sees the put. A branch that changes the same
///    key twice is refused with `DuplicateKey`.
/// 2. A transaction without effect (only gets, or deletes of absent keys) uses no revision. A put
///    of an equal value has an effect.
/// 3. `version` starts again at 1 after a delete and a create, and `create_rev` changes. A leader
///    fences its writes with the `create_rev` of its leader key.
/// 4. A watch from R yields every event with `mod_rev` ≥ R, in the order of revisions, all events
///    of one revision in one batch, without duplicates or gaps. Delete events carry the key and
///    the revision of the delete. R below the compaction is `Compacted`, never a later start; R in
///    the future starts exactly there; R = 0 is `Invalid`.
/// 5. A watcher with [`WATCH_BATCHES_MAX`](super::WATCH_BATCHES_MAX) undelivered batches is
///    disconnected with `Lagged` and may resume; it never makes the store grow.
/// 6. A lease that is not kept alive takes all its keys with it in one revision, not before its
///    TTL and, while the store is healthy, at most 2 s after. A restart extends every lease to a
///    full TTL, never shortens one. TTLs are at least
///    [`LEASE_TTL_MIN`](super::LEASE_TTL_MIN). Expiry says that a holder was not heard of; it is
///    not mutual exclusion (rule 3 is).
/// 7. A linearizable read sees every acknowledged write. `Cached(r)` never returns a state older
///    than `r`.
/// 8. Acknowledged writes survive the kill of every process at once, and loss of power.
/// 9. Keys have 1 byte to 1 KiB, values at most 512 KiB, transactions at most 1 MiB and 100
///    operations. Beyond: `TooLarge`, `TooManyOps`, the same on all implementations.
/// 10. On a full disk or quota writes are `QuotaFull`, reads and watches go on, and writes work
///     again without a restart when there is space.
///
/// A call whose future is dropped before it is ready may or may not have happened, like
/// [`Error::Unknown`].
#[async_trait]
pub trait Store: Send + Sync {
    /// Reads keys in ascending order.
    ///
    /// # Errors
    /// `Compacted` and `FutureRevision` for an `at` that is not there, `FutureRevision` for a
    /// `Cached` revision that the store has not seen, `Unavailable` for a linearizable read while
    /// the outcome of a write is in doubt.
    async fn range(&self, req: RangeReq, consistency: Consistency) -> Result<RangeResp, Error>;

    /// Runs a transaction.
    ///
    /// # Errors
    /// `Unknown` when it may have happened; `NotApplied` when it did not.
    async fn txn(&self, txn: Txn) -> Result<TxnResp, Error>;

    /// Watches every key that starts with `prefix`, from revision `from`, inclusive.
    ///
    /// # Errors
    /// `Compacted` when `from` is no longer there, `Invalid` when it is zero.
    async fn watch(&self, prefix: Bytes, from: Revision) -> Result<WatchStream, Error>;

    /// Grants a lease of at least `ttl`, rounded up to whole seconds and clamped to the limits.
    ///
    /// # Errors
    /// As for [`Store::txn`]; `TooMany` leases.
    async fn lease_grant(&self, ttl: Duration) -> Result<Lease, Error>;

    /// Gives a lease its full TTL again, and returns it.
    ///
    /// # Errors
    /// `LeaseNotFound` when it is gone: its keys are, too.
    async fn lease_keepalive(&self, id: LeaseId) -> Result<Duration, Error>;

    /// Ends a lease and deletes its keys in one revision.
    ///
    /// # Errors
    /// `LeaseNotFound`; as for [`Store::txn`].
    async fn lease_revoke(&self, id: LeaseId) -> Result<(), Error>;

    /// Forgets what only revisions below `before` need. `before` itself can still be read and
    /// watched from. Without effect when that is forgotten already.
    ///
    /// # Errors
    /// `FutureRevision`; as for [`Store::txn`].
    async fn compact(&self, before: Revision) -> Result<(), Error>;

    /// How the store is; answered from memory by the embedded stores.
    ///
    /// # Errors
    /// `Unavailable` when a remote store does not answer.
    async fn status(&self) -> Result<Status, Error>;
}

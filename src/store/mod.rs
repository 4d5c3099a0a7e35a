//! The store: the one place where the state of a cluster lives.
//!
//! Everything that must survive (services, task definitions, grants, node records) is a key in a
//! small multi-version key-value store with transactions, watches and leases, in the shape of
//! etcd's v3 API. [`Store`] is that shape as a trait; its documentation holds the ten rules that
//! every implementation shows and that the conformance suite (`tests/it/store.rs`) checks.
//!
//! | implementation | for |
//! |---|---|
//! | [`SqliteStore`] | a single node: state in memory, one SQLite file as its log |
//! | [`MemStore`] | tests and simulations: the reference model, forgets everything |
//!
//! Both are thin shells around one synchronous model (`mvcc` holds the state, `draft` decides what
//! a write does to it), so that their answers cannot differ.
//!
//! *Invariant:* a write is visible to readers and watchers only after it is durable, and it is
//! answered only after it is visible.
//!
//! *Invariant:* the model reads no clock and touches no file. Lease time is `tokio::time`, read in
//! `expiry` and nowhere else in this module.
//!
//! Start reading at [`Store`], then `draft`, then `sqlite::writer`.

mod traits;
mod types;

mod error;
mod limits;

mod draft;
mod live;
mod mvcc;
mod span;
mod watch;

mod expiry;
mod memory;
mod sqlite;

pub mod codec;
pub mod keys;

pub use error::{Error, Reason};
pub use limits::{
    HISTORY_BYTES_MAX, HISTORY_REVISIONS_MAX, KEY_BYTES_MAX, LEASE_KEYS_MAX, LEASE_TTL_MAX,
    LEASE_TTL_MIN, LEASES_MAX, TXN_BYTES_MAX, TXN_OPS_MAX, VALUE_BYTES_MAX, WATCH_BATCHES_MAX,
    WATCHERS_MAX,
};
pub use memory::MemStore;
pub use sqlite::{OpenError, SqliteOptions, SqliteStore};
pub use traits::Store;
pub use types::{
    Batch, Cond, Consistency, Event, EventKind, Kv, Lease, LeaseId, Op, OpResult, RangeReq,
    RangeResp, Revision, Span, Status, Txn, TxnResp,
};
pub use watch::WatchStream;

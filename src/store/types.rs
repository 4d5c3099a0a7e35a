//! The vocabulary of the store: revisions, keys with their history, transactions, events.
//!
//! *Invariant:* plain data. Nothing here knows which implementation it came from.

use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The number of a state of the store: one per committed transaction that changed something.
///
/// Strictly increasing and never used twice. [`Revision::ZERO`] is the empty store before its
/// first change, and stands for "no such key" in [`Cond::ModRev`] and [`Cond::CreateRev`].
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl Revision {
    /// The store before its first change.
    pub const ZERO: Self = Self(0);

    /// The revision after this one: where a watch resumes.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a lease, given by the store and never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeaseId(pub u64);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One key at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kv {
    /// The key.
    pub key: Bytes,
    /// The value; empty in a delete event.
    pub value: Bytes,
    /// The revision that created the key; zero in a delete event.
    pub create_rev: Revision,
    /// The revision of this version; in a delete event that of the delete.
    pub mod_rev: Revision,
    /// 1 for the creation, one more for each put since; zero in a delete event.
    pub version: u64,
    /// The lease with which the key goes away.
    pub lease: Option<LeaseId>,
}

/// A condition of a transaction, about the state before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cond {
    /// The key was last changed at `is`; zero means that it does not exist.
    ModRev {
        /// The key to compare.
        key: Bytes,
        /// What its `mod_rev` must be.
        is: Revision,
    },
    /// The key was created at `is`; zero means that it does not exist. This is how a leader
    /// fences its writes: the key is its leader key, `is` its term.
    CreateRev {
        /// The key to compare.
        key: Bytes,
        /// What its `create_rev` must be.
        is: Revision,
    },
    /// The key exists.
    Exists(Bytes),
    /// The key does not exist.
    Absent(Bytes),
}

impl Cond {
    /// The key that the condition is about.
    #[must_use]
    pub fn key(&self) -> &Bytes {
        match self {
            Self::ModRev { key, .. } | Self::CreateRev { key, .. } => key,
            Self::Exists(key) | Self::Absent(key) => key,
        }
    }
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Sets a key. Without a lease, a lease that held the key lets go of it.
    Put {
        /// The key.
        key: Bytes,
        /// Its new value.
        value: Bytes,
        /// The lease with which the key shall go away.
        lease: Option<LeaseId>,
    },
    /// Removes a key; without effect when it does not exist.
    Delete {
        /// The key.
        key: Bytes,
    },
    /// Reads what the transaction has made of the state so far.
    Get(RangeReq),
}

impl Op {
    /// A put without a lease.
    pub fn put(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self::Put { key: key.into(), value: value.into(), lease: None }
    }

    /// A put of a key that goes away with a lease.
    pub fn put_leased(key: impl Into<Bytes>, value: impl Into<Bytes>, lease: LeaseId) -> Self {
        Self::Put { key: key.into(), value: value.into(), lease: Some(lease) }
    }

    /// A delete.
    pub fn delete(key: impl Into<Bytes>) -> Self {
        Self::Delete { key: key.into() }
    }
}

/// A transaction: if every condition of `when` holds, `then`, else `otherwise`.
///
/// Inside one branch a key may be changed at most once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// The conditions; an empty list holds.
    pub when: Vec<Cond>,
    /// What to do when all of them hold, in order.
    pub then: Vec<Op>,
    /// What to do otherwise, in order.
    pub otherwise: Vec<Op>,
}

impl Txn {
    /// A transaction without conditions.
    #[must_use]
    pub fn of(then: Vec<Op>) -> Self {
        Self { then, ..Self::default() }
    }

    /// The same transaction with one more condition.
    #[must_use]
    pub fn when(mut self, cond: Cond) -> Self {
        self.when.push(cond);
        self
    }
}

/// What a transaction did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnResp {
    /// The transaction's own revision, or, when it changed nothing, the one that it saw.
    pub revision: Revision,
    /// Whether the conditions held, so that `then` ran.
    pub succeeded: bool,
    /// One result for each operation of the branch that ran, in order.
    pub results: Vec<OpResult>,
}

/// What one operation of a transaction did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpResult {
    /// The key was set.
    Put,
    /// Whether there was a key to delete.
    Deleted(bool),
    /// What was read. Its `revision` is that of the transaction, unless `at` was given.
    Got(RangeResp),
}

/// Which keys a read covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Span {
    /// One key.
    Key(Bytes),
    /// Every key that starts with these bytes; all keys when empty.
    Prefix(Bytes),
    /// From the first key, inclusive, to the second, exclusive.
    Between(Bytes, Bytes),
}

/// A read of keys in ascending order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeReq {
    /// Which keys.
    pub span: Span,
    /// At most how many; `None` is all of them.
    pub limit: Option<NonZeroUsize>,
    /// Only keys greater than this one: where the page before ended.
    pub after: Option<Bytes>,
    /// The state to read; `None` is the newest.
    pub at: Option<Revision>,
}

impl RangeReq {
    /// Reads one key.
    pub fn key(key: impl Into<Bytes>) -> Self {
        Self::over(Span::Key(key.into()))
    }

    /// Reads every key that starts with `prefix`.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        Self::over(Span::Prefix(prefix.into()))
    }

    /// Reads from `first`, inclusive, to `end`, exclusive.
    pub fn between(first: impl Into<Bytes>, end: impl Into<Bytes>) -> Self {
        Self::over(Span::Between(first.into(), end.into()))
    }

    /// The same read, of at most `limit` keys; zero lifts the limit.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = NonZeroUsize::new(limit);
        self
    }

    /// The same read, starting behind `key`.
    #[must_use]
    pub fn after(mut self, key: impl Into<Bytes>) -> Self {
        self.after = Some(key.into());
        self
    }

    /// The same read, of the state at `revision`.
    #[must_use]
    pub fn at(mut self, revision: Revision) -> Self {
        self.at = Some(revision);
        self
    }

    fn over(span: Span) -> Self {
        Self { span, limit: None, after: None, at: None }
    }
}

/// What a read found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeResp {
    /// The revision of the state that `kvs` shows. The next page reads `at` it; a watch that
    /// continues the list starts at [`Revision::next`].
    pub revision: Revision,
    /// The keys, ascending.
    pub kvs: Vec<Kv>,
    /// Whether the limit cut the answer short.
    pub more: bool,
}

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// Sees every write that was acknowledged before the read began.
    Linearizable,
    /// May be older, never older than this revision. Goes on when the store cannot write.
    Cached(Revision),
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It was created or changed.
    Put,
    /// It was deleted, by a transaction or with its lease.
    Delete,
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The key as it is now; of a deleted key only `key` and `mod_rev` mean something.
    pub kv: Kv,
    /// The key as it was, if it existed.
    pub prev: Option<Kv>,
}

/// All changes of one revision that a watch covers, in the order of the operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The revision.
    pub revision: Revision,
    /// Its changes; never empty.
    pub events: Vec<Event>,
}

/// A lease as granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its name.
    pub id: LeaseId,
    /// How long it lives without a keepalive; at least what was asked for, within
    /// [`LEASE_TTL_MIN`](super::LEASE_TTL_MIN) and [`LEASE_TTL_MAX`](super::LEASE_TTL_MAX).
    pub ttl_granted: Duration,
}

/// How the store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The newest revision.
    pub revision: Revision,
    /// The oldest revision that can still be read, and from which a watch can start.
    pub compacted: Revision,
    /// What the state occupies, in bytes: pages in use for SQLite, an estimate in memory.
    pub db_bytes: u64,
    /// At how many bytes puts are refused.
    pub quota_bytes: u64,
    /// Whether writes are expected to work.
    pub healthy: bool,
}

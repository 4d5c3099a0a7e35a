//! What can go wrong with a call to a store.

use super::types::Revision;

/// The outcome of a call that was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The write may have happened or not: a timeout, a lost connection, an I/O error while
    /// committing. Read back before sending anything again that is not idempotent.
    #[error("the outcome of the write is unknown: {0}")]
    Unknown(String),
    /// The call certainly changed nothing.
    #[error("not applied: {0}")]
    NotApplied(Reason),
    /// The revision was asked for too late. List again and watch from there.
    #[error("history before revision {min} was compacted")]
    Compacted {
        /// The oldest revision that is still there.
        min: Revision,
    },
    /// The watcher was too slow and was disconnected. Watch again from `resume`: nothing is lost
    /// unless that is compacted by then.
    #[error("the watcher fell behind; it can resume from revision {resume}")]
    Lagged {
        /// The first revision that was not delivered.
        resume: Revision,
    },
}

impl Error {
    /// Whether the same call may be sent again and has a chance without anybody doing anything.
    ///
    /// False for [`Error::Unknown`]: what happened must be read back first.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::NotApplied(Reason::Unavailable) | Self::Lagged { .. })
    }

    pub(crate) fn invalid(what: impl Into<String>) -> Self {
        Self::NotApplied(Reason::Invalid(what.into()))
    }
}

impl From<Reason> for Error {
    fn from(reason: Reason) -> Self {
        Self::NotApplied(reason)
    }
}

/// Why a call changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The store cannot answer at the moment.
    #[error("the store is unavailable")]
    Unavailable,
    /// The disk or the store's quota is full. Deletes and compaction may still work.
    #[error("the disk or the quota of the store is full")]
    QuotaFull,
    /// A key, a value or a transaction is over its limit in bytes.
    #[error("{what} has {bytes} bytes, more than the limit of {max}")]
    TooLarge {
        /// What is too large: `key`, `value` or `transaction`.
        what: &'static str,
        /// Its size, in bytes.
        bytes: usize,
        /// The limit, in bytes.
        max: usize,
    },
    /// A list of a transaction is too long.
    #[error("the transaction has {ops} operations in one list, more than the limit of {max}")]
    TooManyOps {
        /// How many there are.
        ops: usize,
        /// The limit.
        max: usize,
    },
    /// A lease holds too many keys, or there are too many leases.
    #[error("more than {max} {what}")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// One branch changes the same key twice.
    #[error("the transaction changes the key {0:?} twice")]
    DuplicateKey(String),
    /// The lease does not exist, or no more.
    #[error("the lease does not exist")]
    LeaseNotFound,
    /// A read of a revision that does not exist yet.
    #[error("the revision is in the future; the newest is {newest}")]
    FutureRevision {
        /// The newest revision.
        newest: Revision,
    },
    /// The call makes no sense: an empty key, a watch from revision zero.
    #[error("{0}")]
    Invalid(String),
    /// The store does not let this client do that.
    #[error("not authorised")]
    Unauthorized,
}

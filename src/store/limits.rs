//! The limits of the store, with their reasons, and the checks that all implementations share.
//!
//! *Invariant:* a request that these checks refuse reaches no implementation, so that all of them
//! refuse the same requests in the same words (rule 9).

use std::collections::HashSet;
use std::time::Duration;

use super::error::{Error, Reason};
use super::types::{Op, RangeReq, Revision, Span, Txn};

/// Bytes of a key. Wharf's keys are three short names; 1 KiB leaves room for long ones.
pub const KEY_BYTES_MAX: usize = 1024;

/// Bytes of a value. A large service definition has some 10 KiB; two values of this size still
/// fit one transaction.
pub const VALUE_BYTES_MAX: usize = 512 * 1024;

/// Bytes of all keys and values of a transaction. etcd refuses requests of 1.5 MiB.
pub const TXN_BYTES_MAX: usize = 1024 * 1024;

/// Entries of each list of a transaction. etcd's default limit is 128.
pub const TXN_OPS_MAX: usize = 100;

/// Revisions of history that an embedded store keeps before it compacts by itself: minutes of
/// hectic work for a watcher that reconnects, and a bound for memory and disk.
pub const HISTORY_REVISIONS_MAX: usize = 10_000;

/// Bytes of keys and values in the history that an embedded store keeps, because 10 000 revisions
/// of 1 MiB would be 10 GiB. At least one revision is always kept.
pub const HISTORY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Batches that wait for a slow watcher before it is disconnected: a second of the fastest writer
/// on a good disk.
pub const WATCH_BATCHES_MAX: usize = 1024;

/// Watches of an embedded store: each is looked at for every write. Wharf has a handful of its own
/// and one for each client that follows something.
pub const WATCHERS_MAX: usize = 4096;

/// The shortest lease. etcd cannot do less than 1.5 election timeouts, and a holder should survive
/// one lost keepalive.
pub const LEASE_TTL_MIN: Duration = Duration::from_secs(5);

/// The longest lease. What shall live longer than a day without a sign of life needs no lease.
pub const LEASE_TTL_MAX: Duration = Duration::from_secs(24 * 3600);

/// Leases of an embedded store. Wharf needs one for each server and a few for jobs.
pub const LEASES_MAX: usize = 10_000;

/// Keys of one lease in an embedded store: its expiry is one transaction and one batch.
pub const LEASE_KEYS_MAX: usize = 100_000;

/// What a lease of `asked` is granted: whole seconds within the limits, not less than asked for
/// unless that is over [`LEASE_TTL_MAX`].
pub(crate) fn lease_ttl(asked: Duration) -> Duration {
    let clamped = asked.clamp(LEASE_TTL_MIN, LEASE_TTL_MAX);
    let fraction = u64::from(clamped.subsec_nanos() > 0);
    Duration::from_secs(clamped.as_secs() + fraction)
}

/// Checks the sizes of a transaction and that no branch changes a key twice.
pub(crate) fn check_txn(txn: &Txn) -> Result<(), Error> {
    for ops in [txn.when.len(), txn.then.len(), txn.otherwise.len()] {
        if ops > TXN_OPS_MAX {
            return Err(Reason::TooManyOps { ops, max: TXN_OPS_MAX }.into());
        }
    }
    let mut bytes = 0;
    for cond in &txn.when {
        check_key(cond.key())?;
        bytes += cond.key().len();
    }
    bytes += check_branch(&txn.then)? + check_branch(&txn.otherwise)?;
    at_most("transaction", bytes, TXN_BYTES_MAX)
}

/// Checks the keys of a read.
pub(crate) fn check_range(req: &RangeReq) -> Result<(), Error> {
    match &req.span {
        Span::Key(key) => check_key(key)?,
        Span::Prefix(prefix) => at_most("key", prefix.len(), KEY_BYTES_MAX)?,
        Span::Between(first, end) => {
            at_most("key", first.len(), KEY_BYTES_MAX)?;
            at_most("key", end.len(), KEY_BYTES_MAX)?;
        }
    }
    at_most("key", req.after.as_ref().map_or(0, |key| key.len()), KEY_BYTES_MAX)
}

/// Checks where a watch shall start.
pub(crate) fn check_watch(prefix: &[u8], from: Revision) -> Result<(), Error> {
    if from == Revision::ZERO {
        return Err(Error::invalid("a watch starts at revision 1 or later"));
    }
    at_most("key", prefix.len(), KEY_BYTES_MAX)
}

/// Returns the bytes of the branch.
fn check_branch(ops: &[Op]) -> Result<usize, Error> {
    let mut bytes = 0;
    let mut changed = HashSet::with_capacity(ops.len());
    for op in ops {
        let key = match op {
            Op::Get(req) => {
                check_range(req)?;
                continue;
            }
            Op::Delete { key } => key,
            Op::Put { key, value, .. } => {
                at_most("value", value.len(), VALUE_BYTES_MAX)?;
                bytes += value.len();
                key
            }
        };
        check_key(key)?;
        bytes += key.len();
        if !changed.insert(key) {
            return Err(Reason::DuplicateKey(String::from_utf8_lossy(key).into_owned()).into());
        }
    }
    Ok(bytes)
}

fn check_key(key: &[u8]) -> Result<(), Error> {
    if key.is_empty() {
        return Err(Error::invalid("a key has at least one byte"));
    }
    at_most("key", key.len(), KEY_BYTES_MAX)
}

fn at_most(what: &'static str, bytes: usize, max: usize) -> Result<(), Error> {
    if bytes > max { Err(Reason::TooLarge { what, bytes, max }.into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ttl_is_whole_seconds_within_the_limits() {
        assert_eq!(lease_ttl(Duration::ZERO), LEASE_TTL_MIN);
        assert_eq!(lease_ttl(Duration::from_millis(5001)), Duration::from_secs(6));
        assert_eq!(lease_ttl(Duration::MAX), LEASE_TTL_MAX);
    }

    #[test]
    fn the_limits_are_inclusive() {
        let put = |key: usize, value: usize| Txn::of(vec![Op::put(vec![7; key], vec![0; value])]);
        assert_eq!(check_txn(&put(KEY_BYTES_MAX, VALUE_BYTES_MAX)), Ok(()));
        assert!(check_txn(&put(KEY_BYTES_MAX + 1, 0)).is_err());
        assert!(check_txn(&put(1, VALUE_BYTES_MAX + 1)).is_err());
        assert!(check_txn(&put(0, 0)).is_err());
    }
}

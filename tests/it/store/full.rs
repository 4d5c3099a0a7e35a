//! Rule 10: a full disk, and a full quota.

use wharf::store::{
    Consistency, MemStore, RangeReq, Reason, Revision, SqliteOptions, SqliteStore, Store, Txn,
};
use wharf::store::{Error, Op};

use super::harness::{delete, get, keys, next, put, range, refusal, revision, sqlite, watch};
use crate::support::SmallDisk;

/// Bytes of a value; a full disk is reached after some ten of them.
const VALUE_BYTES: usize = 200 * 1024;

/// Puts that are tried before the disk is said to be endless.
const PUTS_MAX: usize = 1000;

#[tokio::test]
async fn a_full_disk_refuses_writes_and_recovers() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let Some(disk) = SmallDisk::mount(dir.path(), "8m") else { return };
    disk.fill_up_to(5 << 20);
    let options = SqliteOptions::new(dir.path().join("store.db"));
    let store = SqliteStore::open(options.clone()).await.expect("the store opens");
    let mut stream = watch(&store, "", Revision(1)).await;

    let acked = fill(&store).await;
    let newest = revision(&store).await;
    assert_eq!(refusal(store.txn(big_put("again")).await), Reason::QuotaFull);
    assert!(!store.status().await.expect("a status").healthy);
    assert_eq!(range(&store, RangeReq::prefix("")).await.len(), acked, "reads go on");
    for _ in 0..acked {
        next(&mut stream).await;
    }

    disk.make_room();
    let after = put(&store, "after", "x").await;
    assert_eq!(after, newest.next(), "what was refused used no revision");
    assert_eq!(next(&mut stream).await.revision, after);
    assert!(store.status().await.expect("a status").healthy);

    drop((store, stream));
    let store = SqliteStore::open(options).await.expect("the store opens again");
    assert_eq!(range(&store, RangeReq::prefix("")).await.len(), acked + 1);
    drop((store, disk));
}

#[tokio::test]
async fn a_full_sqlite_quota_refuses_puts_only() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut options = SqliteOptions::new(dir.path().join("store.db"));
    options.quota_bytes = 2 * 1024 * 1024;
    quota(&SqliteStore::open(options).await.expect("the store opens")).await;
}

#[tokio::test]
async fn a_full_memory_quota_refuses_puts_only() {
    quota(&MemStore::with_quota(2 * 1024 * 1024)).await;
}

#[tokio::test]
async fn somebody_with_a_lock_makes_it_unavailable_for_a_while() {
    let (store, dir) = sqlite().await;
    put(&store, "a", "1").await;
    let path = super::harness::options(&dir).path;
    let other = rusqlite::Connection::open(path).expect("a shell");
    other.execute_batch("BEGIN IMMEDIATE").expect("the write lock");
    let refused = store.txn(Txn::of(vec![Op::put("b", "1")])).await;
    assert_eq!(refused, Err(Error::NotApplied(Reason::Unavailable)));
    assert_eq!(keys(&range(&store, RangeReq::prefix("")).await), ["a"]);
    other.execute_batch("ROLLBACK").expect("the lock is free");
    put(&store, "b", "1").await;
}

async fn quota(store: &dyn Store) {
    let acked = fill(store).await;
    assert!(acked > 2);
    assert_eq!(refusal(store.lease_grant(Default::default()).await), Reason::QuotaFull);
    let read = store.range(RangeReq::prefix(""), Consistency::Linearizable).await;
    assert_eq!(read.expect("reads go on").kvs.len(), acked);
    for n in 0..acked {
        delete(store, &format!("k{n}")).await;
    }
    store.compact(revision(store).await).await.expect("compacts");
    put(store, "after", "x").await;
    assert!(get(store, "after").await.is_some());
}

/// Puts until it is refused; returns how many were acknowledged.
async fn fill(store: &dyn Store) -> usize {
    for n in 0..PUTS_MAX {
        match store.txn(big_put(&format!("k{n}"))).await {
            Ok(_) => {}
            Err(Error::NotApplied(Reason::QuotaFull)) => return n,
            Err(other) => panic!("unexpected: {other:?}"),
        }
    }
    panic!("the disk never gets full");
}

fn big_put(key: &str) -> Txn {
    Txn::of(vec![Op::put(key.to_owned(), vec![7; VALUE_BYTES])])
}

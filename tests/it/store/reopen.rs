//! Rules 6 and 8 over a restart of the embedded store.

use wharf::store::{
    Batch, Consistency, Error, HISTORY_REVISIONS_MAX, LEASE_TTL_MIN, Op, RangeReq, Revision, Store,
};

use super::harness::{delete, get, gone, next, open, put, range, revision, sqlite, txn, watch};

#[tokio::test]
async fn everything_is_there_again() {
    let (store, dir) = sqlite().await;
    let first = put(&store, "a", "1").await;
    put(&store, "a", "2").await;
    put(&store, "b", "1").await;
    delete(&store, "b").await;
    txn(&store, vec![Op::put("c", "1"), Op::put("a", "3")]).await;
    let before = dump(&store).await;
    let past = RangeReq::prefix("").at(first);
    let past_before = range(&store, past.clone()).await;
    drop(store);
    let store = open(&dir).await;
    assert_eq!(dump(&store).await, before);
    assert_eq!(range(&store, past).await, past_before);
    let newest = before.last().expect("batches").revision;
    assert_eq!(put(&store, "d", "1").await, newest.next());
}

#[tokio::test]
async fn revisions_go_on_after_everything_was_deleted_and_compacted() {
    let (store, dir) = sqlite().await;
    put(&store, "a", "1").await;
    let deleted = delete(&store, "a").await;
    store.compact(deleted).await.expect("compacts");
    let lease = store.lease_grant(LEASE_TTL_MIN).await.expect("a lease").id;
    store.lease_revoke(lease).await.expect("revoked");
    drop(store);
    let store = open(&dir).await;
    assert_eq!(revision(&store).await, deleted);
    let early = store.range(RangeReq::prefix("").at(Revision(1)), Consistency::Linearizable).await;
    assert_eq!(early, Err(Error::Compacted { min: deleted }), "compaction is durable");
    assert_eq!(put(&store, "a", "1").await, deleted.next());
    let again = store.lease_grant(LEASE_TTL_MIN).await.expect("a lease").id;
    assert!(again > lease, "lease ids are not used again");
}

#[tokio::test]
async fn automatic_compaction_shrinks_the_log() {
    let (store, dir) = sqlite().await;
    let writes = HISTORY_REVISIONS_MAX as u64 + 2000;
    let writing = (0..writes).map(|_| put(&store, "a", "x"));
    futures_util::future::join_all(writing).await;
    drop(store);
    let conn = rusqlite::Connection::open(dir.path().join("store.db")).expect("a database");
    let rows: i64 =
        conn.query_row("SELECT count(*) FROM log", [], |row| row.get(0)).expect("a count");
    drop(conn);
    // The versions that the last group made superfluous go with the next write.
    assert!(rows <= HISTORY_REVISIONS_MAX as i64 + 300, "{rows} rows");
    let store = open(&dir).await;
    assert_eq!(get(&store, "a").await.map(|kv| kv.version), Some(writes));
}

#[tokio::test]
async fn a_restart_extends_leases_and_forgets_none() {
    let (store, dir) = sqlite().await;
    let lease = store.lease_grant(LEASE_TTL_MIN).await.expect("a lease").id;
    txn(&store, vec![Op::put_leased("a", "1", lease)]).await;
    drop(store);
    let store = open(&dir).await;
    assert_eq!(get(&store, "a").await.and_then(|kv| kv.lease), Some(lease));
    assert_eq!(store.lease_keepalive(lease).await, Ok(LEASE_TTL_MIN));
    gone(&store, "a").await;
}

#[tokio::test]
async fn closing_ends_watches() {
    let (store, _dir) = sqlite().await;
    let mut stream = watch(&store, "", Revision(1)).await;
    put(&store, "a", "1").await;
    drop(store);
    assert_eq!(next(&mut stream).await.events.len(), 1);
    assert_eq!(stream.next().await, Ok(None));
}

/// The whole history of a store.
pub(super) async fn dump(store: &dyn Store) -> Vec<Batch> {
    let status = store.status().await.expect("a status");
    let from = status.compacted.max(Revision(1));
    let mut stream = watch(store, "", from).await;
    let mut batches = Vec::new();
    for _ in from.0..=status.revision.0 {
        batches.push(next(&mut stream).await);
    }
    batches
}

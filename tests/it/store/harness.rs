//! What the cases share: stores to test, and short ways to use one.

use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use wharf::store::{
    Batch, Consistency, Error, Kv, MemStore, Op, RangeReq, Reason, Revision, SqliteOptions,
    SqliteStore, Store, Txn, TxnResp, WatchStream,
};

/// How long to wait for what must happen, before a test gives up. Not a promise of speed.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn memory() -> (MemStore, ()) {
    (MemStore::new(), ())
}

pub(super) async fn sqlite() -> (SqliteStore, TempDir) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    (open(&dir).await, dir)
}

pub(super) fn options(dir: &TempDir) -> SqliteOptions {
    SqliteOptions::new(dir.path().join("store.db"))
}

pub(super) async fn open(dir: &TempDir) -> SqliteStore {
    SqliteStore::open(options(dir)).await.expect("the store opens")
}

pub(super) async fn txn(store: &dyn Store, ops: Vec<Op>) -> TxnResp {
    store.txn(Txn::of(ops)).await.expect("the transaction is accepted")
}

pub(super) async fn put(store: &dyn Store, key: &str, value: &str) -> Revision {
    txn(store, vec![Op::put(key.to_owned(), value.to_owned())]).await.revision
}

pub(super) async fn delete(store: &dyn Store, key: &str) -> Revision {
    txn(store, vec![Op::delete(key.to_owned())]).await.revision
}

pub(super) async fn range(store: &dyn Store, req: RangeReq) -> Vec<Kv> {
    let read = store.range(req, Consistency::Linearizable).await;
    read.expect("the range can be read").kvs
}

pub(super) async fn get(store: &dyn Store, key: &str) -> Option<Kv> {
    range(store, RangeReq::key(key.to_owned())).await.pop()
}

pub(super) async fn revision(store: &dyn Store) -> Revision {
    store.status().await.expect("a status").revision
}

pub(super) async fn watch(store: &dyn Store, prefix: &str, from: Revision) -> WatchStream {
    let prefix = Bytes::from(prefix.to_owned());
    store.watch(prefix, from).await.expect("the watch starts")
}

pub(super) async fn next(stream: &mut WatchStream) -> Batch {
    let next = tokio::time::timeout(PATIENCE, stream.next()).await;
    next.expect("a batch in time").expect("no error").expect("an open watch")
}

pub(super) fn keys(kvs: &[Kv]) -> Vec<String> {
    kvs.iter().map(|kv| text(&kv.key)).collect()
}

pub(super) fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The reason of a refusal.
pub(super) fn refusal<T: std::fmt::Debug>(result: Result<T, Error>) -> Reason {
    match result {
        Err(Error::NotApplied(reason)) => reason,
        other => panic!("not a refusal: {other:?}"),
    }
}

/// Waits until a key is gone.
pub(super) async fn gone(store: &dyn Store, key: &str) {
    let wait = async {
        while get(store, key).await.is_some() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("the key goes away in time");
}

//! Rule 7, and reads of the past: ranges, pages, consistency, compaction.

use wharf::store::{Consistency, Error, RangeReq, Reason, Revision, Store};

use super::harness::{delete, get, keys, put, range, refusal, revision, text};

pub(super) async fn keys_come_in_order_within_the_span(store: &dyn Store) {
    for key in ["b", "a/2", "a", "a/1", "a0", "c"] {
        put(store, key, "").await;
    }
    let read = async |req| keys(&range(store, req).await);
    assert_eq!(read(RangeReq::prefix("")).await, ["a", "a/1", "a/2", "a0", "b", "c"]);
    assert_eq!(read(RangeReq::prefix("a/")).await, ["a/1", "a/2"]);
    assert_eq!(read(RangeReq::between("a/1", "b")).await, ["a/1", "a/2", "a0"]);
    assert_eq!(read(RangeReq::key("a")).await, ["a"]);
    assert!(read(RangeReq::key("d")).await.is_empty());
    assert!(read(RangeReq::between("c", "b")).await.is_empty());
    assert!(read(RangeReq::between("b", "b")).await.is_empty());
}

pub(super) async fn pages_cover_everything_once(store: &dyn Store) {
    let all: Vec<String> = (0..25).map(|n| format!("k/{n:02}")).collect();
    for key in &all {
        put(store, key, "").await;
    }
    let mut seen = Vec::new();
    let mut req = RangeReq::prefix("k/").limit(10);
    loop {
        let page = store.range(req.clone(), Consistency::Linearizable).await.expect("a page");
        seen.extend(keys(&page.kvs));
        // What happens between the pages does not concern a list at one revision.
        put(store, "k/000", "").await;
        if !page.more {
            break;
        }
        let last = page.kvs.last().expect("a page that has more is not empty");
        req = req.after(last.key.clone()).at(page.revision);
    }
    assert_eq!(seen, all);
    let exact = RangeReq::prefix("k/").after("k/14").limit(10);
    let exact = store.range(exact, Consistency::Linearizable).await.expect("a page");
    assert_eq!((exact.kvs.len(), exact.more), (10, false));
}

pub(super) async fn the_past_can_be_read(store: &dyn Store) {
    let first = put(store, "a", "1").await;
    let second = put(store, "a", "2").await;
    let third = delete(store, "a").await;
    let fourth = put(store, "a", "4").await;
    let at = async |revision| {
        let read = store.range(RangeReq::key("a").at(revision), Consistency::Linearizable).await;
        let read = read.expect("readable");
        assert_eq!(read.revision, revision);
        read.kvs.first().map(|kv| text(&kv.value))
    };
    assert_eq!(at(first).await.as_deref(), Some("1"));
    assert_eq!(at(second).await.as_deref(), Some("2"));
    assert_eq!(at(third).await, None);
    assert_eq!(at(fourth).await.as_deref(), Some("4"));
}

pub(super) async fn the_future_cannot_be_read(store: &dyn Store) {
    let newest = put(store, "a", "1").await;
    let read = store.range(RangeReq::key("a").at(newest.next()), Consistency::Linearizable).await;
    assert_eq!(refusal(read), Reason::FutureRevision { newest });
}

pub(super) async fn a_compacted_past_is_refused(store: &dyn Store) {
    let first = put(store, "a", "1").await;
    let second = put(store, "a", "2").await;
    put(store, "a", "3").await;
    store.compact(second).await.expect("compacts");
    let read = |at| store.range(RangeReq::key("a").at(at), Consistency::Linearizable);
    assert_eq!(read(first).await, Err(Error::Compacted { min: second }));
    assert_eq!(text(&read(second).await.expect("still there").kvs[0].value), "2");
    assert_eq!(store.status().await.expect("a status").compacted, second);
    store.compact(first).await.expect("has no effect");
    assert_eq!(store.status().await.expect("a status").compacted, second);
}

pub(super) async fn compaction_keeps_what_lives(store: &dyn Store) {
    put(store, "kept", "1").await;
    put(store, "deleted", "1").await;
    delete(store, "deleted").await;
    put(store, "changed", "1").await;
    put(store, "changed", "2").await;
    let newest = put(store, "last", "1").await;
    let before = range(store, RangeReq::prefix("")).await;
    store.compact(newest).await.expect("compacts");
    assert_eq!(range(store, RangeReq::prefix("")).await, before);
    assert_eq!(get(store, "deleted").await, None);
    put(store, "deleted", "again").await;
    assert_eq!(get(store, "deleted").await.map(|kv| kv.version), Some(1));
}

pub(super) async fn compaction_of_the_future_is_refused(store: &dyn Store) {
    let newest = put(store, "a", "1").await;
    let reason = refusal(store.compact(newest.next()).await);
    assert_eq!(reason, Reason::FutureRevision { newest });
}

pub(super) async fn a_cached_read_is_never_older_than_asked(store: &dyn Store) {
    let newest = put(store, "a", "1").await;
    let read = |min| store.range(RangeReq::key("a"), Consistency::Cached(min));
    let answer = read(newest).await.expect("the store has seen it");
    assert!(answer.revision >= newest);
    assert_eq!(text(&answer.kvs[0].value), "1");
    assert!(read(Revision::ZERO).await.is_ok());
    assert!(read(Revision(newest.0 + 1000)).await.is_err());
}

pub(super) async fn a_linearizable_read_sees_acknowledged_writes(store: &dyn Store) {
    for n in 0..50 {
        let put = put(store, "a", &n.to_string()).await;
        let kv = get(store, "a").await.expect("there");
        assert_eq!((text(&kv.value), kv.mod_rev), (n.to_string(), put));
        assert!(revision(store).await >= put);
    }
}

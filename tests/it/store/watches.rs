//! Rules 4 and 5: watches.

use bytes::Bytes;
use futures_util::future::join_all;
use wharf::store::{
    Error, EventKind, HISTORY_REVISIONS_MAX, Op, Reason, Revision, Store, WATCH_BATCHES_MAX,
};

use super::harness::{delete, next, put, refusal, revision, text, txn, watch};

pub(super) async fn one_batch_for_each_revision_in_order(store: &dyn Store) {
    let mut stream = watch(store, "", revision(store).await.next()).await;
    let first = put(store, "z", "1").await;
    let ops = vec![Op::put("b", "1"), Op::delete("z"), Op::put("a", "1")];
    let second = txn(store, ops).await.revision;
    let batch = next(&mut stream).await;
    assert_eq!((batch.revision, batch.events.len()), (first, 1));
    let batch = next(&mut stream).await;
    assert_eq!(batch.revision, second);
    let order: Vec<String> = batch.events.iter().map(|event| text(&event.kv.key)).collect();
    assert_eq!(order, ["b", "z", "a"], "the order of the operations");
    assert!(batch.events.iter().all(|event| event.kv.mod_rev == second));
}

pub(super) async fn history_then_news_without_gap_or_duplicate(store: &dyn Store) {
    const WRITES: u64 = 200;
    let first = revision(store).await.next();
    let write = async |n: u64| put(store, &format!("k{n}"), "").await;
    let watched = async {
        // Start somewhere in the middle of the writes.
        while revision(store).await < Revision(first.0 + WRITES / 4) {
            tokio::task::yield_now().await;
        }
        let mut stream = watch(store, "k", first).await;
        let mut revisions = Vec::new();
        while revisions.len() < WRITES as usize {
            revisions.push(next(&mut stream).await.revision.0);
        }
        revisions
    };
    let (_, revisions) = tokio::join!(join_all((0..WRITES).map(write)), watched);
    assert_eq!(revisions, (first.0..first.0 + WRITES).collect::<Vec<_>>());
}

pub(super) async fn only_the_prefix(store: &dyn Store) {
    let from = revision(store).await.next();
    let mut stream = watch(store, "a/", from).await;
    put(store, "a", "").await;
    put(store, "a0", "").await;
    let both = txn(store, vec![Op::put("b", ""), Op::put("a/1", "")]).await.revision;
    let batch = next(&mut stream).await;
    assert_eq!((batch.revision, batch.events.len()), (both, 1));
    assert_eq!(text(&batch.events[0].kv.key), "a/1");
    let mut late = watch(store, "a/", from).await;
    assert_eq!(next(&mut late).await, batch, "history says the same");
}

pub(super) async fn a_delete_carries_key_revision_and_previous_value(store: &dyn Store) {
    let mut stream = watch(store, "", revision(store).await.next()).await;
    let created = put(store, "a", "1").await;
    let deleted = delete(store, "a").await;
    let batch = next(&mut stream).await;
    assert_eq!(batch.events[0].kind, EventKind::Put);
    assert_eq!(batch.events[0].prev, None);
    let event = next(&mut stream).await.events.remove(0);
    assert_eq!(event.kind, EventKind::Delete);
    assert_eq!((text(&event.kv.key), event.kv.mod_rev), ("a".into(), deleted));
    assert!(event.kv.value.is_empty());
    let prev = event.prev.expect("what it was");
    assert_eq!((text(&prev.value), prev.mod_rev), ("1".into(), created));
}

pub(super) async fn the_future_starts_exactly_there(store: &dyn Store) {
    let now = revision(store).await;
    let mut stream = watch(store, "", Revision(now.0 + 3)).await;
    for key in ["a", "b", "c"] {
        put(store, key, "").await;
    }
    let batch = next(&mut stream).await;
    assert_eq!(batch.revision, Revision(now.0 + 3));
    assert_eq!(text(&batch.events[0].kv.key), "c");
}

pub(super) async fn a_compacted_start_is_refused(store: &dyn Store) {
    let first = put(store, "a", "1").await;
    let second = delete(store, "a").await;
    put(store, "b", "1").await;
    store.compact(second).await.expect("compacts");
    let refused = store.watch(Bytes::new(), first).await.err();
    assert_eq!(refused, Some(Error::Compacted { min: second }));
    let mut stream = watch(store, "", second).await;
    let batch = next(&mut stream).await;
    assert_eq!((batch.revision, batch.events[0].kind), (second, EventKind::Delete));
}

pub(super) async fn revision_zero_is_refused(store: &dyn Store) {
    let refused = store.watch(Bytes::new(), Revision::ZERO).await;
    assert!(matches!(refusal(refused), Reason::Invalid(_)));
}

pub(super) async fn a_slow_watcher_lags_and_resumes(store: &dyn Store) {
    let first = revision(store).await.next();
    let mut slow = watch(store, "", first).await;
    let writes = WATCH_BATCHES_MAX as u64 + 100;
    join_all((0..writes).map(|n| async move { put(store, &format!("k{n}"), "").await })).await;
    let mut seen = Vec::new();
    let resume = loop {
        match slow.next().await {
            Ok(Some(batch)) => seen.push(batch.revision.0),
            Ok(None) => panic!("the watch ended without saying why"),
            Err(Error::Lagged { resume }) => break resume,
            Err(other) => panic!("unexpected: {other}"),
        }
    };
    assert_eq!(slow.next().await, Ok(None));
    assert!(seen.len() >= WATCH_BATCHES_MAX, "what was buffered is delivered");
    let mut again = watch(store, "", resume).await;
    while seen.len() < writes as usize {
        seen.push(next(&mut again).await.revision.0);
    }
    assert_eq!(seen, (first.0..first.0 + writes).collect::<Vec<_>>());
}

pub(super) async fn a_dropped_watcher_is_forgotten(store: &dyn Store) {
    for _ in 0..5000 {
        drop(watch(store, "", Revision(1)).await);
    }
    let mut stream = watch(store, "", revision(store).await.next()).await;
    let put = put(store, "a", "").await;
    assert_eq!(next(&mut stream).await.revision, put);
}

pub(super) async fn history_is_bounded(store: &dyn Store) {
    let first = put(store, "first", "1").await;
    let writes = HISTORY_REVISIONS_MAX + 500;
    join_all((0..writes).map(|n| async move { put(store, &format!("k{}", n % 50), "").await }))
        .await;
    let status = store.status().await.expect("a status");
    let kept = status.revision.0 - status.compacted.0 + 1;
    assert_eq!(kept, HISTORY_REVISIONS_MAX as u64);
    let refused = store.watch(Bytes::new(), first).await.err();
    assert_eq!(refused, Some(Error::Compacted { min: status.compacted }));
    assert_eq!(super::harness::get(store, "first").await.map(|kv| kv.mod_rev), Some(first));
}

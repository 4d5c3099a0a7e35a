//! Rule 6: leases.

use std::time::Duration;

use wharf::store::{EventKind, LEASE_TTL_MIN, LeaseId, Op, Reason, Store, Txn};

use super::harness::{get, gone, next, put, refusal, revision, text, txn, watch};

pub(super) async fn revoke_deletes_all_keys_in_one_revision(store: &dyn Store) {
    let lease = store.lease_grant(LEASE_TTL_MIN).await.expect("a lease").id;
    let ops = vec![Op::put_leased("b", "", lease), Op::put_leased("a", "", lease)];
    txn(store, ops).await;
    let before = put(store, "other", "").await;
    let mut stream = watch(store, "", before.next()).await;
    store.lease_revoke(lease).await.expect("revoked");
    let batch = next(&mut stream).await;
    assert_eq!(batch.revision, before.next());
    let deleted: Vec<String> = batch.events.iter().map(|event| text(&event.kv.key)).collect();
    assert_eq!(deleted, ["a", "b"]);
    assert!(batch.events.iter().all(|event| event.kind == EventKind::Delete));
    assert!(get(store, "other").await.is_some());
    assert_eq!(refusal(store.lease_keepalive(lease).await), Reason::LeaseNotFound);
    assert_eq!(refusal(store.lease_revoke(lease).await), Reason::LeaseNotFound);
}

pub(super) async fn expiry_deletes_all_keys_in_one_revision(store: &dyn Store) {
    let lease = store.lease_grant(Duration::from_secs(1)).await.expect("a lease").id;
    let mut before = revision(store).await;
    for key in ["a", "b", "c", "d", "e"] {
        before = txn(store, vec![Op::put_leased(key, "", lease)]).await.revision;
    }
    let mut stream = watch(store, "", before.next()).await;
    let batch = next(&mut stream).await;
    assert_eq!((batch.revision, batch.events.len()), (before.next(), 5));
    assert_eq!(refusal(store.lease_keepalive(lease).await), Reason::LeaseNotFound);
    let late = Txn::of(vec![Op::put_leased("a", "", lease)]);
    assert_eq!(refusal(store.txn(late).await), Reason::LeaseNotFound);
}

pub(super) async fn a_keepalive_prolongs(store: &dyn Store) {
    let kept = store.lease_grant(LEASE_TTL_MIN).await.expect("a lease").id;
    txn(store, vec![Op::put_leased("kept", "", kept)]).await;
    let left = store.lease_grant(LEASE_TTL_MIN).await.expect("a lease").id;
    txn(store, vec![Op::put_leased("left", "", left)]).await;
    while get(store, "left").await.is_some() {
        assert_eq!(store.lease_keepalive(kept).await, Ok(LEASE_TTL_MIN));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(get(store, "kept").await.is_some());
    gone(store, "kept").await;
}

pub(super) async fn a_put_without_the_lease_detaches(store: &dyn Store) {
    let one = store.lease_grant(LEASE_TTL_MIN).await.expect("a lease").id;
    let two = store.lease_grant(LEASE_TTL_MIN).await.expect("a lease").id;
    for key in ["stays", "moves", "goes"] {
        txn(store, vec![Op::put_leased(key, "", one)]).await;
    }
    put(store, "stays", "").await;
    txn(store, vec![Op::put_leased("moves", "", two)]).await;
    assert_eq!(get(store, "stays").await.and_then(|kv| kv.lease), None);
    assert_eq!(get(store, "moves").await.and_then(|kv| kv.lease), Some(two));
    store.lease_revoke(one).await.expect("revoked");
    assert!(get(store, "stays").await.is_some());
    assert!(get(store, "moves").await.is_some());
    assert!(get(store, "goes").await.is_none());
    store.lease_revoke(two).await.expect("revoked");
    assert!(get(store, "moves").await.is_none());
}

pub(super) async fn an_unknown_lease_is_refused(store: &dyn Store) {
    let unknown = LeaseId(987_654_321);
    let before = revision(store).await;
    let txn = Txn::of(vec![Op::put("a", ""), Op::put_leased("b", "", unknown)]);
    assert_eq!(refusal(store.txn(txn).await), Reason::LeaseNotFound);
    assert_eq!(get(store, "a").await, None, "nothing of it happened");
    assert_eq!(revision(store).await, before);
    assert_eq!(refusal(store.lease_keepalive(unknown).await), Reason::LeaseNotFound);
    assert_eq!(refusal(store.lease_revoke(unknown).await), Reason::LeaseNotFound);
}

pub(super) async fn a_ttl_is_at_least_the_minimum(store: &dyn Store) {
    let short = store.lease_grant(Duration::ZERO).await.expect("a lease");
    assert_eq!(short.ttl_granted, LEASE_TTL_MIN);
    let long = store.lease_grant(Duration::from_millis(7001)).await.expect("a lease");
    assert_eq!(long.ttl_granted, Duration::from_secs(8));
    assert_eq!(store.lease_keepalive(long.id).await, Ok(Duration::from_secs(8)));
}

pub(super) async fn ids_are_never_used_twice(store: &dyn Store) {
    let first = store.lease_grant(LEASE_TTL_MIN).await.expect("a lease").id;
    store.lease_revoke(first).await.expect("revoked");
    let second = store.lease_grant(LEASE_TTL_MIN).await.expect("a lease").id;
    assert_ne!(first, second);
}

pub(super) async fn a_lease_without_keys_uses_no_revision(store: &dyn Store) {
    let before = put(store, "a", "").await;
    let lease = store.lease_grant(LEASE_TTL_MIN).await.expect("a lease").id;
    store.lease_revoke(lease).await.expect("revoked");
    assert_eq!(revision(store).await, before);
}

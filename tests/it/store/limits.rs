//! Rule 9: limits.

use wharf::store::{
    KEY_BYTES_MAX, Op, RangeReq, Reason, Store, TXN_BYTES_MAX, TXN_OPS_MAX, Txn, VALUE_BYTES_MAX,
};

use super::harness::{range, refusal, revision, txn};

pub(super) async fn largest_key_and_value_are_accepted(store: &dyn Store) {
    let (key, value) = (vec![b'k'; KEY_BYTES_MAX], vec![7; VALUE_BYTES_MAX]);
    txn(store, vec![Op::put(key.clone(), value.clone())]).await;
    let read = range(store, RangeReq::key(key)).await;
    assert_eq!(read[0].value, value);
    let ops = (0..TXN_OPS_MAX).map(|n| Op::put(format!("k{n}"), "")).collect();
    assert_eq!(txn(store, ops).await.results.len(), TXN_OPS_MAX);
}

pub(super) async fn over_the_limit_is_refused(store: &dyn Store) {
    let before = revision(store).await;
    let refused = async |ops| refusal(store.txn(Txn::of(ops)).await);
    let key = refused(vec![Op::put(vec![b'k'; KEY_BYTES_MAX + 1], "")]).await;
    assert!(matches!(key, Reason::TooLarge { what: "key", .. }), "{key}");
    let value = refused(vec![Op::put("k", vec![0; VALUE_BYTES_MAX + 1])]).await;
    assert!(matches!(value, Reason::TooLarge { what: "value", .. }), "{value}");
    let big = |n: usize| Op::put(format!("k{n}"), vec![0; VALUE_BYTES_MAX]);
    let total = refused((0..TXN_BYTES_MAX / VALUE_BYTES_MAX).map(big).collect()).await;
    assert!(matches!(total, Reason::TooLarge { what: "transaction", .. }), "{total}");
    let ops = refused((0..=TXN_OPS_MAX).map(|n| Op::delete(format!("k{n}"))).collect()).await;
    assert_eq!(ops, Reason::TooManyOps { ops: TXN_OPS_MAX + 1, max: TXN_OPS_MAX });
    assert_eq!(revision(store).await, before);
}

pub(super) async fn an_empty_key_is_refused(store: &dyn Store) {
    for op in [Op::put("", "x"), Op::delete(""), Op::Get(RangeReq::key(""))] {
        let reason = refusal(store.txn(Txn::of(vec![op])).await);
        assert!(matches!(reason, Reason::Invalid(_)), "{reason}");
    }
}

pub(super) async fn a_refused_transaction_changes_nothing(store: &dyn Store) {
    let before = revision(store).await;
    let future = Op::Get(RangeReq::key("a").at(before.next()));
    let reason = refusal(store.txn(Txn::of(vec![Op::put("a", ""), future])).await);
    assert!(matches!(reason, Reason::FutureRevision { .. }), "{reason}");
    assert_eq!(revision(store).await, before);
    assert!(range(store, RangeReq::prefix("")).await.is_empty());
}

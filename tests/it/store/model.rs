//! The embedded store answers like the model, whatever is asked, and whenever it is reopened.
//!
//! A burst is sent to the SQLite store all at once, so that its writer decides it as one group,
//! and to the model one by one.

use bytes::Bytes;
use futures_util::future::join_all;
use proptest::prelude::*;
use wharf::store::{
    Cond, Consistency, Error, LEASE_TTL_MIN, LeaseId, MemStore, Op, RangeReq, RangeResp, Revision,
    Store, Txn, TxnResp,
};

use super::harness::{open, sqlite};
use super::reopen::dump;

/// One call.
#[derive(Clone, Debug)]
enum Call {
    Txn(Txn),
    Range(RangeReq),
    Grant,
    Revoke(LeaseId),
    Compact(Revision),
}

/// What it answered.
#[derive(Debug, PartialEq)]
enum Answer {
    Txn(Result<TxnResp, Error>),
    Range(Result<RangeResp, Error>),
    Grant(Result<LeaseId, Error>),
    Other(Result<(), Error>),
}

#[derive(Clone, Debug)]
enum Step {
    Burst(Vec<Call>),
    Reopen,
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sqlite_answers_like_the_model(steps in prop::collection::vec(step(), 1..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(compare(steps));
    }
}

async fn compare(steps: Vec<Step>) {
    let model = MemStore::new();
    let (mut store, dir) = sqlite().await;
    for step in steps {
        match step {
            Step::Reopen => {
                drop(store);
                store = open(&dir).await;
            }
            Step::Burst(calls) => {
                let answers = join_all(calls.iter().map(|c| call(&store, c.clone()))).await;
                for (asked, answer) in calls.into_iter().zip(answers) {
                    let expected = call(&model, asked.clone()).await;
                    assert_eq!(answer, expected, "{asked:?}");
                }
            }
        }
        let all = || RangeReq::prefix("");
        let expected = model.range(all(), Consistency::Linearizable).await;
        assert_eq!(store.range(all(), Consistency::Linearizable).await, expected);
    }
    assert_eq!(dump(&store).await, dump(&model).await);
}

async fn call(store: &dyn Store, call: Call) -> Answer {
    match call {
        Call::Txn(txn) => Answer::Txn(store.txn(txn).await),
        Call::Range(req) => Answer::Range(store.range(req, Consistency::Linearizable).await),
        Call::Grant => {
            Answer::Grant(store.lease_grant(LEASE_TTL_MIN * 100).await.map(|lease| lease.id))
        }
        Call::Revoke(id) => Answer::Other(store.lease_revoke(id).await),
        Call::Compact(before) => Answer::Other(store.compact(before).await),
    }
}

fn step() -> impl Strategy<Value = Step> {
    // Reads do not queue behind writes: only a burst of its own shows what they should see.
    let writes = prop::collection::vec(write(), 1..8).prop_map(Step::Burst);
    let read = range().prop_map(|req| Step::Burst(vec![Call::Range(req)]));
    prop_oneof![6 => writes, 2 => read, 1 => Just(Step::Reopen)]
}

fn write() -> impl Strategy<Value = Call> {
    prop_oneof![
        12 => txn().prop_map(Call::Txn),
        2 => Just(Call::Grant),
        1 => lease().prop_map(Call::Revoke),
        1 => revision().prop_map(Call::Compact),
    ]
}

fn txn() -> impl Strategy<Value = Txn> {
    let conds = prop::collection::vec(cond(), 0..2);
    let ops = || prop::collection::vec(op(), 0..4);
    (conds, ops(), ops()).prop_map(|(when, then, otherwise)| Txn { when, then, otherwise })
}

fn cond() -> impl Strategy<Value = Cond> {
    prop_oneof![
        key().prop_map(Cond::Exists),
        key().prop_map(Cond::Absent),
        (key(), revision()).prop_map(|(key, is)| Cond::ModRev { key, is }),
        (key(), revision()).prop_map(|(key, is)| Cond::CreateRev { key, is }),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let value = prop_oneof![Just(Bytes::new()), Just(Bytes::from(vec![7; 5000])), key()];
    let lease = prop_oneof![3 => Just(None), 1 => lease().prop_map(Some)];
    prop_oneof![
        4 => (key(), value, lease).prop_map(|(key, value, lease)| Op::Put { key, value, lease }),
        2 => key().prop_map(|key| Op::Delete { key }),
        // Which revisions exist already is a question of time inside a burst: no past here.
        1 => range().prop_map(|req| Op::Get(RangeReq { at: None, ..req })),
    ]
}

fn range() -> impl Strategy<Value = RangeReq> {
    let span = prop_oneof![
        key().prop_map(RangeReq::key),
        prop_oneof![Just(""), Just("a"), Just("b")].prop_map(RangeReq::prefix),
        (key(), key()).prop_map(|(first, end)| RangeReq::between(first, end)),
    ];
    let after = prop::option::weighted(0.2, key());
    let at = prop::option::weighted(0.2, revision());
    (span, 0..4_usize, after, at).prop_map(|(req, limit, after, at)| RangeReq {
        after,
        at,
        ..req.limit(limit)
    })
}

fn key() -> impl Strategy<Value = Bytes> {
    prop_oneof![Just("a"), Just("a/1"), Just("a/2"), Just("b"), Just("b/1")].prop_map(Bytes::from)
}

fn lease() -> impl Strategy<Value = LeaseId> {
    (1..5_u64).prop_map(LeaseId)
}

fn revision() -> impl Strategy<Value = Revision> {
    (0..30_u64).prop_map(Revision)
}

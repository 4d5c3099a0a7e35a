//! Rules 1 to 3: transactions, revisions, versions.

use futures_util::future::join_all;
use wharf::store::{Cond, Op, OpResult, RangeReq, RangeResp, Reason, Revision, Store, Txn};

use super::harness::{delete, get, keys, put, range, refusal, revision, text, txn};

pub(super) async fn effects_are_visible_together_at_one_revision(store: &dyn Store) {
    let before = put(store, "gone", "x").await;
    let ops = vec![Op::put("a", "1"), Op::put("b", "2"), Op::delete("gone")];
    let answer = txn(store, ops).await;
    assert_eq!(answer.revision, before.next());
    assert_eq!(answer.results, [OpResult::Put, OpResult::Put, OpResult::Deleted(true)]);
    let now = range(store, RangeReq::prefix("")).await;
    assert_eq!(keys(&now), ["a", "b"]);
    assert!(now.iter().all(|kv| kv.mod_rev == answer.revision));
    let past = range(store, RangeReq::prefix("").at(before)).await;
    assert_eq!(keys(&past), ["gone"]);
}

pub(super) async fn a_get_sees_the_puts_before_it(store: &dyn Store) {
    put(store, "a", "old").await;
    let read = || Op::Get(RangeReq::key("a"));
    let answer = txn(store, vec![read(), Op::put("a", "new"), read()]).await;
    let values: Vec<String> = answer.results.iter().filter_map(value).collect();
    assert_eq!(values, ["old", "new"]);
    let answer = txn(store, vec![Op::delete("a"), read()]).await;
    assert!(answer.results.iter().filter_map(value).next().is_none());
}

pub(super) async fn a_get_over_a_prefix_sees_the_whole_draft(store: &dyn Store) {
    for key in ["p/b", "p/d", "p/f", "q"] {
        put(store, key, "old").await;
    }
    let ops = vec![
        Op::put("p/a", "new"),
        Op::put("p/d", "new"),
        Op::delete("p/f"),
        Op::put("p/g", "new"),
        Op::Get(RangeReq::prefix("p/")),
        Op::Get(RangeReq::prefix("p/").limit(2)),
        Op::Get(RangeReq::prefix("p/").after("p/b")),
    ];
    let answer = txn(store, ops).await;
    let got: Vec<&RangeResp> = answer.results.iter().filter_map(read).collect();
    assert_eq!(keys(&got[0].kvs), ["p/a", "p/b", "p/d", "p/g"]);
    assert_eq!(text(&got[0].kvs[2].value), "new");
    assert_eq!((keys(&got[1].kvs), got[1].more), (vec!["p/a".into(), "p/b".into()], true));
    assert_eq!((keys(&got[2].kvs), got[2].more), (vec!["p/d".into(), "p/g".into()], false));
    assert!(got.iter().all(|got| got.revision == answer.revision));
}

pub(super) async fn a_key_may_change_only_once_in_a_branch(store: &dyn Store) {
    for second in [Op::put("a", "2"), Op::delete("a")] {
        let twice = vec![Op::put("a", "1"), second];
        for txn in [
            Txn::of(twice.clone()),
            // The branch that does not run is checked, too.
            Txn { otherwise: twice, ..Txn::default() },
        ] {
            assert_eq!(refusal(store.txn(txn).await), Reason::DuplicateKey("a".into()));
        }
    }
    assert_eq!(get(store, "a").await, None);
}

pub(super) async fn the_same_key_in_both_branches_is_fine(store: &dyn Store) {
    let txn = Txn {
        when: vec![Cond::Absent("a".into())],
        then: vec![Op::put("a", "created")],
        otherwise: vec![Op::put("a", "changed")],
    };
    assert!(store.txn(txn.clone()).await.expect("accepted").succeeded);
    assert!(!store.txn(txn).await.expect("accepted").succeeded);
    assert_eq!(get(store, "a").await.map(|kv| text(&kv.value)).as_deref(), Some("changed"));
}

pub(super) async fn without_effect_no_revision_is_used(store: &dyn Store) {
    let before = put(store, "a", "1").await;
    let ops = vec![Op::Get(RangeReq::key("a")), Op::delete("absent")];
    assert_eq!(txn(store, ops).await.revision, before);
    assert_eq!(txn(store, vec![]).await.revision, before);
    assert_eq!(revision(store).await, before);
}

pub(super) async fn a_put_of_an_equal_value_is_an_effect(store: &dyn Store) {
    let first = put(store, "a", "same").await;
    let second = put(store, "a", "same").await;
    assert_eq!(second, first.next());
    let kv = get(store, "a").await.expect("there");
    assert_eq!((kv.create_rev, kv.mod_rev, kv.version), (first, second, 2));
}

pub(super) async fn a_delete_says_whether_there_was_a_key(store: &dyn Store) {
    put(store, "a", "1").await;
    let answer = txn(store, vec![Op::delete("a"), Op::delete("b")]).await;
    assert_eq!(answer.results, [OpResult::Deleted(true), OpResult::Deleted(false)]);
}

pub(super) async fn version_starts_again_after_a_delete(store: &dyn Store) {
    put(store, "a", "1").await;
    put(store, "a", "2").await;
    delete(store, "a").await;
    let created = put(store, "a", "3").await;
    let kv = get(store, "a").await.expect("there");
    assert_eq!((kv.create_rev, kv.mod_rev, kv.version), (created, created, 1));
}

pub(super) async fn a_create_revision_fences(store: &dyn Store) {
    let term = put(store, "leader", "one").await;
    let write = |term| {
        let fence = Cond::CreateRev { key: "leader".into(), is: term };
        Txn::of(vec![Op::put("plan", "x")]).when(fence)
    };
    assert!(store.txn(write(term)).await.expect("accepted").succeeded);
    put(store, "leader", "one, again").await;
    assert!(store.txn(write(term)).await.expect("accepted").succeeded);
    delete(store, "leader").await;
    assert!(!store.txn(write(term)).await.expect("accepted").succeeded);
    put(store, "leader", "two").await;
    assert!(!store.txn(write(term)).await.expect("accepted").succeeded);
}

pub(super) async fn conditions_on_absent_keys(store: &dyn Store) {
    let a = || "a".into();
    let absent = [
        Cond::Absent(a()),
        Cond::ModRev { key: a(), is: Revision::ZERO },
        Cond::CreateRev { key: a(), is: Revision::ZERO },
    ];
    let holds = async |cond| store.txn(Txn::default().when(cond)).await.expect("ok").succeeded;
    for cond in absent.clone() {
        assert!(holds(cond).await);
    }
    assert!(!holds(Cond::Exists(a())).await);
    let put = put(store, "a", "1").await;
    for cond in absent {
        assert!(!holds(cond).await);
    }
    assert!(holds(Cond::Exists(a())).await);
    assert!(holds(Cond::ModRev { key: a(), is: put }).await);
}

pub(super) async fn one_false_condition_is_enough(store: &dyn Store) {
    put(store, "a", "1").await;
    let txn = Txn {
        when: vec![Cond::Exists("a".into()), Cond::Exists("b".into())],
        then: vec![Op::put("then", "")],
        otherwise: vec![Op::put("otherwise", "")],
    };
    let answer = store.txn(txn).await.expect("accepted");
    assert!(!answer.succeeded);
    assert_eq!(keys(&range(store, RangeReq::prefix("")).await), ["a", "otherwise"]);
}

pub(super) async fn of_concurrent_creators_one_wins(store: &dyn Store) {
    let create = |who: usize| {
        let txn = Txn::of(vec![Op::put("a", who.to_string())]).when(Cond::Absent("a".into()));
        store.txn(txn)
    };
    let answers = join_all((0..32).map(create)).await;
    let winners: Vec<usize> =
        (0..32).filter(|who| answers[*who].as_ref().is_ok_and(|answer| answer.succeeded)).collect();
    assert_eq!(winners.len(), 1);
    let value = get(store, "a").await.map(|kv| text(&kv.value));
    assert_eq!(value, Some(winners[0].to_string()));
}

pub(super) async fn concurrent_increments_are_not_lost(store: &dyn Store) {
    const CLIENTS: u64 = 8;
    const EACH: u64 = 20;
    put(store, "n", "0").await;
    let client = async |_| {
        let mut done = 0;
        while done < EACH {
            let seen = get(store, "n").await.expect("there");
            let n: u64 = text(&seen.value).parse().expect("a number");
            let unchanged = Cond::ModRev { key: "n".into(), is: seen.mod_rev };
            let txn = Txn::of(vec![Op::put("n", (n + 1).to_string())]).when(unchanged);
            done += u64::from(store.txn(txn).await.expect("accepted").succeeded);
        }
    };
    join_all((0..CLIENTS).map(client)).await;
    let kv = get(store, "n").await.expect("there");
    assert_eq!(text(&kv.value), (CLIENTS * EACH).to_string());
    assert_eq!(kv.version, CLIENTS * EACH + 1);
}

fn read(result: &OpResult) -> Option<&RangeResp> {
    match result {
        OpResult::Got(got) => Some(got),
        OpResult::Put | OpResult::Deleted(_) => None,
    }
}

fn value(result: &OpResult) -> Option<String> {
    read(result)?.kvs.first().map(|kv| text(&kv.value))
}

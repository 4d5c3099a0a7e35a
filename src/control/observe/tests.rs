//! What is followed against what is read anew, and one service against all.

use bytes::Bytes;

use super::*;
use crate::model::{GrantStatus, Stage};
use crate::rollout;
use crate::store::MemStore;

fn named(text: &str) -> Name {
    text.parse().expect("a name")
}

fn status(service: &str, generation: u64) -> Op {
    let status = GrantStatus {
        node: named("a"),
        service: named(service),
        generation,
        revisions: Vec::new(),
        at_ms: 0,
    };
    Op::put(keys::status("a", service), codec::encode(&status).expect("data"))
}

fn rollout_of(service: &str, stage: Stage) -> Op {
    let request = rollout::Request {
        service: named(service),
        revision: 1,
        task: "web:1".to_owned(),
        policy: model::DeployPolicy::default(),
        now_ms: 0,
        floor: 1,
        anew: false,
    };
    let mut rollout = rollout::begin(None, request);
    rollout.stage = stage;
    Op::put(keys::rollout(service), codec::encode(&rollout).expect("data"))
}

#[tokio::test]
async fn what_is_followed_is_what_is_read() {
    let store = MemStore::new();
    let broken = || Bytes::from_static(b"{");
    let steps = [
        vec![status("web", 1), rollout_of("web", Stage::Preparing), status("api", 1)],
        vec![rollout_of("web", Stage::Completed)],
        vec![status("web", 2), Op::put(keys::upstream("u"), "whatever")],
        vec![Op::put(keys::status("a", "api"), broken())],
        vec![Op::put(keys::rollout("web"), broken())],
        vec![rollout_of("web", Stage::Baking), status("api", 3)],
        vec![Op::delete(keys::status("a", "web"))],
        vec![Op::delete(keys::rollout("web")), status("web", 1)],
    ];
    let mut followed = observe(&store).await.expect("read");
    let mut watch = store.watch(Bytes::new(), followed.revision.next()).await.expect("watched");
    for step in steps {
        store.txn(Txn::of(step)).await.expect("written");
        let batch = watch.next().await.expect("well").expect("open");
        followed.take(&batch);
        assert_eq!(followed, observe(&store).await.expect("read"));
        // What is there already is not taken twice.
        followed.take(&batch);
    }
    let at = followed.snapshot.statuses.values().map(|status| status.generation);
    assert_eq!(at.collect::<Vec<_>>(), [3, 1]);
}

#[tokio::test]
async fn one_service_is_read_without_the_others() {
    let store = MemStore::new();
    let node = model::Node {
        id: named("a"),
        status: model::NodeStatus::Active,
        capacity: model::Capacity {
            cpu: model::CpuUnits(1024),
            memory: model::ByteSize::mib(1),
            instances: 1,
        },
        version: String::new(),
    };
    let node = Op::put(keys::node("a"), codec::encode(&node).expect("data"));
    store.txn(Txn::of(vec![node])).await.expect("written");
    for service in ["web", "web2"] {
        let ops = vec![status(service, 1), rollout_of(service, Stage::Completed)];
        store.txn(Txn::of(ops)).await.expect("written");
    }
    let one = observe_service(&store, &named("web")).await.expect("read");
    let mut all = observe(&store).await.expect("read");
    assert_eq!(one.revision, all.revision);
    all.snapshot.rollouts.remove("web2");
    all.rollouts_changed.remove("web2");
    all.snapshot.statuses.remove(&(named("a"), named("web2")));
    assert_eq!(one, all);
}

//! A node that has no room says so, and recovers.

use std::time::Duration;

use wharf::model::{ByteSize, Scale};
use wharf::proxy::ProxyConfig;
use wharf::runtime::{Machine, ResetPolicy};

use super::{ask_all, is_asleep};
use crate::support::{Front, ServiceOptions, error_of, eventually, guest};

async fn small(change: impl FnOnce(&mut Machine)) -> Front {
    let mut machine = Machine { max_mappings: 12_000, ..Machine::read() };
    change(&mut machine);
    Front::start_on(machine, ProxyConfig::default(), ResetPolicy::Auto).await
}

fn patient() -> ServiceOptions {
    let mut options = ServiceOptions::default();
    options.limits.timeout = Duration::from_secs(300);
    options.scale.idle = Duration::from_secs(1);
    options
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_full_of_components_refuses_one_more_until_one_sleeps() {
    let front = small(|machine| machine.max_open_files = 8).await;
    assert_eq!(front.runtime.engine().sizing().loaded, 2);
    let scale = Scale { min: 1, ..Scale::default() };
    let pinned = ServiceOptions { scale, ..ServiceOptions::default() };
    let pinned = front.deploy("pinned", &guest("hello"), pinned).await;
    eventually("it is awake", || pinned.view().loaded).await;
    let drowsy = front.deploy("drowsy", &guest("sleep"), patient()).await;
    front.deploy("third", &guest("env"), patient()).await;
    let get = |service: &'static str| front.client().get(service, "/?ms=0").send();
    assert_eq!(get("drowsy").await.expect("an answer").status(), 200);
    let refused = get("third").await.expect("an answer");
    assert_eq!(error_of(&refused), (503, "no-capacity"));
    assert_eq!(refused.headers()["retry-after"], "1");
    eventually("another sleeps", || !drowsy.view().loaded && front.loader.live() == 1).await;
    assert_eq!(get("third").await.expect("an answer").status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_free_instance_refuses_and_recovers() {
    let front = small(|machine| machine.max_mappings = 10_200).await;
    let slots = front.runtime.engine().sizing().slots as usize;
    assert!((16..40).contains(&slots), "{slots}");
    let cell = front.deploy("sleep", &guest("sleep"), patient()).await;
    let mut busy = ask_all(&front, slots, "sleep", "/?ms=300000");
    let live = || front.runtime.engine().live_instances() as usize;
    eventually("every instance is taken", || live() == slots).await;
    let mut more = ask_all(&front, 5, "sleep", "/?ms=300000");
    while let Some(status) = more.join_next().await {
        assert_eq!(status.expect("no panic"), Some(503));
    }
    let lines = front.access_lines(5).await;
    assert!(lines.iter().all(|line| line["code"] == "no-capacity"), "{lines:?}");
    busy.abort_all();
    eventually("all are gone", || live() == 0).await;
    let answer = front.client().get("sleep", "/?ms=0").send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    is_asleep(&front, &cell).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_of_a_node_is_shared_by_its_tasks() {
    let front = small(|machine| machine.memory_bytes = 64 << 20).await;
    assert_eq!(front.runtime.memory().max(), 48 << 20);
    let mut options = patient();
    options.limits.memory = ByteSize::mib(40);
    options.limits.instance_memory = ByteSize::mib(40);
    let first = front.deploy("first", &guest("grow-memory"), options.clone()).await;
    front.deploy("second", &guest("grow-memory"), options).await;
    let mut held = ask_all(&front, 1, "first", "/hold?mib=30&ms=300000");
    eventually("most of the memory is held", || front.runtime.memory().used() > 30 << 20).await;
    let refused = front.client().get("second", "/hold?mib=30").send().await.expect("an answer");
    assert_eq!(error_of(&refused), (503, "no-capacity"));
    held.abort_all();
    eventually("it is free again", || front.runtime.memory().used() == 0).await;
    eventually("its place is free again", || first.view().in_flight == 0).await;
    let answer = front.client().get("second", "/hold?mib=30").send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
}

//! Memory of a task as a whole.

use std::time::Duration;

use wharf::model::{ByteSize, Scale};
use wharf::proxy::ProxyConfig;
use wharf::runtime::{Machine, ResetPolicy};

use super::limits;
use crate::support::{Front, error_of, eventually, guest};

#[tokio::test(flavor = "multi_thread")]
async fn the_instances_of_a_task_share_its_memory() {
    let front = Front::start().await;
    let mut options = limits(|limits| {
        limits.memory = ByteSize::mib(40);
        limits.instance_memory = ByteSize::mib(40);
        limits.timeout = Duration::from_secs(60);
    });
    options.scale = Scale { min: 0, max: 1, ..Scale::default() };
    let cell = front.deploy("grow", &guest("grow-memory"), options).await;
    let hold = |mib: u32, ms: u32| {
        let request = front.client().get("grow", &format!("/hold?mib={mib}&ms={ms}"));
        async move { request.send().await.expect("an answer") }
    };
    // One alone may have nearly all of it.
    assert_eq!(hold(30, 0).await.status(), 200);
    let used = || cell.view().tasks.iter().map(|task| task.memory_bytes).sum::<u64>();
    // An instance is taken down after its response has left.
    eventually("the memory is free again", || used() == 0).await;
    let held = tokio::spawn(hold(24, 100_000));
    eventually("most of the memory is held", || used() > 24 << 20).await;
    let refused = hold(24, 0).await;
    assert_eq!(error_of(&refused), (500, "memory-exceeded"));
    eventually("the refused one is gone", || cell.view().in_flight == 1).await;
    assert_eq!(hold(4, 0).await.status(), 200, "what fits beside it is served");
    assert!(used() <= 40 << 20, "{}", used());
    held.abort();
    eventually("the memory is free again", || used() == 0).await;
    assert_eq!(hold(30, 0).await.status(), 200);
    eventually("nothing is held", || front.runtime.memory().used() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_peak_of_a_request_is_what_it_held() {
    let front = Front::start().await;
    front.deploy("grow", &guest("grow-memory"), limits(|_| {})).await;
    for mib in [1, 20] {
        let path = format!("/hold?mib={mib}");
        let answer = front.client().get("grow", &path).send().await.expect("an answer");
        assert_eq!(answer.text().await.expect("a body"), format!("held {mib} MiB for 0 ms\n"));
    }
    let lines = front.access_lines(2).await;
    let peak = |n: usize| lines[n]["peak_memory_bytes"].as_u64().expect("a number");
    assert!(peak(1) > 20 << 20 && peak(1) < 40 << 20, "{}", peak(1));
    assert!(peak(1) - peak(0) >= 18 << 20, "{} and {}", peak(0), peak(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_may_live_with_a_refusal() {
    let front = Front::start().await;
    let small = limits(|limits| limits.instance_memory = ByteSize::mib(16));
    front.deploy("grow", &guest("grow-memory"), small).await;
    let answer = front.client().get("grow", "/one?survive=1").send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let text = answer.text().await.expect("a body");
    let mib: u64 = text.trim_end_matches(" MiB\n").parse().expect("a number");
    assert!((10..16).contains(&mib), "{text}");
    let line = &front.access_lines(1).await[0];
    assert_eq!(line["code"], "ok");
    assert!(line["peak_memory_bytes"].as_u64().is_some_and(|peak| peak <= 16 << 20), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_host_keeps_for_a_guest_counts() {
    let front = Front::start().await;
    let small = limits(|limits| {
        limits.instance_memory = ByteSize::mib(8);
        limits.handles = 1_000;
        limits.fuel = u64::MAX / 2;
    });
    front.deploy("leak", &guest("leak-handles"), small).await;
    let get = |path: String| front.client().get("leak", &path).send();
    for path in ["/full?n=200", "/copies?n=100", "/bodies?n=100", "/requests?n=300"] {
        let answer = get(path.to_owned()).await.expect("an answer");
        assert_eq!(error_of(&answer), (500, "memory-exceeded"), "{path}");
        // What is given back may be had again, any number of times.
        let answer = get(format!("{path}0&drop=1")).await.expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
    }
    for line in front.access_lines(8).await {
        assert!(line["peak_memory_bytes"].as_u64().is_some_and(|peak| peak <= 8 << 20), "{line}");
    }
    eventually("nothing is held", || front.runtime.memory().used() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_is_not_blamed_when_the_node_is_full() {
    // Three quarters of it are for instances.
    let machine = Machine { memory_bytes: 32 << 20, max_mappings: 12_000, ..Machine::read() };
    let front = Front::start_on(machine, ProxyConfig::default(), ResetPolicy::Auto).await;
    front.deploy("grow", &guest("grow-memory"), limits(|_| {})).await;
    let answer = front.client().get("grow", "/hold?mib=30").send().await.expect("an answer");
    assert_eq!(error_of(&answer), (503, "no-capacity"));
    assert!(answer.headers().contains_key("retry-after"));
    let answer = front.client().get("grow", "/hold?mib=8").send().await.expect("an answer");
    assert_eq!(answer.status(), 200, "what fits is served");
}

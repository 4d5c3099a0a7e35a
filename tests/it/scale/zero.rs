//! Zero tasks, and what it takes to have one.

use std::path::Path;
use std::time::Duration;

use wharf::model::{Code, QueueBounds, Scale};
use wharf::proxy::ProxyConfig;
use wharf::runtime::{Machine, ResetPolicy};

use super::{ask_all, deploy_broken, is_asleep, revive};
use crate::support::{Front, ServiceOptions, eventually, guest};

fn drowsy() -> ServiceOptions {
    let scale = Scale { idle: Duration::from_secs(1), ..Scale::default() };
    ServiceOptions { scale, ..ServiceOptions::default() }
}

/// A front that has an instance for each of a thousand requests.
async fn large_front() -> Front {
    Front::start_on(Machine::read(), ProxyConfig::default(), ResetPolicy::Auto).await
}

/// Open files and mappings of this process below `dir`.
fn held_below(dir: &Path) -> usize {
    let files = std::fs::read_dir("/proc/self/fd").expect("a list").flatten();
    let files = files.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    let files = files.filter(|target| target.starts_with(dir)).count();
    let maps = std::fs::read_to_string("/proc/self/maps").expect("a list");
    let dir = dir.to_str().expect("text");
    files + maps.lines().filter(|line| line.contains(dir)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_at_once_wake_a_service_once() {
    let front = large_front().await;
    let cell = front.deploy("hello", &guest("hello"), ServiceOptions::default()).await;
    assert_eq!((front.loader.loads(), cell.view().tasks.len()), (0, 0), "nobody has asked yet");
    let mut asking = ask_all(&front, 1_000, "hello", "/");
    while let Some(status) = asking.join_next().await {
        assert_eq!(status.expect("no panic"), Some(200));
    }
    assert_eq!(front.loader.loads(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_that_wait_are_held_until_the_one_load() {
    let mut front = large_front().await;
    let wasm = guest("hello");
    let queue = QueueBounds { depth: 1_000, wait: Duration::from_secs(60) };
    let options = ServiceOptions { queue, ..ServiceOptions::default() };
    let (cell, deployment) = deploy_broken(&front, "hello", &wasm, options).await;
    let mut asking = ask_all(&front, 1_000, "hello", "/");
    eventually("all of them wait", || cell.view().waiting == 1_000).await;
    let refused = front.client().get("hello", "/").send().await.expect("an answer");
    assert_eq!(
        (refused.status().as_u16(), refused.headers()["wharf-error"].to_str().ok()),
        (503, Some("queue-full"))
    );
    assert_eq!(refused.headers()["retry-after"], "1");
    let told = front.broken.recv().await;
    assert_eq!(told, Some((cell.service().clone(), 1)), "the agent is told");
    assert!(front.broken.try_recv().is_err(), "the agent is told once");
    revive(&front, &cell, &wasm, deployment).await;
    while let Some(status) = asking.join_next().await {
        assert_eq!(status.expect("no panic"), Some(200));
    }
    assert_eq!(front.loader.loads(), 1);
    let lines = front.access_lines(1_001).await;
    let cold = lines.iter().filter(|line| line["cold_start_us"].is_u64()).count();
    assert_eq!(cold, 1_000, "each of them waited for the start");
    let full = lines.iter().filter(|line| line["code"] == "queue-full").count();
    let counted = front.outcomes("hello");
    assert_eq!((full, counted), (1, vec![(Code::Ok, 1_000), (Code::QueueFull, 1)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_does_not_wait_longer_than_it_may() {
    let front = Front::start().await;
    let queue = QueueBounds { depth: 10, wait: Duration::from_millis(200) };
    let options = ServiceOptions { queue, ..ServiceOptions::default() };
    let (cell, _) = deploy_broken(&front, "hello", &guest("hello"), options).await;
    let refused = front.client().get("hello", "/").send().await.expect("an answer");
    assert_eq!(
        (refused.status().as_u16(), refused.headers()["wharf-error"].to_str().ok()),
        (503, Some("queue-timeout"))
    );
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(cell.view().waiting, 0);
    assert_eq!(front.access_lines(1).await[0]["code"], "queue-timeout");
    assert_eq!(front.outcomes("hello"), [(Code::QueueTimeout, 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_service_goes_back_to_nothing() {
    let front = Front::start().await;
    let cell = front.deploy("hello", &guest("hello"), drowsy()).await;
    let dir = front.compiled_dir();
    for wake in 1..=3 {
        assert_eq!(held_below(&dir), 0, "a service that sleeps holds no file");
        let answer = front.client().get("hello", "/").send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
        assert!(answer.headers().contains_key("wharf-cold-start"), "wake {wake}");
        assert!(held_below(&dir) > 0 && cell.view().loaded);
        is_asleep(&front, &cell).await;
        eventually("its code is unmapped", || held_below(&dir) == 0).await;
        assert_eq!(front.loader.loads(), wake);
    }
    assert_eq!(front.runtime.memory().used(), 0);
    assert_eq!(front.compiler.load().compiled, 1, "waking never compiles");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_service_does_not_fall_asleep() {
    let front = Front::start().await;
    let cell = front.deploy("sleep", &guest("sleep"), drowsy()).await;
    let answer = front.client().get("sleep", "/?ms=1600").send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    assert!(cell.view().loaded, "it has only just become idle");
    is_asleep(&front, &cell).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn services_of_one_component_share_it_and_sleep_for_free() {
    let front = Front::start().await;
    let wasm = guest("hello");
    let mut cells = Vec::new();
    for n in 0..50 {
        cells.push(front.deploy(&format!("hello-{n}"), &wasm, drowsy()).await);
    }
    let dir = front.compiled_dir();
    assert_eq!((held_below(&dir), front.loader.loads(), front.compiler.load().compiled), (0, 0, 1));
    let (mut first, mut second) =
        (ask_all(&front, 10, "hello-1", "/"), ask_all(&front, 10, "hello-2", "/"));
    while let Some(status) = first.join_next().await {
        assert_eq!(status.expect("no panic"), Some(200));
    }
    while let Some(status) = second.join_next().await {
        assert_eq!(status.expect("no panic"), Some(200));
    }
    assert_eq!((front.loader.live(), front.loader.loads()), (1, 1), "one copy for both");
    for cell in &cells {
        is_asleep(&front, cell).await;
    }
    eventually("no file is held", || held_below(&dir) == 0).await;
}

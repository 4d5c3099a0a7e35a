//! Deployments that follow each other while requests are under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wharf::model::Scale;

use super::{ask_all, deploy_broken};
use crate::support::{Front, Raw, ServiceOptions, error_of, eventually, guest, within};

fn version(number: u32) -> ServiceOptions {
    let env = vec![("VERSION".to_owned(), number.to_string())];
    let scale = Scale { min: 1, max: 3, ..Scale::default() };
    ServiceOptions { env, scale, ..ServiceOptions::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_versions_replace_each_other() {
    let front = Front::start().await;
    let wasm = guest("env");
    let cell = front.deploy("env", &wasm, version(1)).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let (client, stop) = (front.client(), Arc::clone(&stop));
        clients.spawn(async move {
            let (mut last, mut count) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                let answer = client.get("env", "/?name=VERSION").send().await.expect("an answer");
                assert_eq!(answer.status(), 200);
                let seen = answer.text().await.expect("a body");
                let seen: u32 = seen.trim().parse().expect("a number");
                assert!(seen >= last, "{seen} after {last}: a version came back");
                (last, count) = (seen, count + 1);
            }
            count
        });
    }
    for number in 2..=6 {
        let before = cell.stats().requests();
        eventually("requests are served", || cell.stats().requests() > before + 20).await;
        front.deploy("env", &wasm, version(number)).await;
    }
    let answer = front.client().get("env", "/?name=VERSION").send().await.expect("an answer");
    assert_eq!(answer.text().await.expect("a body"), "6\n");
    stop.store(true, Ordering::Relaxed);
    while let Some(count) = clients.join_next().await {
        assert!(count.expect("no request failed") > 0);
    }
    within("the old tasks are drained", cell.drained()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_on_replaced_tasks_are_finished() {
    let front = Front::start().await;
    let options = version(1);
    let cell = front.deploy("task", &guest("sleep"), options).await;
    let mut raw = Raw::connect(front.address).await;
    raw.send("GET /?ms=1500 HTTP/1.1\r\nhost: task.test\r\n\r\n").await;
    eventually("the guest runs", || cell.view().in_flight == 1).await;
    // Another component altogether.
    front.deploy("task", &guest("hello"), version(2)).await;
    assert_eq!(cell.view().in_flight, 1);
    let new = front.client().get("task", "/").send().await.expect("an answer");
    assert_eq!(new.text().await.expect("a body"), "Hello from Wharf!\n");
    let old = raw.answer().await.expect("an answer");
    assert_eq!((old.status, old.text().as_str()), (200, "slept 1500 ms\n"));
    within("the old task is drained", cell.drained()).await;
    eventually("the old component is gone", || front.loader.live() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_refuses_those_that_wait_and_finishes_the_rest() {
    let front = Front::start().await;
    let (broken, _) =
        deploy_broken(&front, "hello", &guest("hello"), ServiceOptions::default()).await;
    let mut waiting = ask_all(&front, 5, "hello", "/");
    eventually("all wait", || broken.view().waiting == 5).await;
    broken.withdraw();
    while let Some(status) = waiting.join_next().await {
        assert_eq!(status.expect("no panic"), Some(503));
    }
    let cell = front.deploy("sleep", &guest("sleep"), ServiceOptions::default()).await;
    let mut busy = ask_all(&front, 2, "sleep", "/?ms=1000");
    eventually("the guests run", || cell.view().in_flight == 2).await;
    cell.withdraw();
    let refused = front.client().get("sleep", "/").send().await.expect("an answer");
    assert_eq!(
        (refused.status().as_u16(), refused.headers()["wharf-error"].to_str().ok()),
        (503, Some("not-ready"))
    );
    while let Some(status) = busy.join_next().await {
        assert_eq!(status.expect("no panic"), Some(200));
    }
    within("the guests are done", cell.drained()).await;
    let view = cell.view();
    assert!(view.tasks.is_empty() && !view.loaded && view.deployment.is_none(), "{view:?}");
    eventually("its component is gone", || front.loader.live() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_wakes_those_that_wait_for_the_one_before() {
    let front = Front::start().await;
    let (cell, _) = deploy_broken(&front, "task", &guest("sleep"), ServiceOptions::default()).await;
    let mut waiting = ask_all(&front, 20, "task", "/");
    eventually("all wait", || cell.view().waiting == 20).await;
    front.deploy("task", &guest("hello"), ServiceOptions::default()).await;
    while let Some(status) = waiting.join_next().await {
        assert_eq!(status.expect("no panic"), Some(200));
    }
    assert_eq!(cell.view().waiting, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_while_the_service_wakes_gives_up_its_place() {
    let front = Front::start().await;
    let (cell, _) =
        deploy_broken(&front, "hello", &guest("hello"), ServiceOptions::default()).await;
    let mut waiting = ask_all(&front, 10, "hello", "/");
    eventually("all wait", || cell.view().waiting == 10).await;
    waiting.abort_all();
    eventually("all have left", || cell.view().waiting == 0).await;
    while waiting.join_next().await.is_some() {}
    for line in front.access_lines(10).await {
        assert_eq!(line["code"], "client-closed", "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_wait_for_a_first_deployment_only_if_one_is_coming() {
    let front = Front::start().await;
    let cell = front.route("hello");
    let not_ready = async || {
        let refused = front.client().get("hello", "/").send().await.expect("an answer");
        assert_eq!(error_of(&refused), (503, "not-ready"));
    };
    not_ready().await;
    cell.expect();
    let mut waiting = ask_all(&front, 5, "hello", "/");
    eventually("all wait", || cell.view().waiting == 5).await;
    cell.give_up();
    while let Some(status) = waiting.join_next().await {
        assert_eq!(status.expect("no panic"), Some(503));
    }
    not_ready().await;
    cell.expect();
    let mut waiting = ask_all(&front, 5, "hello", "/");
    eventually("all wait", || cell.view().waiting == 5).await;
    front.deploy("hello", &guest("hello"), ServiceOptions::default()).await;
    while let Some(status) = waiting.join_next().await {
        assert_eq!(status.expect("no panic"), Some(200));
    }
    // A later one that does not come leaves the earlier in force.
    cell.expect();
    cell.give_up();
    let answer = front.client().get("hello", "/").send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
}

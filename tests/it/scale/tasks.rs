//! Tasks by load, within their bounds.

use std::sync::Arc;
use std::time::Duration;

use wharf::model::Scale;
use wharf::runtime::RevisionCell;

use super::{ask_all, is_asleep};
use crate::support::{Front, ServiceOptions, eventually, guest};

fn scaled(concurrency: u32, min: u32, max: u32) -> ServiceOptions {
    let mut options = ServiceOptions::default();
    options.limits.concurrency = concurrency;
    options.limits.timeout = Duration::from_secs(300);
    options.scale = Scale { min, max, idle: Duration::from_secs(1) };
    options
}

fn loads(cell: &RevisionCell) -> Vec<u32> {
    cell.view().tasks.iter().map(|task| task.in_flight).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_added_up_to_the_maximum_and_given_back() {
    let front = Front::start().await;
    let cell = front.deploy("sleep", &guest("sleep"), scaled(2, 0, 3)).await;
    let mut asking = ask_all(&front, 8, "sleep", "/?ms=300000");
    eventually("the rest waits", || cell.view().in_flight == 6 && cell.view().waiting == 2).await;
    let mut seen = loads(&cell);
    seen.sort_unstable();
    assert_eq!(seen, [2, 2, 2]);
    let numbers: std::collections::BTreeSet<_> =
        cell.view().tasks.iter().map(|task| task.number).collect();
    assert_eq!(numbers.len(), 3, "each task has a number of its own");
    asking.abort_all();
    eventually("all but one is given back", || loads(&cell) == [0]).await;
    is_asleep(&front, &cell).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_task_is_enough_while_it_has_room() {
    let front = Front::start().await;
    let cell = front.deploy("sleep", &guest("sleep"), scaled(20, 0, 10)).await;
    let mut asking = ask_all(&front, 20, "sleep", "/?ms=300000");
    eventually("all are served", || cell.view().in_flight == 20).await;
    assert_eq!(loads(&cell), [20]);
    asking.abort_all();
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_spread_over_the_tasks() {
    let front = Front::start().await;
    let cell = front.deploy("sleep", &guest("sleep"), scaled(20, 4, 4)).await;
    eventually("four tasks are there", || cell.view().tasks.len() == 4).await;
    let mut asking = ask_all(&front, 32, "sleep", "/?ms=300000");
    eventually("all are served", || cell.view().in_flight == 32).await;
    let loads = loads(&cell);
    assert!(loads.iter().all(|load| (3..=14).contains(load)), "{loads:?}");
    asking.abort_all();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minimum_is_kept_awake() {
    let front = Front::start().await;
    let cell = front.deploy("hello", &guest("hello"), scaled(1, 2, 5)).await;
    eventually("two tasks are there", || cell.view().tasks.len() == 2).await;
    let answer = front.client().get("hello", "/").send().await.expect("an answer");
    assert!(!answer.headers().contains_key("wharf-cold-start"), "nothing had to start");
    // Longer than the idle time.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let view = cell.view();
    assert_eq!((view.tasks.len(), view.loaded, front.loader.loads()), (2, true, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_change_without_a_deployment() {
    let front = Front::start().await;
    let wasm = guest("sleep");
    let cell = front.deploy("sleep", &wasm, scaled(1, 0, 4)).await;
    let rescale = async |min, max| {
        cell.rescale(Arc::new(front.prepare("sleep", &wasm, scaled(1, min, max)).await));
    };
    rescale(3, 4).await;
    eventually("three tasks are there", || cell.view().tasks.len() == 3).await;
    let mut asking = ask_all(&front, 4, "sleep", "/?ms=3000");
    eventually("all are served", || cell.view().in_flight == 4).await;
    rescale(0, 1).await;
    assert_eq!(cell.view().tasks.len(), 1);
    assert_eq!(cell.view().in_flight, 4, "requests on tasks that go are finished");
    while let Some(status) = asking.join_next().await {
        assert_eq!(status.expect("no panic"), Some(200));
    }
    is_asleep(&front, &cell).await;
}

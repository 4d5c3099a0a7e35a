//! Requests that wait for a task.

use std::time::Duration;

use wharf::model::{QueueBounds, Scale};

use super::limits;
use crate::support::{Front, Raw, ServiceOptions, error_of, eventually, guest};

/// One task that serves one request at a time.
fn one_at_a_time(queue: QueueBounds) -> ServiceOptions {
    let mut options = limits(|limits| limits.concurrency = 1);
    options.scale = Scale { min: 0, max: 1, ..Scale::default() };
    options.queue = queue;
    options
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_wait_for_the_only_task_and_are_all_answered() {
    let front = Front::start().await;
    let patient = QueueBounds { depth: 100, wait: Duration::from_secs(60) };
    let cell = front.deploy("sleep", &guest("sleep"), one_at_a_time(patient)).await;
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let request = front.client().get("sleep", "/?ms=20");
        requests.spawn(async move { request.send().await.expect("an answer").status() });
    }
    while let Some(status) = requests.join_next().await {
        assert_eq!(status.expect("no panic"), 200);
        let view = cell.view();
        assert!(view.tasks.len() <= 1 && view.in_flight <= 1, "{view:?}");
    }
    let lines = front.access_lines(10).await;
    let waited = lines.iter().filter(|line| line["wait_us"].as_u64() > Some(1_000)).count();
    assert!(waited >= 9, "{waited} of 10 waited");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_full_refuses_with_429() {
    let front = Front::start().await;
    let short = QueueBounds { depth: 3, wait: Duration::from_secs(60) };
    let cell = front.deploy("sleep", &guest("sleep"), one_at_a_time(short)).await;
    let get = |ms: u32| front.client().get("sleep", &format!("/?ms={ms}"));
    // The service is awake, and busy.
    assert_eq!(get(0).send().await.expect("an answer").status(), 200);
    let mut requests = tokio::task::JoinSet::new();
    let mut ask = |ms| {
        let request = get(ms);
        requests.spawn(async move { request.send().await.expect("an answer") });
    };
    ask(100_000);
    eventually("the task is busy", || cell.view().in_flight == 1).await;
    (0..3).for_each(|_| ask(0));
    eventually("the queue is full", || cell.view().waiting == 3).await;
    let refused = get(0).send().await.expect("an answer");
    assert_eq!(error_of(&refused), (429, "at-maximum"));
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(cell.view().waiting, 3, "the others keep their places");
    requests.abort_all();
    eventually("everybody has left", || cell.view().waiting + cell.view().in_flight == 0).await;
    assert_eq!(get(0).send().await.expect("an answer").status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_waited_as_long_as_it_may_is_refused() {
    let front = Front::start().await;
    let hasty = QueueBounds { depth: 100, wait: Duration::from_millis(300) };
    let cell = front.deploy("sleep", &guest("sleep"), one_at_a_time(hasty)).await;
    let mut busy = Raw::connect(front.address).await;
    busy.send("GET /?ms=100000 HTTP/1.1\r\nhost: sleep.test\r\n\r\n").await;
    eventually("the task is busy", || cell.view().in_flight == 1).await;
    let refused = front.client().get("sleep", "/").send().await.expect("an answer");
    assert_eq!(error_of(&refused), (429, "at-maximum"));
    let id = refused.headers()["x-request-id"].to_str().expect("text").to_owned();
    let line = front.access_line(&id).await;
    assert_eq!((&line["code"], &line["task"]), (&"at-maximum".into(), &serde_json::Value::Null));
    assert_eq!(cell.view().waiting, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_gives_up_its_place() {
    let front = Front::start().await;
    let cell = front.deploy("sleep", &guest("sleep"), one_at_a_time(QueueBounds::default())).await;
    let connect = async |ms: u32| {
        let mut raw = Raw::connect(front.address).await;
        raw.send(format!("GET /?ms={ms} HTTP/1.1\r\nhost: sleep.test\r\n\r\n")).await;
        raw
    };
    let busy = connect(100_000).await;
    eventually("the task is busy", || cell.view().in_flight == 1).await;
    let first = connect(0).await;
    eventually("one waits", || cell.view().waiting == 1).await;
    let mut second = connect(0).await;
    eventually("two wait", || cell.view().waiting == 2).await;
    drop(first);
    eventually("one has left", || cell.view().waiting == 1).await;
    drop(busy);
    assert_eq!(second.answer().await.expect("an answer").status, 200);
    let lines = front.access_lines(3).await;
    let left = lines.iter().filter(|line| line["code"] == "client-closed").count();
    assert_eq!(left, 2, "{lines:?}");
}

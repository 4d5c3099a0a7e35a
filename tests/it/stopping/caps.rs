//! Requests that outlive the end of their task, on the request path alone.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use wharf::model::{Code, Scale};
use wharf::proxy::ProxyConfig;
use wharf::runtime::{ResetPolicy, RevisionCell};

use crate::support::{Answer, End, Front, Raw, ServiceOptions, eventually, guest, within};

/// Guests that never end by themselves: before their head, in their body, and computing.
const ENDLESS: [(&str, &str, &str); 3] = [
    ("hang", "never-respond", "/hang"),
    ("half", "half-response", "/stall"),
    ("burn", "burn-fuel", "/"),
];

fn endless(drain: Duration) -> ServiceOptions {
    let mut options = ServiceOptions { drain, ..ServiceOptions::default() };
    options.limits.timeout = Duration::from_secs(3_600);
    options.limits.fuel = u64::MAX / 2;
    options.limits.concurrency = 1;
    options.scale = Scale { min: 0, max: 3, idle: Duration::from_secs(60) };
    options
}

async fn send(front: &Front, service: &str, path: &str) -> Raw {
    let mut raw = Raw::connect(front.address).await;
    let id = format!("x-request-id: {service}\r\n\r\n");
    raw.send(format!("GET {path} HTTP/1.1\r\nhost: {service}.test\r\n{id}")).await;
    raw
}

async fn ask(front: &Front, service: &str, path: &str) -> JoinHandle<Option<Answer>> {
    let mut raw = send(front, service, path).await;
    tokio::spawn(async move { raw.answer().await })
}

/// A guest that never ends is asked, `end` takes its task away, and the client learns of it.
async fn is_stopped(end: impl AsyncFn(&Front, &Arc<RevisionCell>, &[u8], ServiceOptions)) {
    let front = Front::start().await;
    for (service, component, path) in ENDLESS {
        let (wasm, options) = (guest(component), endless(Duration::from_millis(200)));
        let cell = front.deploy(service, &wasm, options.clone()).await;
        let mut raw = send(&front, service, path).await;
        eventually("the guest runs", || cell.view().in_flight == 1).await;
        let begun = if service == "half" { raw.head().await } else { None };
        end(&front, &cell, &wasm, options).await;
        within("nothing is in flight", cell.drained()).await;
        let line = front.access_line(service).await;
        assert_eq!(line["code"], "drained", "{service}");
        match begun {
            Some(head) => {
                assert_eq!((head.status, head.header("content-length")), (200, Some("1000")));
                assert_eq!(raw.take(1_000).await, None, "the body breaks off");
            }
            None => {
                let answer = raw.answer().await.expect("an answer");
                assert_eq!((answer.status, answer.header("wharf-error")), (503, Some("drained")));
                assert_eq!(answer.header("retry-after"), Some("1"));
            }
        }
        assert_eq!(front.outcomes(service), [(Code::Drained, 1)]);
        eventually("the instance is gone", || front.runtime.engine().live_instances() == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_stops_what_outlives_the_drain() {
    is_stopped(async |front, cell, wasm, options| {
        let next = front.prepare("next", wasm, options).await;
        cell.deploy(Arc::new(next), None);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_stops_what_outlives_the_drain() {
    is_stopped(async |_, cell, _, _| cell.withdraw()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_time_at_all_stops_requests_at_once() {
    is_stopped(async |front, cell, wasm, options| {
        let next = ServiceOptions { drain: Duration::ZERO, ..options };
        cell.deploy(Arc::new(front.prepare("next", wasm, next).await), None);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scale_in_stops_the_requests_of_the_tasks_that_go() {
    let front = Front::start().await;
    let (wasm, options) = (guest("never-respond"), endless(Duration::from_millis(200)));
    let cell = front.deploy("hang", &wasm, options.clone()).await;
    let mut asked = Vec::new();
    for count in 1..=3 {
        asked.push(ask(&front, "hang", "/hang").await);
        eventually("the guest runs", || cell.view().in_flight == count).await;
    }
    let fewer = ServiceOptions { scale: Scale { max: 1, ..options.scale }, ..options };
    cell.rescale(Arc::new(front.prepare("hang", &wasm, fewer).await));
    eventually("two are stopped", || cell.view().in_flight == 1).await;
    eventually("two are told", || asked.iter().filter(|one| one.is_finished()).count() == 2).await;
    assert_eq!(front.outcomes("hang"), [(Code::Drained, 2)], "the task that stays goes on");
    cell.withdraw();
    within("nothing is in flight", cell.drained()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_in_time_is_whole() {
    let front = Front::start().await;
    let cell = front.deploy("sleep", &guest("sleep"), endless(Duration::from_secs(60))).await;
    let asked = ask(&front, "sleep", "/?ms=1000").await;
    eventually("the guest runs", || cell.view().in_flight == 1).await;
    cell.withdraw();
    let answer = asked.await.expect("no panic").expect("an answer");
    assert_eq!((answer.status, answer.end), (200, End::Whole));
    within("nothing is in flight", cell.drained()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_cuts_the_rest_off_and_says_so() {
    let config = ProxyConfig { drain: Duration::from_millis(300), ..ProxyConfig::default() };
    let mut front = Front::start_with(config, ResetPolicy::Auto).await;
    let mut asked = Vec::new();
    for (service, component, path) in ENDLESS {
        let cell = front.deploy(service, &guest(component), endless(Duration::MAX)).await;
        asked.push(ask(&front, service, path).await);
        eventually("the guest runs", || cell.view().in_flight == 1).await;
    }
    // One that goes already when the node is told to stop.
    let cell = front.deploy("gone", &guest("never-respond"), endless(Duration::MAX)).await;
    asked.push(ask(&front, "gone", "/hang").await);
    eventually("the guest runs", || cell.view().in_flight == 1).await;
    cell.withdraw();
    front.stop().await;
    let mut answers = Vec::new();
    for asked in asked {
        let answer = asked.await.expect("no panic").expect("an answer");
        answers.push((answer.status, answer.end));
    }
    for service in ["hang", "half", "burn", "gone"] {
        assert_eq!(front.access_line(service).await["code"], "drained", "{service}");
    }
    let is_cut = |answer: &_| matches!(answer, (503, End::Whole) | (200, End::Cut));
    assert!(answers.iter().all(is_cut), "{answers:?}");
}

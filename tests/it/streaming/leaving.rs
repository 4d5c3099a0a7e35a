//! A client that leaves stops its guest, wherever the request is.

use std::time::Duration;

use super::patient;
use crate::support::{Front, H2, Raw, eventually, guest};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_an_endless_body_stops_its_guest() {
    let front = Front::start().await;
    let cell = front.deploy("half", &guest("half-response"), patient(|_| {})).await;
    let mut raw = Raw::connect(front.address).await;
    raw.send("GET /long HTTP/1.1\r\nhost: half.test\r\nx-request-id: h1\r\n\r\n").await;
    assert_eq!(raw.head().await.expect("a head").status, 200);
    assert_eq!(cell.view().in_flight, 1);
    drop(raw);
    eventually("the guest is stopped", || cell.view().in_flight == 0).await;
    let mut client = H2::connect(front.address).await;
    let response = client.get("half", "/long").await.expect("a head");
    assert_eq!(cell.view().in_flight, 1);
    drop(response);
    eventually("the guest is stopped", || cell.view().in_flight == 0).await;
    for line in front.access_lines(2).await {
        assert_eq!(line["code"], "client-closed");
        assert!(line["fuel"].as_u64().is_some_and(|fuel| fuel > 0), "{line}");
        assert!(line["bytes_out"].as_u64().is_some_and(|bytes| bytes > 0), "{line}");
        assert!(line["peak_memory_bytes"].as_u64().is_some_and(|peak| peak > 0), "{line}");
    }
    eventually("the instance is gone", || front.runtime.engine().live_instances() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_before_the_head_stops_its_guest() {
    let front = Front::start().await;
    let hang = front.deploy("hang", &guest("never-respond"), patient(|_| {})).await;
    let burn = front.deploy("burn", &guest("burn-fuel"), patient(|_| {})).await;
    let sleep = front.deploy("sleep", &guest("sleep"), patient(|_| {})).await;
    for (cell, path) in [(&hang, "/hang"), (&burn, "/"), (&sleep, "/?ms=100000")] {
        let mut raw = Raw::connect(front.address).await;
        raw.send(format!("GET {path} HTTP/1.1\r\nhost: {}.test\r\n\r\n", cell.service())).await;
        eventually("the guest runs", || cell.view().in_flight == 1).await;
        drop(raw);
        eventually("the guest is stopped", || cell.view().in_flight == 0).await;
        let mut client = H2::connect(front.address).await;
        let (name, path) = (cell.service().to_string(), path.to_owned());
        let request = tokio::spawn(async move { client.get(&name, &path).await.map(drop) });
        eventually("the guest runs", || cell.view().in_flight == 1).await;
        request.abort();
        eventually("the guest is stopped", || cell.view().in_flight == 0).await;
    }
    for line in front.access_lines(6).await {
        assert_eq!(line["code"], "client-closed", "{line}");
    }
    eventually("no instance is left", || front.runtime.engine().live_instances() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_within_its_own_body_stops_its_guest() {
    let front = Front::start().await;
    let cell = front.deploy("echo", &guest("echo"), patient(|_| {})).await;
    let mut raw = Raw::connect(front.address).await;
    let head = "POST / HTTP/1.1\r\nhost: echo.test\r\nx-request-id: half\r\n";
    raw.send(format!("{head}content-length: 100\r\n\r\nhalf")).await;
    eventually("the guest runs", || cell.view().in_flight == 1).await;
    drop(raw);
    eventually("the guest is stopped", || cell.view().in_flight == 0).await;
    let line = front.access_line("half").await;
    assert!(line["code"] == "client-closed" || line["code"] == "bad-request", "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_with_more_to_say_is_stopped_by_the_timeout_at_last() {
    let front = Front::start().await;
    let change = |limits: &mut wharf::model::Limits| limits.timeout = Duration::from_secs(1);
    let cell = front.deploy("hang", &guest("never-respond"), patient(change)).await;
    let pipelined = "GET /hang HTTP/1.1\r\nhost: hang.test\r\n\r\n".repeat(2);
    let unread = "POST /hang HTTP/1.1\r\nhost: hang.test\r\ncontent-length: 99\r\n\r\nx".to_owned();
    for request in [pipelined, unread] {
        let mut raw = Raw::connect(front.address).await;
        raw.send(request).await;
        eventually("the guest runs", || cell.view().in_flight == 1).await;
        drop(raw);
        eventually("the guest is stopped", || cell.view().in_flight == 0).await;
    }
    // hyper does not look for the end of a connection while bytes of it are unread.
    for line in front.access_lines(2).await {
        assert!(line["code"] == "request-timeout" || line["code"] == "client-closed", "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_may_go_on_after_its_response() {
    let front = Front::start().await;
    front.deploy("flood", &guest("flood-stdout"), patient(|_| {})).await;
    // Hundreds that come and go at once leave nothing behind.
    let client = front.client();
    let mut requests = tokio::task::JoinSet::new();
    for n in 0..100 {
        let client = client.clone();
        requests.spawn(async move {
            let request = client.get("flood", "/control").send();
            match n % 2 {
                0 => drop(tokio::time::timeout(Duration::from_millis(n), request).await),
                _ => assert_eq!(request.await.expect("an answer").status(), 200),
            }
        });
    }
    while let Some(done) = requests.join_next().await {
        done.expect("no panic");
    }
    eventually("no instance is left", || front.runtime.engine().live_instances() == 0).await;
    assert_eq!(front.runtime.memory().used(), 0);
}

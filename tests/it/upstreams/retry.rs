//! What is sent again, and what is not.

use std::sync::atomic::Ordering;

use super::*;
use crate::support::{Origin, Raw, crashing, dead_address, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_costs_no_request() {
    let origin = Origin::start("alive").await;
    let node = node(&[dead_address().await, origin.address], "");
    for n in 0..20 {
        let client = crate::support::http_client();
        let post = client.post(format!("http://{}/echo", node.http)).header("host", "up.test");
        let answer = post.body(format!("body {n}")).send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.text().await.expect("a body"), format!("body {n}"));
    }
    assert!(node.describe("up")["retries"].as_u64() > Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_safe_is_sent_twice() {
    let origin = Origin::start("alive").await;
    let (address, serving) = crashing().await;
    let node = node(&[address, origin.address], "eject = { failures = 0 }");
    for _ in 0..10 {
        assert_eq!(node.get("up.test", "/").await, (200, "alive".to_owned()));
    }
    let mut statuses = std::collections::BTreeSet::new();
    for _ in 0..40 {
        let mut raw = Raw::connect(node.http).await;
        raw.send("POST /size HTTP/1.1\r\nhost: up.test\r\ncontent-length: 2\r\n\r\nhi").await;
        let answer = raw.answer().await.expect("an answer");
        if answer.status == 502 {
            assert_eq!(answer.header("wharf-error"), Some("upstream-failed"));
        }
        statuses.insert(answer.status);
    }
    assert_eq!(statuses.into_iter().collect::<Vec<_>>(), [200, 502], "a POST is not repeated");
    serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_not_answered_with_more_load() {
    let (address, serving) = crashing().await;
    let lines = "eject = { failures = 0 }\nretry = { attempts = 5, budget = 10 }";
    let node = node(&[address], lines);
    for _ in 0..100 {
        let (status, text) = node.get("up.test", "/").await;
        assert_eq!(status, 502, "{text}");
        assert!(text.contains("upstream-failed"), "{text}");
    }
    let retries = node.describe("up")["retries"].as_u64().expect("a count");
    let text = crate::support::http_client().get(node.api_url("/metrics")).send().await;
    let text = text.expect("metrics").text().await.expect("text");
    assert!(text.contains(&format!("wharf_retries_total{{service=\"up\"}} {retries}\n")), "{text}");
    assert!((10..=20).contains(&retries), "10 that are free and 10 % of 100: {retries}");
    serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_restarts_loses_no_request() {
    let origin = Origin::start("before").await;
    let node = node(&[origin.address], "");
    let mut raw = Raw::connect(node.http).await;
    raw.send("GET / HTTP/1.1\r\nhost: up.test\r\n\r\n").await;
    assert_eq!(raw.answer().await.expect("an answer").text(), "before");
    let address = origin.address;
    drop(origin);
    // Its port is free once its last connection is gone.
    let after = loop {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        if tokio::net::TcpSocket::new_v4().is_ok() {
            break Origin::start_on("after", address).await;
        }
    };
    raw.send("POST /size HTTP/1.1\r\nhost: up.test\r\ncontent-length: 2\r\n\r\nhi").await;
    let answer = raw.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, "2"));
    assert_eq!(after.requests(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_reached_and_what_is_slow_are_told_apart() {
    let origin = Origin::start("slow").await;
    let node = node(&[dead_address().await], "");
    let (status, text) = node.get("up.test", "/").await;
    assert_eq!(status, 502, "{text}");
    assert!(text.contains("upstream-unreachable"), "{text}");
    node.apply(&manifest(&[origin.address], "timeout = \"200ms\""));
    let (status, text) = node.get("up.test", "/sleep/5000").await;
    assert_eq!(status, 504, "{text}");
    assert!(text.contains("upstream-timeout"), "{text}");
    assert_eq!(node.get("up.test", "/sleep/1").await, (200, "slow".to_owned()));
    assert_eq!(origin.requests(), 2, "a request in time is not sent twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_beyond_what_the_servers_may_have_are_refused() {
    let origin = Origin::start("one").await;
    let node = node(&[origin.address], "max_in_flight = 2");
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut raw = Raw::connect(node.http).await;
        raw.send("GET /sleep/60000 HTTP/1.1\r\nhost: up.test\r\n\r\n").await;
        held.push(raw);
    }
    eventually("both arrive", || origin.seen.requests.load(Ordering::Relaxed) == 2).await;
    let mut raw = Raw::connect(node.http).await;
    raw.send("GET / HTTP/1.1\r\nhost: up.test\r\n\r\n").await;
    let answer = raw.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.header("wharf-error")), (503, Some("upstream-busy")));
    assert!(answer.header("retry-after").is_some());
}

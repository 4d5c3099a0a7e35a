//! Methods, addresses, rates and sizes.

use serde_json::json;

use super::{ask, front, outcome, rule};
use crate::support::Raw;

const HOST: &str = "host: echo.test\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_are_refused_with_those_that_there_are() {
    let front = front(json!({ "methods": ["GET", "PURGE"] })).await;
    for method in ["GET", "HEAD", "PURGE"] {
        assert_eq!(ask(front.address, method, "", "").await.status, 200, "{method}");
    }
    for method in ["POST", "OPTIONS", "get"] {
        let answer = ask(front.address, method, "", "").await;
        assert_eq!(outcome(&answer), (405, "method-not-allowed"), "{method}");
        assert_eq!(answer.header("allow"), Some("GET, PURGE, HEAD"), "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_known_by_where_they_really_come_from() {
    let rules = json!({ "allow": ["10.0.0.0/8", "2001:db8::/32"], "deny": ["10.1.0.0/16"] });
    let front = front(rules).await;
    for client in ["10.2.3.4", "::ffff:10.2.3.4", "2001:db8::9", "8.8.8.8, 10.2.0.1"] {
        assert_eq!(ask(front.address, "GET", client, "").await.status, 200, "{client}");
    }
    let denied = ["10.1.2.3", "::ffff:10.1.2.3", "8.8.8.8", "2001:db9::1", "10.2.0.1, 8.8.8.8", ""];
    for client in denied {
        let answer = ask(front.address, "GET", client, "").await;
        assert_eq!(outcome(&answer), (403, "client-denied"), "{client}");
    }
    rule(&front, json!({ "deny": ["10.1.0.0/16"] }));
    assert_eq!(ask(front.address, "GET", "8.8.8.8", "").await.status, 200);
    assert_eq!(ask(front.address, "GET", "10.1.0.1", "").await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_have_their_own_rates_within_that_of_the_route() {
    let rate = |n: u32, by: &str| json!({ "requests": n, "per": "1h", "burst": n, "by": by });
    let front = front(json!({ "rate": [rate(2, "client"), rate(3, "route")] })).await;
    let policy = r#""client";q=2;w=3600, "route";q=3;w=3600"#;
    let first = ask(front.address, "GET", "10.0.0.1", "").await;
    assert_eq!((first.status, first.header("ratelimit-policy")), (200, Some(policy)));
    let said = first.header("ratelimit").unwrap_or_default();
    assert!(said.starts_with(r#""client";r=1;t="#) && said.contains(r#""route";r=2;t="#), "{said}");
    assert_eq!(ask(front.address, "GET", "10.0.0.1", "").await.status, 200);
    let third = ask(front.address, "GET", "10.0.0.1", "").await;
    assert_eq!(outcome(&third), (429, "rate-limited"));
    let wait: u64 = third.header("retry-after").expect("a time").parse().expect("seconds");
    assert!((1_700..=1_800).contains(&wait), "half an hour brings one back, said {wait}");
    assert!(third.header("ratelimit").is_some_and(|said| said.contains(r#""client";r=0;"#)));
    // What was refused has not counted for the route.
    assert_eq!(ask(front.address, "GET", "10.0.0.2", "").await.status, 200);
    let other = ask(front.address, "GET", "10.0.0.3", "").await;
    assert_eq!(outcome(&other), (429, "rate-limited"));
    assert!(other.header("ratelimit").is_some_and(|said| said.contains(r#""route";r=0;"#)));
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_held_to_the_route_and_to_the_task() {
    let front = front(json!({ "request_body": "8B" })).await;
    let mut raw = Raw::connect(front.address).await;
    raw.send(format!("POST / HTTP/1.1\r\n{HOST}content-length: 8\r\n\r\n12345678")).await;
    assert_eq!(raw.answer().await.expect("an answer").text(), "12345678");
    raw.send(format!("POST / HTTP/1.1\r\n{HOST}content-length: 9\r\n\r\n123456789")).await;
    assert_eq!(outcome(&raw.answer().await.expect("an answer")), (413, "body-too-large"));
    let mut raw = Raw::connect(front.address).await;
    let chunked = "transfer-encoding: chunked\r\nx-request-id: long";
    raw.send(format!("POST / HTTP/1.1\r\n{HOST}{chunked}\r\n\r\n9\r\n123456789\r\n0\r\n\r\n"))
        .await;
    raw.answer().await.expect("an answer");
    assert_eq!(front.access_line("long").await["code"], "body-too-large");
}

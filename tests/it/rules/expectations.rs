//! `Expect: 100-continue`: a body is asked for when somebody reads it, and only then.

use serde_json::json;

use super::{front, outcome};
use crate::support::{Front, Raw, ServiceOptions, guest};

async fn expecting(front: &Front, host: &str, fields: &str) -> Raw {
    let mut raw = Raw::connect(front.address).await;
    raw.send(format!("POST / HTTP/1.1\r\nhost: {host}.test\r\n{fields}\r\n")).await;
    raw
}

const BODY_OF_FOUR: &str = "content-length: 4\r\nexpect: 100-continue\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_refused_is_not_asked_for_a_body() {
    let rate = json!({ "requests": 1, "per": "1h", "burst": 1, "by": "route" });
    let front = front(json!({ "request_body": "4B", "methods": ["POST"], "rate": [rate] })).await;
    let mut raw = expecting(&front, "echo", "content-length: 5\r\nexpect: 100-continue\r\n").await;
    let answer = raw.answer().await.expect("an answer");
    assert_eq!(outcome(&answer), (413, "body-too-large"));
    let mut raw = Raw::connect(front.address).await;
    raw.send(format!("PUT / HTTP/1.1\r\nhost: echo.test\r\n{BODY_OF_FOUR}\r\n")).await;
    let answer = raw.answer().await.expect("an answer");
    assert_eq!(outcome(&answer), (405, "method-not-allowed"));
    let mut raw = expecting(&front, "echo", BODY_OF_FOUR).await;
    assert_eq!(raw.answer().await.expect("an interim answer").status, 100);
    raw.send("body").await;
    assert_eq!(raw.answer().await.expect("an answer").text(), "body");
    let mut raw = expecting(&front, "echo", BODY_OF_FOUR).await;
    assert_eq!(outcome(&raw.answer().await.expect("an answer")), (429, "rate-limited"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_meet_is_said_so() {
    let front = front(json!({})).await;
    for expect in ["200-ok", "100-continue, more", ""] {
        let mut raw = expecting(&front, "echo", &format!("expect: {expect}\r\n")).await;
        let answer = raw.answer().await.expect("an answer");
        assert_eq!(outcome(&answer), (417, "expectation-failed"), "{expect}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_expectation_is_met_here_and_not_passed_on() {
    let front = front(json!({})).await;
    front.deploy("env", &guest("env"), ServiceOptions::default()).await;
    // HTTP/1.0 knows no interim answers (RFC 9110 §10.1.1).
    let mut raw = Raw::connect(front.address).await;
    raw.send(format!("POST / HTTP/1.0\r\nhost: echo.test\r\n{BODY_OF_FOUR}\r\nbody")).await;
    let answer = raw.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, "body"));
    // A guest that does not read its body answers without asking for it.
    let mut raw = Raw::connect(front.address).await;
    let head = "POST /?headers=1 HTTP/1.1\r\nhost: env.test\r\n";
    raw.send(format!("{head}{BODY_OF_FOUR}\r\n")).await;
    let answer = raw.answer().await.expect("an answer");
    assert!(answer.text().contains("x-forwarded-for:"), "{answer:?}");
    assert!(!answer.text().contains("expect:"), "{}", answer.text());
}

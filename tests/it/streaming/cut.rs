//! A response that did not end well never looks as if it had.

use std::time::Duration;

use http_body_util::BodyExt;
use wharf::model::{ByteSize, Limits};

use super::patient;
use crate::support::{End, Front, H2, Raw, guest, within};

/// Asks for a response that is cut after its head; checks that every protocol tells, and returns
/// how many body bytes came over HTTP/1.1.
async fn is_cut(path: &str, code: &str, change: impl FnOnce(&mut Limits)) -> usize {
    let front = Front::start().await;
    front.deploy("half", &guest("half-response"), patient(change)).await;
    let mut raw = Raw::connect(front.address).await;
    let head = format!("GET {path} HTTP/1.1\r\nhost: half.test\r\nx-request-id: one\r\n\r\n");
    raw.send(head).await;
    let answer = raw.answer().await.expect("a head");
    assert_eq!((answer.status, answer.end), (200, End::Cut), "HTTP/1.1 {path}");
    let line = front.access_line("one").await;
    assert_eq!((&line["code"], &line["status"]), (&code.into(), &200.into()), "{path}");

    let mut client = H2::connect(front.address).await;
    let response = client.get("half", path).await.expect("a head");
    assert_eq!(response.status(), 200);
    let body = within("the body ends", response.into_body().collect()).await;
    let error = body.expect_err("the stream is reset");
    assert!(std::error::Error::source(&error).is_some(), "{error:?}");
    // The other streams of the connection are not touched.
    let again = client.get("half", "/big?mib=0").await.expect("an answer");
    assert_eq!(again.status(), 200);

    // Here only the connection's end can tell, so it has to be a reset.
    let mut raw = Raw::connect(front.address).await;
    raw.send(format!("GET {path} HTTP/1.0\r\nhost: half.test\r\n\r\n")).await;
    let answer_1_0 = raw.answer().await.expect("a head");
    assert_eq!((answer_1_0.status, answer_1_0.end), (200, End::Cut), "HTTP/1.0 {path}");
    answer.body.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_stalls_is_cut_by_its_timeout() {
    let change = |limits: &mut Limits| limits.timeout = Duration::from_millis(700);
    assert_eq!(is_cut("/stall", "request-timeout", change).await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_body_is_cut_by_the_fuel() {
    // What a good body of 2 MiB costs is enough for some of an endless one.
    let front = Front::start().await;
    front.deploy("half", &guest("half-response"), patient(|_| {})).await;
    let body = front.client().get("half", "/big?mib=2").send().await.expect("an answer");
    assert_eq!(body.bytes().await.expect("a body").len(), 2 << 20);
    let fuel = front.access_lines(1).await[0]["fuel"].as_u64().expect("a number");
    drop(front);
    let change = |limits: &mut Limits| limits.fuel = fuel;
    let received = is_cut("/long", "fuel-exhausted", change).await;
    assert!(received >= 64 << 10, "{received}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_body_is_cut_by_the_largest_response() {
    let change = |limits: &mut Limits| limits.response_body = ByteSize::mib(1);
    let received = is_cut("/long", "response-too-large", change).await;
    assert!(received <= 1 << 20, "{received}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_body_is_cut_by_the_timeout() {
    let change = |limits: &mut Limits| {
        limits.timeout = Duration::from_millis(500);
        limits.response_body = ByteSize::gib(100);
    };
    assert!(is_cut("/long", "request-timeout", change).await > 64 << 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_is_cut_early_is_an_error_instead() {
    let front = Front::start().await;
    let small = patient(|limits| limits.response_body = ByteSize::kib(32));
    front.deploy("half", &guest("half-response"), small).await;
    front.deploy("trap", &guest("trap"), patient(|_| {})).await;
    for (service, path, code) in [
        ("half", "/big?mib=1", "response-too-large"),
        ("half", "/trap", "guest-trapped"),
        ("half", "/finish", "response-incomplete"),
        ("trap", "/after-head", "guest-trapped"),
    ] {
        let mut raw = Raw::connect(front.address).await;
        raw.send(format!(
            "GET {path} HTTP/1.1\r\nhost: {service}.test\r\nx-request-id: {service}{}\r\n\r\n",
            path.len()
        ))
        .await;
        let answer = raw.answer().await.expect("an answer");
        // On a machine that is busy the head may have left before the guest failed.
        match answer.status {
            500 => assert_eq!(answer.header("wharf-error"), Some(code), "{path}"),
            _ => assert_eq!((answer.status, answer.end), (200, End::Cut), "{path}"),
        }
        let line = front.access_line(&format!("{service}{}", path.len())).await;
        assert_eq!(line["code"], code, "{path}");
    }
}

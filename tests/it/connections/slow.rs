//! Clients that take their time, and clients that are many.

use std::time::Duration;

use wharf::proxy::ProxyConfig;

use super::front;
use crate::support::{Front, Raw, eventually, within};

const HELLO: &str = "GET / HTTP/1.1\r\nhost: hello.test\r\n\r\n";

fn hasty(config: &mut ProxyConfig) {
    config.head_timeout = Duration::from_millis(400);
    config.idle_timeout = Duration::from_millis(600);
}

/// Sends the bytes one by one until the connection is closed, at most for 20 seconds.
async fn trickle(front: &Front, bytes: impl Iterator<Item = u8>) {
    let mut stream = Raw::connect(front.address).await.into_stream();
    let mut sent = 0;
    for byte in bytes.take(400) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let written = stream.try_write(&[byte]);
        let mut one = [0; 64];
        match stream.try_read(&mut one) {
            _ if written.is_err() => return,
            Ok(0) => return,
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return,
            // Some answer, such as 408: the close follows.
            Ok(_) | Err(_) => sent += 1,
        }
        within("it can be written to", stream.writable()).await.expect("a socket");
    }
    let _ = tokio::io::AsyncWriteExt::shutdown(&mut stream).await;
    panic!("{sent} bytes were waited for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_says_nothing_is_closed() {
    let front = front(hasty).await;
    assert!(Raw::connect(front.address).await.is_closed().await);
    let mut raw = Raw::connect(front.address).await;
    raw.send("GET / HT").await;
    raw.rest().await;
    // It may turn out to be HTTP/2, and then stops.
    let mut raw = Raw::connect(front.address).await;
    raw.send("PRI * HTTP/2.0\r\n\r\n").await;
    raw.rest().await;
    // An idle connection is closed as well.
    let mut raw = Raw::connect(front.address).await;
    raw.send(HELLO).await;
    assert_eq!(raw.answer().await.expect("an answer").status, 200);
    assert!(raw.is_closed().await);
    assert_eq!(front.access_lines(1).await.len(), 1, "none of the others was a request");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_trickles_in_is_not_waited_for() {
    let front = front(hasty).await;
    let endless = b"GET / HTTP/1.1\r\nx: ".iter().copied().chain(std::iter::repeat(b'x'));
    trickle(&front, endless).await;
    trickle(&front, b"PRI * HTTP/2.0\r\n\r\nSM\r".iter().copied().cycle()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_stops_arriving_is_a_body_timeout() {
    let front = front(|config| config.idle_timeout = Duration::from_millis(400)).await;
    let head = "POST / HTTP/1.1\r\nhost: echo.test\r\nx-request-id: slow\r\n";
    let mut raw = Raw::connect(front.address).await;
    raw.send(format!("{head}content-length: 10\r\n\r\n")).await;
    if let Some(answer) = raw.answer().await {
        match answer.status {
            408 => assert_eq!(answer.header("wharf-error"), Some("body-timeout")),
            status => assert_eq!(status, 200, "the guest had begun its answer"),
        }
    }
    raw.rest().await;
    assert_eq!(front.access_line("slow").await["code"], "body-timeout");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_keeps_arriving_is_waited_for() {
    let front = front(|config| config.idle_timeout = Duration::from_millis(1_500)).await;
    let mut raw = Raw::connect(front.address).await;
    raw.send("POST / HTTP/1.1\r\nhost: echo.test\r\ncontent-length: 8\r\n\r\n").await;
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        raw.send("x").await;
    }
    let answer = raw.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, "xxxxxxxx"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_take_its_response_is_closed() {
    let front = front(hasty).await;
    let mut raw = Raw::connect_narrow(front.address).await;
    raw.send("GET /long HTTP/1.1\r\nhost: half.test\r\nx-request-id: full\r\n\r\n").await;
    assert_eq!(raw.head().await.expect("a head").status, 200);
    let line = front.access_line("full").await;
    assert_eq!(line["code"], "client-stalled");
    within("the connection ends", raw.rest()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_bound_wait_for_a_place() {
    let front = front(|config| config.max_connections = 2).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut raw = Raw::connect(front.address).await;
        raw.send(HELLO).await;
        assert_eq!(raw.answer().await.expect("an answer").status, 200);
        open.push(raw);
    }
    let mut third = Raw::connect(front.address).await;
    third.send(HELLO).await;
    let early = tokio::time::timeout(Duration::from_millis(300), third.answer()).await;
    assert!(early.is_err(), "there is no place for it yet");
    open.pop();
    assert_eq!(third.answer().await.expect("an answer").status, 200);
    // The one that was open all along is not touched.
    open[0].send(HELLO).await;
    assert_eq!(open[0].answer().await.expect("an answer").status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_serves_one_request_after_the_other() {
    let front = front(|_| {}).await;
    let mut raw = Raw::connect(front.address).await;
    for n in 0..20 {
        let body = "x".repeat(n * 1_000);
        let length = body.len();
        let head = "POST / HTTP/1.1\r\nhost: echo.test\r\ncontent-length";
        raw.send(format!("{head}: {length}\r\n\r\n{body}")).await;
        assert_eq!(raw.answer().await.expect("an answer").body.len(), length);
    }
    let lines = front.access_lines(20).await;
    assert!(lines.iter().all(|line| line["client"] == lines[0]["client"]), "one connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_come_and_go_leave_nothing_behind() {
    let front = front(|config| config.max_connections = 10).await;
    for n in 0..200 {
        let mut raw = Raw::connect(front.address).await;
        match n % 4 {
            0 => raw.send("GET / HT").await,
            1 => raw.send("\0\x01\x02\r\n\r\n").await,
            2 => raw.send("POST / HTTP/1.1\r\nhost: echo.test\r\ncontent-length: 9\r\n\r\nx").await,
            _ => {}
        }
    }
    let answer = within("a place", front.client().get("hello", "/").send()).await;
    assert_eq!(answer.expect("an answer").status(), 200);
    eventually("no instance is left", || front.runtime.engine().live_instances() == 0).await;
}

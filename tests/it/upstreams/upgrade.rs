//! WebSockets, and other protocols that begin as HTTP.

use super::*;
use crate::support::{Front, Origin, Raw, ServiceOptions, eventually, guest, saying};

const ASK: &str = "HTTP/1.1\r\nhost: up.test\r\nconnection: keep-alive, Upgrade\r\n\
                   upgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_goes_through_to_the_server() {
    let origin = Origin::start("one").await;
    let node = node(&[origin.address], "");
    let mut raw = Raw::connect(node.http).await;
    raw.send(format!("GET /switch {ASK}")).await;
    let head = raw.head().await.expect("a head");
    assert_eq!((head.status, head.header("upgrade")), (101, Some("websocket")));
    assert_eq!(head.header("connection"), Some("upgrade"));
    assert_eq!(raw.take(6).await.as_deref(), Some(&b"hello "[..]));
    raw.send("to you").await;
    assert_eq!(raw.take(6).await.as_deref(), Some(&b"TO YOU"[..]));
    assert_eq!(state(&node, origin.address)["in_flight"], 1, "it counts while it is open");
    raw.finish().await;
    assert!(raw.is_closed().await);
    eventually("it is counted", || node.describe("up")["stats"]["by_code"]["ok"] == 1).await;
    assert_eq!(state(&node, origin.address)["in_flight"], 0);
    let stats = node.describe("up")["stats"].clone();
    assert_eq!((stats["bytes_in"].as_u64(), stats["bytes_out"].as_u64()), (Some(6), Some(12)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_may_refuse_to_switch() {
    let origin = Origin::start("one").await;
    let node = node(&[origin.address], "");
    let mut raw = Raw::connect(node.http).await;
    for _ in 0..2 {
        raw.send(format!("GET /plain {ASK}")).await;
        assert_eq!(raw.answer().await.expect("an answer").text(), "one");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_switches_to_what_the_client_has_offered() {
    for (chosen, status, told) in [
        ("upgrade: WebSocket\r\n", 101, Some("WebSocket")),
        ("upgrade: other\r\n", 502, None),
        ("", 502, None),
    ] {
        let reply =
            format!("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n{chosen}\r\nbytes");
        let (address, serving) = saying(reply).await;
        let node = node(&[address], "");
        let mut raw = Raw::connect(node.http).await;
        raw.send(format!("GET / {ASK}")).await;
        let head = raw.head().await.expect("a head");
        assert_eq!((head.status, head.header("upgrade")), (status, told), "{chosen}");
        eventually("it is let go", || {
            state(&node, address)["in_flight"] == u32::from(status == 101)
        })
        .await;
        serving.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_that_is_silent_is_closed() {
    let origin = Origin::start("one").await;
    let node = node(&[origin.address], "idle_timeout = \"300ms\"");
    let mut raw = Raw::connect(node.http).await;
    raw.send(format!("GET /switch {ASK}")).await;
    assert_eq!(raw.head().await.expect("a head").status, 101);
    assert_eq!(raw.take(6).await.as_deref(), Some(&b"hello "[..]));
    assert!(raw.is_closed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_cannot_take_a_websocket_and_nobody_wakes_for_it() {
    let front = Front::start().await;
    front.deploy("up", &guest("hello"), ServiceOptions::default()).await;
    let mut raw = Raw::connect(front.address).await;
    raw.send(format!("GET / {ASK}")).await;
    let answer = raw.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.header("wharf-error")), (501, Some("upgrade-unsupported")));
    raw.send("GET / HTTP/1.1\r\nhost: up.test\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n")
        .await;
    assert_eq!(raw.answer().await.expect("an answer").status, 200, "h2c is only an offer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_a_body_does_not_leave_http() {
    let origin = Origin::start("one").await;
    let node = node(&[origin.address], "");
    let mut raw = Raw::connect(node.http).await;
    let ask = "POST /switch HTTP/1.1\r\nhost: up.test\r\nconnection: upgrade\r\nupgrade: other\r\n";
    raw.send(format!("{ask}content-length: 2\r\n\r\nhi")).await;
    let answer = raw.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, "nothing was asked for"));
    eventually("it is let go", || state(&node, origin.address)["in_flight"] == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_is_not_offered_in_the_middle_of_things() {
    let origin = Origin::start("one").await;
    let node = node(&[origin.address], "");
    let mut raw = Raw::connect(node.http).await;
    for (offer, passes) in
        [("other", true), ("h2c", false), ("other,H2C", false), ("h2c , other", false)]
    {
        let head = "GET /headers HTTP/1.1\r\nhost: up.test\r\nconnection: upgrade\r\n";
        raw.send(format!("{head}upgrade: {offer}\r\n\r\n")).await;
        let text = raw.answer().await.expect("an answer").text();
        assert_eq!(text.contains("upgrade:"), passes, "{offer}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_http2_in_clear_text_is_offered_nothing_else() {
    let origin = Origin::start("grpc").await;
    let node = Node::start();
    let target = format!("target = \"h2c://{}\"", origin.address);
    node.apply(&format!("[upstream.up]\nroute = \"up.test/*\"\n{target}\n"));
    let mut raw = Raw::connect(node.http).await;
    raw.send(format!("GET /headers {ASK}")).await;
    let text = raw.answer().await.expect("an answer").text();
    assert!(text.contains("HTTP/2.0") && !text.contains("upgrade:"), "{text}");
}

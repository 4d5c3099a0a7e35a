//! HTTP/2 without TLS.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http_body_util::BodyExt;
use tokio::task::JoinSet;

use super::front;
use crate::support::frames::{
    CONTINUATION, DATA, Frames, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, WHOLE, field,
    frame,
};
use crate::support::{Front, H2, Raw, eventually, within};

async fn text(response: http::Response<hyper::body::Incoming>) -> String {
    let body = within("the body", response.into_body().collect()).await.expect("a body");
    String::from_utf8(body.to_bytes().to_vec()).expect("text")
}

/// What the server makes of a request with these fields, told by the access log.
async fn code_of(front: &Front, id: &str, fields: &[(&str, &str)]) -> serde_json::Value {
    let mut raw = Raw::connect(front.address).await;
    let mut block = Vec::new();
    for (name, value) in fields.iter().chain([&("x-request-id", id)]) {
        block.extend(field(name, value));
    }
    // Preface, empty settings, and headers that end the stream.
    let hello = frame(SETTINGS, 0, 0, &[]);
    raw.send([PREFACE, &hello, &frame(HEADERS, WHOLE, 1, &block)].concat()).await;
    front.access_line(id).await["code"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_one_connection_run_at_once() {
    let front = front(|_| {}).await;
    let client = H2::connect(front.address).await;
    let mut streams = JoinSet::new();
    for _ in 0..30 {
        let mut client = client.clone();
        streams.spawn(async move {
            let response = client.get("sleep", "/?ms=2000").await.expect("an answer");
            (response.status(), text(response).await)
        });
    }
    eventually("all run at once", || front.runtime.engine().live_instances() == 30).await;
    while let Some(answer) = streams.join_next().await {
        let (status, text) = answer.expect("no panic");
        assert_eq!((status.as_u16(), text.as_str()), (200, "slept 2000 ms\n"));
    }
    let lines = front.access_lines(30).await;
    assert!(lines.iter().all(|line| line["client"] == lines[0]["client"]), "one connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_are_spoken_on_one_port_and_answer_alike() {
    let front = front(|_| {}).await;
    let mut client = H2::connect(front.address).await;
    let response = client.get("hello", "/").await.expect("an answer");
    assert_eq!(response.version(), http::Version::HTTP_2);
    assert!(response.headers().contains_key("x-request-id"));
    assert_eq!(text(response).await, "Hello from Wharf!\n");
    let problem = client.get("nobody", "/").await.expect("an answer");
    assert_eq!(problem.status(), 404);
    assert_eq!(problem.headers()["wharf-error"], "no-route");
    assert!(text(problem).await.contains("\"code\":\"no-route\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_over_http_2_is_held_to_the_same_rules() {
    let front = front(|_| {}).await;
    let method = (":method", "GET");
    let scheme = (":scheme", "http");
    let authority = (":authority", "hello.test");
    let path = (":path", "/");
    let length = ("content-length", "0");
    for (id, fields, code) in [
        ("plain", vec![method, scheme, authority, path], "ok"),
        ("same", vec![method, scheme, authority, path, ("host", "hello.test")], "ok"),
        ("only-host", vec![method, scheme, path, ("host", "hello.test")], "ok"),
        ("none", vec![method, scheme, path], "bad-request"),
        ("differs", vec![method, scheme, authority, path, ("host", "evil.test")], "bad-request"),
        ("climbs", vec![method, scheme, authority, (":path", "/a/../b")], "bad-request"),
        ("star", vec![(":method", "OPTIONS"), scheme, authority, (":path", "*")], "bad-request"),
        ("port", vec![method, scheme, (":authority", "hello.test:x"), path], "bad-request"),
        ("lengths", vec![method, scheme, authority, path, length, length], "bad-request"),
        ("trace", vec![(":method", "TRACE"), scheme, authority, path], "method-not-allowed"),
        ("connect", vec![(":method", "CONNECT"), (":authority", "a:1")], "method-not-allowed"),
    ] {
        assert_eq!(code_of(&front, id, &fields).await, code, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_reset_at_once_leave_nothing_behind() {
    let front = front(|_| {}).await;
    let mut raw = Raw::connect(front.address).await;
    let mut bytes = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    let block = [
        field(":method", "GET"),
        field(":scheme", "http"),
        field(":authority", "sleep.test"),
        field(":path", "/?ms=300000"),
    ]
    .concat();
    for stream in (1..2_000_u32).step_by(2) {
        bytes.extend(frame(HEADERS, WHOLE, stream, &block));
        bytes.extend(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
    }
    raw.send(bytes).await;
    raw.finish().await;
    within("the connection ends", raw.rest()).await;
    eventually("no instance is left", || front.runtime.engine().live_instances() == 0).await;
    assert_eq!(front.runtime.memory().used(), 0);
    let mut client = H2::connect(front.address).await;
    assert_eq!(client.get("hello", "/").await.expect("an answer").status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_2_ends_in_a_goaway_or_a_close() {
    let front = front(|_| {}).await;
    let large: Vec<u8> = (0..200).flat_map(|_| field("x-fill", &"x".repeat(120))).collect();
    let connection_field = [
        field(":method", "GET"),
        field(":scheme", "http"),
        field(":authority", "hello.test"),
        field(":path", "/"),
        field("connection", "close"),
    ]
    .concat();
    for (what, frames) in [
        ("garbage", vec![0xff; 100]),
        ("a frame of 16 MiB", vec![0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]),
        ("data on a stream that is not open", frame(0, 0, 1, b"x")),
        ("headers that do not decode", frame(1, 0x5, 1, &[0xff; 40])),
        ("a header list without an end", frame(1, 0x1, 1, &large)),
        ("a field of HTTP/1", frame(1, 0x5, 1, &connection_field)),
    ] {
        let mut raw = Raw::connect(front.address).await;
        raw.send([PREFACE, &frame(SETTINGS, 0, 0, &[]), &frames].concat()).await;
        raw.finish().await;
        within(what, raw.rest()).await;
    }
    let mut client = H2::connect(front.address).await;
    assert_eq!(client.get("hello", "/").await.expect("an answer").status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_list_that_does_not_end_ends_its_connection() {
    let front = front(|_| {}).await;
    let mut client = Frames::connect(front.address, 0).await;
    let mut flood = frame(HEADERS, 0, 1, &field(":method", "GET"));
    for n in 0..20_000 {
        flood.extend(frame(CONTINUATION, 0, 1, &field("x-fill", &n.to_string())));
    }
    client.send(flood).await;
    // The client keeps its side open: whatever ends the connection is the server's doing.
    within("the connection ends", async { while client.next().await.is_some() {} }).await;
    assert_eq!(front.unparsed.http2.load(Relaxed), 1);
    let mut other = H2::connect(front.address).await;
    assert_eq!(other.get("hello", "/").await.expect("an answer").status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_list_that_unpacks_to_megabytes_reaches_no_guest() {
    let front = front(|_| {}).await;
    let mut client = Frames::connect(front.address, 1_000).await;
    // A field of 3,000 bytes for the table (RFC 7541 §6.2.1), then 8,000 mentions of it.
    let (name, length) = ("x-bomb", [0x7f, 0xb9, 0x16]);
    let value = "y".repeat(3_000);
    let pseudo =
        [(":method", "GET"), (":scheme", "http"), (":authority", "hello.test"), (":path", "/")];
    let mut block: Vec<u8> = pseudo.iter().flat_map(|(name, value)| field(name, value)).collect();
    block.extend([&[0x40, 6], name.as_bytes(), &length, value.as_bytes()].concat());
    block.extend([0xbe; 8_000]);
    client.send(frame(HEADERS, WHOLE, 1, &block)).await;
    client.next_of(GOAWAY).await;
    // The next request is the first that a guest sees.
    let mut other = H2::connect(front.address).await;
    assert_eq!(other.get("hello", "/").await.expect("an answer").status(), 200);
    let lines = front.access_lines(2).await;
    let methods: BTreeSet<_> = lines.iter().filter_map(|line| line["method"].as_str()).collect();
    assert_eq!(methods, BTreeSet::from(["-", "GET"]));
    assert_eq!(lines.len(), 2, "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_small_frames_keep_nobody_from_being_served() {
    let front = front(|_| {}).await;
    let mut clients = Vec::new();
    for flood in [frame(PING, 0, 0, &[7; 8]), frame(SETTINGS, 0, 0, &[]), frame(DATA, 0, 1, &[])] {
        let block = [
            field(":method", "POST"),
            field(":scheme", "http"),
            field(":authority", "echo.test"),
            field(":path", "/"),
        ];
        let begin =
            [PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(HEADERS, 0x4, 1, &block.concat())];
        let mut raw = Raw::connect_narrow(front.address).await;
        raw.send(begin.concat()).await;
        // Nobody reads the answers.
        raw.send_until_stuck(&flood.repeat(50_000), Duration::from_millis(300)).await;
        let mut other = H2::connect(front.address).await;
        assert_eq!(other.get("hello", "/").await.expect("an answer").status(), 200);
        clients.push(raw);
    }
    drop(clients);
    eventually("no instance is left", || front.runtime.engine().live_instances() == 0).await;
}

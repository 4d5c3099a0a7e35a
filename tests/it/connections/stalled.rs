//! HTTP/2 clients that take nothing, and HTTP/2 connections on which nothing happens.

use std::collections::BTreeSet;
use std::time::Duration;

use super::front;
use crate::support::frames::{DATA, Frames, GOAWAY, HEADERS, RST_STREAM};
use crate::support::{H2, eventually, within};

/// RFC 9113 §7.
const CANCEL: [u8; 4] = [0, 0, 0, 8];

/// Asks for a body that does not end, one that ends, one that is there as a whole, and a refusal.
async fn ask_for_all(client: &mut Frames, id: u32) {
    for (stream, service, path) in
        [(1, "half", "/long"), (3, "half", "/big?mib=1"), (5, "hello", "/"), (7, "nobody", "/")]
    {
        client.get(stream, service, path, &format!("{id}-{stream}")).await;
    }
}

/// Checks that exactly these streams are reset next.
async fn are_reset(client: &mut Frames, streams: impl IntoIterator<Item = u32>) {
    let mut open = BTreeSet::from_iter(streams);
    while !open.is_empty() {
        let reset = client.next_of(RST_STREAM).await;
        assert_eq!(reset.payload, CANCEL);
        assert!(open.remove(&reset.stream), "{reset:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_whose_window_stays_shut_are_reset_and_leave_nothing_behind() {
    let front = front(|config| config.idle_timeout = Duration::from_millis(500)).await;
    let mut client = Frames::connect(front.address, 0).await;
    ask_for_all(&mut client, 0).await;
    are_reset(&mut client, [1, 3, 5, 7]).await;
    // With a window for one byte, what is short is out of hyper's hands, and the rest is not.
    let mut other = Frames::connect(front.address, 1).await;
    ask_for_all(&mut other, 1).await;
    are_reset(&mut other, [1, 3]).await;
    for (id, code, status) in [
        ("0-1", "client-stalled", 200),
        ("0-3", "client-stalled", 200),
        ("0-5", "client-stalled", 200),
        ("0-7", "no-route", 404),
        ("1-1", "client-stalled", 200),
        ("1-3", "client-stalled", 200),
        ("1-5", "ok", 200),
        ("1-7", "no-route", 404),
    ] {
        let line = front.access_line(id).await;
        assert_eq!((&line["code"], &line["status"]), (&code.into(), &status.into()), "{line}");
    }
    eventually("no instance is left", || front.runtime.engine().live_instances() == 0).await;
    assert_eq!(front.runtime.memory().used(), 0);
    // The connection goes on, for whoever does take what is sent.
    client.get(9, "hello", "/", "late").await;
    client.open(9, 1_000).await;
    assert_eq!(client.next_of(DATA).await.payload, b"Hello from Wharf!\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_taken_slowly_is_not_reset() {
    let front = front(|config| config.idle_timeout = Duration::from_secs(2)).await;
    let mut client = Frames::connect(front.address, 0).await;
    client.get(1, "half", "/big?mib=1", "slow").await;
    client.next_of(HEADERS).await;
    client.open(0, 1 << 20).await;
    // Together several times as long as the client may pause.
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        client.open(1, 10_000).await;
        let mut taken = 0;
        while taken < 10_000 {
            taken += client.next_of(DATA).await.payload.len();
        }
    }
    client.open(1, 1 << 20).await;
    assert_eq!(front.access_line("slow").await["code"], "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_streams_is_told_to_go_and_then_closed() {
    let front = front(|config| config.http2_idle_timeout = Duration::from_millis(300)).await;
    let mut silent = Frames::connect(front.address, 0).await;
    let mut used = Frames::connect(front.address, 1_000).await;
    used.get(1, "hello", "/", "used").await;
    // h2 keeps what is left of this response, but nobody works on it any more.
    let mut stuck = Frames::connect(front.address, 1).await;
    stuck.get(1, "hello", "/", "stuck").await;
    for client in [&mut silent, &mut used, &mut stuck] {
        client.next_of(GOAWAY).await;
        let rest = async { while client.next().await.is_some() {} };
        within("the connection is closed", rest).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_with_a_stream_is_not_idle() {
    let front = front(|config| config.http2_idle_timeout = Duration::from_millis(200)).await;
    let mut client = H2::connect(front.address).await;
    let response = client.get("sleep", "/?ms=1500").await.expect("an answer");
    let body = http_body_util::BodyExt::collect(response.into_body());
    assert_eq!(within("the body", body).await.expect("a body").to_bytes(), "slept 1500 ms\n");
}

//! A node that stops lets its clients finish, within a bound.

use std::time::Duration;

use http_body_util::BodyExt;
use tokio::net::TcpStream;

use super::front;
use crate::support::{Answer, End, Front, H2, Raw, eventually, within};

async fn slow_request(front: &Front, ms: u32) -> tokio::task::JoinHandle<Option<Answer>> {
    let mut raw = Raw::connect(front.address).await;
    raw.send(format!("GET /?ms={ms} HTTP/1.1\r\nhost: sleep.test\r\n\r\n")).await;
    eventually("the guest runs", || front.runtime.engine().live_instances() > 0).await;
    tokio::spawn(async move {
        let answer = raw.answer().await;
        assert!(raw.is_closed().await);
        answer
    })
}

/// Whether the address takes no request any more.
async fn is_gone(front: &Front) -> bool {
    let Ok(stream) = within("an attempt", TcpStream::connect(front.address)).await else {
        return true;
    };
    drop(stream);
    let mut raw = Raw::connect(front.address).await;
    raw.send("GET / HTTP/1.1\r\nhost: hello.test\r\n\r\n").await;
    raw.answer().await.is_none()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_under_way_are_finished_and_others_refused() {
    let mut front = front(|_| {}).await;
    let mut idle = Raw::connect(front.address).await;
    idle.send("GET / HTTP/1.1\r\nhost: hello.test\r\n\r\n").await;
    assert_eq!(idle.answer().await.expect("an answer").status, 200);
    let slow = slow_request(&front, 1_500).await;
    front.shutdown.begin();
    assert!(idle.is_closed().await, "an idle connection is closed at once");
    within("nobody is let in any more", async {
        while std::net::TcpStream::connect(front.address).is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert!(!slow.is_finished(), "the request is still under way");
    let answer = slow.await.expect("no panic").expect("an answer");
    assert_eq!((answer.status, answer.end), (200, End::Whole));
    assert_eq!(answer.header("connection"), Some("close"));
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_just_connected_is_served_once_more() {
    let mut front = front(|_| {}).await;
    let mut fresh = Vec::new();
    for _ in 0..20 {
        fresh.push(Raw::connect(front.address).await);
    }
    front.shutdown.begin();
    for raw in &mut fresh {
        raw.send("GET / HTTP/1.1\r\nhost: hello.test\r\n\r\n").await;
    }
    for raw in &mut fresh {
        assert_eq!(raw.answer().await.expect("an answer").status, 200);
    }
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_under_way_are_finished() {
    let mut front = front(|_| {}).await;
    let mut client = H2::connect(front.address).await;
    let mut other = client.clone();
    let slow = tokio::spawn(async move {
        let response = client.get("sleep", "/?ms=1500").await.expect("an answer");
        within("the body", response.into_body().collect()).await.expect("a body").to_bytes()
    });
    eventually("the guest runs", || front.runtime.engine().live_instances() > 0).await;
    front.shutdown.begin();
    within("the connection takes no more streams", async {
        while other.get("hello", "/").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(slow.await.expect("no panic"), "slept 1500 ms\n");
    drop(other);
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_request_does_not_keep_a_node_from_stopping() {
    let mut front = front(|config| config.head_timeout = Duration::from_millis(500)).await;
    let mut halves = Vec::new();
    for half in ["", "GET / HT", "GET / HTTP/1.1\r\nhost: hello.test\r\n", "PRI * HTTP/2.0\r\n"] {
        let mut raw = Raw::connect(front.address).await;
        raw.send(half).await;
        halves.push(raw);
    }
    // They have been accepted when a later one has been served.
    let mut raw = Raw::connect(front.address).await;
    raw.send("GET / HTTP/1.1\r\nhost: hello.test\r\n\r\n").await;
    assert_eq!(raw.answer().await.expect("an answer").status, 200);
    front.stop().await;
    for mut raw in halves {
        raw.rest().await;
    }
    assert!(is_gone(&front).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_finish_is_not_waited_for_longer_than_the_drain() {
    let mut front = front(|config| config.drain = Duration::from_millis(500)).await;
    let slow = slow_request(&front, 200_000).await;
    front.stop().await;
    slow.abort();
}

//! A node that drains tells its clients to go elsewhere, and answers whatever they ask.

use http_body_util::BodyExt;

use super::front;
use crate::support::{Answer, End, H2, Raw, eventually, within};

const ASK: &str = "GET / HTTP/1.1\r\nhost: hello.test\r\n\r\n";

async fn ask(raw: &mut Raw, request: &str) -> Answer {
    raw.send(request).await;
    let answer = raw.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.end), (200, End::Whole));
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_answer_of_http1_ends_its_connection() {
    let front = front(|_| {}).await;
    let mut kept = Raw::connect(front.address).await;
    assert_eq!(ask(&mut kept, ASK).await.header("connection"), None);
    let mut slow = Raw::connect(front.address).await;
    slow.send("GET /?ms=800 HTTP/1.1\r\nhost: sleep.test\r\n\r\n").await;
    eventually("the guest runs", || front.runtime.engine().live_instances() > 0).await;
    front.draining.set(true);
    let begun_before = slow.answer().await.expect("an answer");
    assert_eq!((begun_before.status, begun_before.header("connection")), (200, Some("close")));
    assert_eq!(ask(&mut kept, ASK).await.header("connection"), Some("close"));
    assert!(kept.is_closed().await);
    let mut new = Raw::connect(front.address).await;
    assert_eq!(ask(&mut new, ASK).await.header("connection"), Some("close"));
    front.draining.set(false);
    let mut kept = Raw::connect(front.address).await;
    for _ in 0..2 {
        assert_eq!(ask(&mut kept, ASK).await.header("connection"), None);
    }
    front.draining.set(true);
    assert_eq!(ask(&mut kept, ASK).await.header("connection"), Some("close"), "once more");
}

/// Completes when the connection takes no more requests.
async fn is_told(client: &mut H2) {
    within("the client is told to go", async {
        while client.get("hello", "/").await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_http2_is_told_to_go_and_what_it_has_asked_for_is_answered() {
    let front = front(|_| {}).await;
    let mut client = H2::connect(front.address).await;
    let mut other = client.clone();
    let slow = tokio::spawn(async move {
        let response = client.get("sleep", "/?ms=1500").await.expect("an answer");
        within("the body", response.into_body().collect()).await.expect("a body").to_bytes()
    });
    eventually("the guest runs", || front.runtime.engine().live_instances() > 0).await;
    let mut fresh = H2::connect(front.address).await;
    front.draining.set(true);
    is_told(&mut other).await;
    assert_eq!(slow.await.expect("no panic"), "slept 1500 ms\n");
    let first = fresh.get("hello", "/").await;
    assert_eq!(first.expect("the first request is taken").status(), 200);
    for _ in 0..20 {
        let mut new = H2::connect(front.address).await;
        let response = new.get("hello", "/").await.expect("whoever comes is served");
        assert_eq!(response.status(), 200);
        is_told(&mut new).await;
    }
    front.draining.set(false);
    let mut kept = H2::connect(front.address).await;
    for _ in 0..20 {
        assert_eq!(kept.get("hello", "/").await.expect("an answer").status(), 200);
    }
}

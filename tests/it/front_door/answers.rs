//! How answers are framed for clients of different ages and manners.

use super::{front, is_problem};
use crate::support::{Front, Raw, ServiceOptions, eventually, guest};

#[tokio::test(flavor = "multi_thread")]
async fn a_head_request_gets_the_head_of_the_get() {
    let front = front(&["hello"]).await;
    let mut raw = Raw::connect(front.address).await;
    raw.send("HEAD / HTTP/1.1\r\nhost: hello.test\r\n\r\n").await;
    let head = raw.head().await.expect("an answer");
    assert_eq!((head.status, head.header("content-length")), (200, Some("18")));
    raw.send("HEAD / HTTP/1.1\r\nhost: nobody.test\r\n\r\n").await;
    let head = raw.head().await.expect("an answer");
    assert_eq!((head.status, head.header("wharf-error")), (404, Some("no-route")));
    assert!(head.header("content-length").is_some());
    // Had a body followed, this would not be the next answer.
    raw.send("GET / HTTP/1.1\r\nhost: hello.test\r\n\r\n").await;
    assert_eq!(raw.answer().await.expect("an answer").text(), "Hello from Wharf!\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_request_is_done_when_its_head_has_left() {
    let front = front(&["hello"]).await;
    let cell = front.deploy("half", &guest("half-response"), ServiceOptions::default()).await;
    let mut raw = Raw::connect(front.address).await;
    // The guest goes on to write a body, and nobody wants it.
    raw.send("HEAD /long HTTP/1.1\r\nhost: half.test\r\nx-request-id: long\r\n\r\n").await;
    assert_eq!(raw.head().await.expect("an answer").status, 200);
    eventually("the guest is stopped", || cell.view().in_flight == 0).await;
    assert_eq!(front.access_line("long").await["code"], "ok");
    raw.send("GET / HTTP/1.1\r\nhost: hello.test\r\n\r\n").await;
    assert_eq!(raw.answer().await.expect("an answer").text(), "Hello from Wharf!\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn http_1_0_is_answered_in_its_own_way() {
    let front = front(&["hello", "echo"]).await;
    let mut raw = Raw::connect(front.address).await;
    raw.send("GET / HTTP/1.0\r\nhost: hello.test\r\n\r\n").await;
    let answer = raw.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, "Hello from Wharf!\n"));
    assert!(raw.is_closed().await, "HTTP/1.0 does not keep connections by itself");
    let mut raw = Raw::connect(front.address).await;
    for _ in 0..2 {
        raw.send("GET / HTTP/1.0\r\nhost: hello.test\r\nconnection: keep-alive\r\n\r\n").await;
        assert_eq!(raw.answer().await.expect("an answer").status, 200);
    }
    let mut raw = Raw::connect(front.address).await;
    raw.send("POST / HTTP/1.0\r\nhost: echo.test\r\ncontent-length: 4\r\n\r\nbody").await;
    let answer = raw.answer().await.expect("an answer");
    assert_eq!((answer.text().as_str(), answer.is_chunked()), ("body", false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_closed_when_its_client_asks_for_it() {
    let front = front(&["echo", "hello"]).await;
    let mut raw = Raw::connect(front.address).await;
    raw.send("GET / HTTP/1.1\r\nhost: hello.test\r\nconnection: close\r\n\r\n").await;
    let answer = raw.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(raw.is_closed().await);
}

async fn expecting(front: &Front, host: &str, length: usize) -> Raw {
    let mut raw = Raw::connect(front.address).await;
    raw.send(format!(
        "POST / HTTP/1.1\r\nhost: {host}.test\r\ncontent-length: {length}\r\n\
         expect: 100-continue\r\n\r\n"
    ))
    .await;
    raw
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_first_is_told_to_go_on_or_refused() {
    let front = front(&["echo", "hello"]).await;
    let mut raw = expecting(&front, "echo", 4).await;
    assert_eq!(raw.answer().await.expect("an interim answer").status, 100);
    raw.send("body").await;
    let answer = raw.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, "body"));
    let mut raw = expecting(&front, "echo", 1 << 30).await;
    let answer = raw.answer().await.expect("an answer");
    is_problem(&front, &answer, 413, "body-too-large", "a body of 1 GiB").await;
    let mut raw = expecting(&front, "nobody", 4).await;
    let answer = raw.answer().await.expect("an answer");
    is_problem(&front, &answer, 404, "no-route", "nobody").await;
    // A guest that does not read its body answers without asking for it.
    let mut raw = expecting(&front, "hello", 4).await;
    assert_eq!(raw.answer().await.expect("an answer").status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_problem_can_be_told_from_a_guests_own_answer() {
    let front = front(&["env"]).await;
    let mut raw = Raw::connect(front.address).await;
    raw.send("GET /?name=MISSING HTTP/1.1\r\nhost: env.test\r\nx-request-id: own\r\n\r\n").await;
    let answer = raw.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.header("wharf-error")), (404, None));
    let line = front.access_line("own").await;
    assert_eq!((&line["code"], &line["status"]), (&"ok".into(), &404.into()));
}

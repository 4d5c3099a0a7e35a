//! Requests inside requests: each of these bytes is a request's head or its body, never both.

use super::front;
use crate::support::{Answer, Front, Raw};

const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nhost: hello.test\r\nx-request-id: hidden\r\n\r\n";

/// Every answer to the bytes until the connection closes.
async fn answers(front: &Front, bytes: &str) -> Vec<Answer> {
    let mut raw = Raw::connect(front.address).await;
    raw.send(bytes).await;
    let mut answers = Vec::new();
    while let Some(answer) = raw.answer().await {
        answers.push(answer);
    }
    answers
}

fn is_hidden(answer: &Answer) -> bool {
    answer.header("x-request-id") == Some("hidden")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_beside_chunks_ends_the_connection_after_one_answer() {
    let front = front(&["hello", "echo"]).await;
    // CL.TE: whoever believes the length takes what follows the last chunk as body.
    let head = "POST / HTTP/1.1\r\nhost: echo.test\r\ncontent-length: 200\r\n\
        transfer-encoding: chunked\r\n\r\n";
    let given = answers(&front, &format!("{head}0\r\n\r\n{HIDDEN}")).await;
    assert_eq!(given.len(), 1);
    assert!(!is_hidden(&given[0]));
    // TE.CL: whoever believes the length takes most of the chunk as the next request.
    let chunk = format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len());
    let head = head.replace("200", "4");
    let given = answers(&front, &format!("{head}{chunk}{HIDDEN}")).await;
    assert_eq!(given.len(), 1);
    assert!(given[0].status != 200 || given[0].text() == HIDDEN, "{}", given[0].text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disguised_transfer_coding_hides_nothing() {
    let front = front(&["hello", "echo"]).await;
    for coding in [
        "transfer-encoding : chunked",
        "transfer-encoding:\u{b}chunked",
        "transfer-encoding: chunked\0",
        "x: x\ntransfer-encoding: chunked",
        "transfer-encoding:\r\n chunked",
        "transfer-encoding: ,chunked",
        "transfer-encoding: chunked,",
        " transfer-encoding: chunked",
    ] {
        let head = format!("POST / HTTP/1.1\r\nhost: echo.test\r\ncontent-length: 6\r\n{coding}");
        let given = answers(&front, &format!("{head}\r\n\r\n0\r\n\r\nX{HIDDEN}")).await;
        assert!(given.len() <= 1, "{coding:?}: {given:?}");
        assert!(!given.iter().any(is_hidden), "{coding:?}: {given:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_body_of_a_refused_request_is_not_the_next_request() {
    let front = front(&["hello"]).await;
    let length = HIDDEN.len();
    for head in [
        "POST / HTTP/1.1\r\nhost: nobody.test\r\n",
        "POST /../ HTTP/1.1\r\nhost: hello.test\r\n",
        "TRACE / HTTP/1.1\r\nhost: hello.test\r\n",
        "POST / HTTP/1.1\r\n",
        // Served, but by a guest that does not read its body.
        "POST / HTTP/1.1\r\nhost: hello.test\r\n",
    ] {
        let mut raw = Raw::connect(front.address).await;
        raw.send(format!("{head}content-length: {length}\r\n\r\n{HIDDEN}")).await;
        assert!(!is_hidden(&raw.answer().await.expect("an answer")), "{head}");
        // The connection may be closed or go on, but the body is no request.
        raw.send("GET / HTTP/1.1\r\nhost: hello.test\r\nx-request-id: shown\r\n").await;
        raw.send("connection: close\r\n\r\n").await;
        if let Some(answer) = raw.answer().await {
            assert_eq!(answer.header("x-request-id"), Some("shown"), "{head}");
        }
        assert!(raw.is_closed().await, "{head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_their_order() {
    let front = front(&["hello", "env"]).await;
    let mut bytes = String::new();
    for n in 0..20 {
        let host = ["hello", "env", "nobody"][n % 3];
        let body = ["", "body"][n % 2];
        bytes += &format!(
            "POST / HTTP/1.1\r\nhost: {host}.test\r\nx-request-id: {n}\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
    }
    let mut raw = Raw::connect(front.address).await;
    raw.send(bytes).await;
    for n in 0..20 {
        let answer = raw.answer().await.unwrap_or_else(|| panic!("no answer {n}"));
        assert_eq!(answer.header("x-request-id"), Some(n.to_string().as_str()));
        assert_eq!(answer.status, if n % 3 == 2 { 404 } else { 200 });
    }
}

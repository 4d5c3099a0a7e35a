//! Responses that are compressed on their way, and those that are not.

use std::io::{Read, Write};

use flate2::read::GzDecoder;
use flate2::write::GzDecoder as Unpacker;
use serde_json::json;

use super::{front, rule};
use crate::support::{End, Front, Raw};

fn post(fields: &str, body: &str) -> String {
    let length = body.len();
    format!("POST / HTTP/1.1\r\nhost: echo.test\r\ncontent-length: {length}\r\n{fields}\r\n{body}")
}

const TEXT: &str = "content-type: text/plain\r\n";
const GZIP: &str = "accept-encoding: br;q=0.5, gzip\r\n";

async fn compressing() -> Front {
    front(json!({ "compress": true })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_are_compressed_for_those_who_take_it() {
    let front = compressing().await;
    let text = "the same again and again\n".repeat(40_000);
    let mut raw = Raw::connect(front.address).await;
    raw.send(post(&format!("{TEXT}{GZIP}x-request-id: big\r\n"), &text)).await;
    let answer = raw.answer().await.expect("an answer");
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    assert_eq!(answer.header("vary"), Some("accept-encoding"));
    assert_eq!(answer.header("content-length"), None);
    assert_eq!(answer.end, End::Whole);
    assert!(answer.body.len() < text.len() / 20, "{}", answer.body.len());
    let mut read = String::new();
    GzDecoder::new(&*answer.body).read_to_string(&mut read).expect("gzip");
    assert!(read == text);
    assert_eq!(front.access_line("big").await["code"], "ok");
    for fields in ["", "accept-encoding: br\r\n", "accept-encoding: gzip;q=0, *\r\n"] {
        raw.send(post(&format!("{TEXT}{fields}"), "plain")).await;
        let answer = raw.answer().await.expect("an answer");
        assert_eq!((answer.text().as_str(), answer.header("content-encoding")), ("plain", None));
        assert_eq!(answer.header("vary"), Some("accept-encoding"), "a cache is told all the same");
    }
    raw.send(post(&format!("content-type: image/png\r\n{GZIP}"), "png")).await;
    let answer = raw.answer().await.expect("an answer");
    assert_eq!((answer.text().as_str(), answer.header("vary")), ("png", None));
    rule(&front, json!({}));
    raw.send(post(&format!("{TEXT}{GZIP}"), "plain")).await;
    assert_eq!(raw.answer().await.expect("an answer").text(), "plain");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_pass_one_by_one() {
    let front = compressing().await;
    let mut raw = Raw::connect(front.address).await;
    raw.send(format!(
        "POST / HTTP/1.1\r\nhost: echo.test\r\ntransfer-encoding: chunked\r\n{GZIP}\
         content-type: text/event-stream\r\ntrailer: x-sum\r\n\r\n"
    ))
    .await;
    let mut unpacker = Unpacker::new(Vec::new());
    let head = raw.head().await.expect("an answer");
    assert_eq!(head.header("content-encoding"), Some("gzip"));
    for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
        raw.send(format!("{:x}\r\n{event}\r\n", event.len())).await;
        // The next is not sent before this one was seen.
        while !unpacker.get_ref().ends_with(event.as_bytes()) {
            let chunk = raw.chunk().await.expect("the body goes on");
            unpacker.write_all(&chunk).expect("gzip");
            unpacker.flush().expect("gzip");
        }
    }
    raw.send("0\r\nx-sum: 6\r\n\r\n").await;
    while let Some(chunk) = raw.chunk().await {
        unpacker.write_all(&chunk).expect("gzip");
    }
    let text = unpacker.finish().expect("a whole body");
    assert_eq!(text, b"data: 1\n\ndata: 2\n\ndata: 3\n\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_is_that_of_the_response_as_it_is() {
    let front = compressing().await;
    let mut raw = Raw::connect(front.address).await;
    raw.send(format!("HEAD / HTTP/1.1\r\nhost: echo.test\r\n{TEXT}{GZIP}\r\n")).await;
    let head = raw.head().await.expect("an answer");
    assert_eq!((head.status, head.header("content-encoding")), (200, None));
    assert_eq!(head.header("vary"), Some("accept-encoding"));
}

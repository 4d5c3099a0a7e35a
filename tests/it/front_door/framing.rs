//! Where a request ends.

use std::sync::atomic::Ordering::Relaxed;

use wharf::telemetry::Unparsed;

use super::{ask, front, is_problem, refused};
use crate::support::frames::{PREFACE, SETTINGS, frame};
use crate::support::{End, Front, Raw};

fn post(fields: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nhost: echo.test\r\n{fields}\r\n{body}")
}

#[tokio::test(flavor = "multi_thread")]
async fn only_plain_chunked_is_a_transfer_coding() {
    let front = front(&["echo"]).await;
    let chunk = "4\r\nbody\r\n0\r\n\r\n";
    let twice = "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n";
    let split = "transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n";
    for coding in ["transfer-encoding: gzip, chunked\r\n", twice, split] {
        refused(&front, post(coding, chunk), 501, "not-implemented").await;
    }
    // hyper refuses these by itself, and in fewer words.
    for coding in ["xchunked", "identity", "chunked, identity", "chunked;q=1", "\"chunked\""] {
        let request = post(&format!("transfer-encoding: {coding}\r\n"), chunk);
        let mut raw = Raw::connect(front.address).await;
        raw.send(request).await;
        let answer = raw.answer().await.expect("an answer");
        assert!(matches!(answer.status, 400 | 501), "{coding}: {}", answer.status);
        assert!(raw.is_closed().await, "{coding}");
    }
    let plain = ask(&front, post("transfer-encoding: Chunked\r\n", chunk)).await.expect("served");
    assert_eq!((plain.status, plain.text().as_str()), (200, "body"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_that_can_be_read_in_two_ways_is_refused() {
    let front = front(&["hello", "echo", "env"]).await;
    for fields in [
        "content-length: 4\r\ncontent-length: 5\r\n",
        "content-length: 4, 4\r\n",
        "content-length: 4, 5\r\n",
        "content-length: +4\r\n",
        "content-length: -4\r\n",
        "content-length: 0x4\r\n",
        "content-length: 4 4\r\n",
        "content-length: 99999999999999999999999\r\n",
        "content-length:\r\n",
    ] {
        let mut raw = Raw::connect(front.address).await;
        raw.send(post(fields, "bodyGET / HTTP/1.1\r\nhost: hello.test\r\n\r\n")).await;
        let answer = raw.answer().await.expect("an answer");
        assert_eq!(answer.status, 400, "{fields:?}");
        assert!(raw.is_closed().await, "{fields:?}");
    }
    // One that is only repeated is made one again.
    let same = "content-length: 4\r\ncontent-length: 4\r\n";
    let answer = ask(&front, post(same, "body")).await.expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, "body"));
    let request = post(same, "body").replace("POST /", "POST /?headers=1").replace("echo", "env");
    let seen = ask(&front, request).await.expect("an answer").text();
    assert_eq!(seen.matches("content-length: 4\n").count(), 1, "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn chunked_does_not_exist_in_http_1_0() {
    let front = front(&["echo"]).await;
    let head = "POST / HTTP/1.0\r\nhost: echo.test\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut raw = Raw::connect(front.address).await;
    raw.send(format!("{head}4\r\nbody\r\n0\r\n\r\n")).await;
    assert_eq!(raw.answer().await.expect("an answer").status, 400);
    assert!(raw.is_closed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_is_no_field_is_refused() {
    let front = front(&["hello"]).await;
    for field in [
        "x-a : b",
        " x-a: b",
        "x-a: b\r\n folded",
        "x-a: b\r\n\tfolded",
        "x-a: b\0c",
        "x-a: b\rc",
        "x\0a: b",
        "x-\u{e9}: b",
        ": b",
        "no colon",
        "x-a: b\u{1}c",
    ] {
        let request = format!("GET / HTTP/1.1\r\nhost: hello.test\r\n{field}\r\n\r\n");
        let mut raw = Raw::connect(front.address).await;
        raw.send(request).await;
        let answer = raw.answer().await.expect("an answer");
        assert_eq!(answer.status, 400, "{field:?}");
        assert!(raw.is_closed().await, "{field:?}");
    }
    for line in
        ["GET  / HTTP/1.1", "GET / HTTP/1.2", "GET /", "GET /\u{1} HTTP/1.1", "G\0T / HTTP/1.1"]
    {
        let mut raw = Raw::connect(front.address).await;
        raw.send(format!("{line}\r\nhost: hello.test\r\n\r\n")).await;
        let answer = raw.answer().await;
        assert!(answer.is_none_or(|answer| answer.status == 400), "{line:?}");
        assert!(raw.is_closed().await, "{line:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_have_bounds() {
    let front = front(&["hello"]).await;
    let head = |fields: &str| format!("GET / HTTP/1.1\r\nhost: hello.test\r\n{fields}\r\n");
    let many: String = (0..101).map(|n| format!("x-{n}: 1\r\n")).collect();
    let huge = format!("x: {}\r\n", "x".repeat(128 << 10));
    for fields in [&many, &huge] {
        let answer = ask(&front, head(fields)).await.expect("an answer");
        assert_eq!(answer.status, 431);
    }
    let large = format!("x: {}\r\n", "x".repeat(33 << 10));
    refused(&front, head(&large), 431, "headers-too-large").await;
    let long = format!("GET /{} HTTP/1.1\r\nhost: hello.test\r\n\r\n", "x".repeat(9 << 10));
    refused(&front, long, 400, "bad-request").await;
    let fits: String = (0..90).map(|n| format!("x-{n}: {}\r\n", "y".repeat(300))).collect();
    assert_eq!(ask(&front, head(&fits)).await.expect("an answer").status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_counted_and_has_an_access_line() {
    let front = front(&["hello"]).await;
    let many: String = (0..101).map(|n| format!("x-{n}: 1\r\n")).collect();
    let huge = format!("x: {}\r\n", "x".repeat(128 << 10));
    let get = |fields: &str| format!("GET / HTTP/1.1\r\nhost: hello.test\r\n{fields}\r\n");
    let cases = [
        (get("no colon\r\n"), 400),
        (get("content-length: +1\r\n"), 400),
        ("\x16\x03\x01\x02\0\x01\0\x01\r\n\r\n".to_owned(), 400),
        (get(&many), 431),
        (get(&huge), 431),
    ];
    for (request, status) in &cases {
        let answer = ask(&front, request).await.expect("an answer");
        assert_eq!((answer.status, answer.body.len()), (*status, 0));
    }
    let goes = frame(SETTINGS, 0, 1, &[]);
    ask_http2(&front, &goes).await;
    // Requests, connections that say nothing and those that break off are none of these.
    ask(&front, get("connection: close\r\n")).await.expect("an answer");
    Raw::connect(front.address).await.finish().await;
    let mut half = Raw::connect(front.address).await;
    half.send("GET / HT").await;
    half.finish().await;
    half.rest().await;
    let lines = front.access_lines(cases.len() + 2).await;
    let told = |code: &str, status: u16| {
        let of = |line: &&serde_json::Value| line["code"] == code && line["status"] == status;
        let lines: Vec<_> = lines.iter().filter(of).collect();
        assert!(lines.iter().all(|line| line["method"] == "-" && line["service"].is_null()));
        lines.len()
    };
    assert_eq!((told("bad-request", 400), told("headers-too-large", 431)), (3, 2));
    assert_eq!((told("bad-request", 0), lines.len()), (1, cases.len() + 2));
    let Unparsed { malformed, too_large, http2, .. } = &*front.unparsed;
    assert_eq!([malformed, too_large, http2].map(|count| count.load(Relaxed)), [3, 2, 1]);
}

/// Sends a frame that ends its connection.
async fn ask_http2(front: &Front, frame: &[u8]) {
    let mut raw = Raw::connect(front.address).await;
    raw.send([PREFACE, frame].concat()).await;
    raw.rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_end_in_a_bare_newline_mean_the_same() {
    let front = front(&["hello"]).await;
    let answer = ask(&front, "GET / HTTP/1.1\nhost: hello.test\nx-request-id: lf\n\n").await;
    let answer = answer.expect("an answer");
    assert_eq!((answer.status, answer.header("x-request-id")), (200, Some("lf")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_whose_chunks_are_wrong_fails_its_guest_and_its_connection() {
    let front = front(&["hello", "echo"]).await;
    for (n, chunks) in [
        "zz\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\nFFFFFFFFFFFFFFFFF\r\n",
        "5\r\nhello\r\n0x5\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nbad trailer\r\n\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("chunk-{n}");
        let mut raw = Raw::connect(front.address).await;
        let fields = format!("transfer-encoding: chunked\r\nx-request-id: {id}\r\n");
        raw.send(post(&fields, chunks)).await;
        raw.send("GET / HTTP/1.1\r\nhost: hello.test\r\n\r\n").await;
        // Had the guest been told of an end, it would have answered with a whole response.
        if let Some(answer) = raw.answer().await {
            match answer.status {
                200 => assert_eq!(answer.end, End::Cut, "{chunks:?}"),
                _ => is_problem(&front, &answer, 400, "bad-request", chunks).await,
            }
        }
        assert!(raw.is_closed().await, "{chunks:?}: nothing follows on this connection");
        assert_eq!(front.access_line(&id).await["code"], "bad-request", "{chunks:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_is_no_whole_body() {
    let front = front(&["echo"]).await;
    let cases = [("transfer-encoding: chunked\r\n", "5\r\nhel"), ("content-length: 9\r\n", "hel")];
    for (n, (fields, body)) in cases.into_iter().enumerate() {
        let id = format!("cut-{n}");
        let mut raw = Raw::connect(front.address).await;
        raw.send(post(&format!("{fields}x-request-id: {id}\r\n"), body)).await;
        raw.finish().await;
        let answer = raw.answer().await;
        let whole = answer.is_some_and(|answer| answer.status == 200 && answer.end == End::Whole);
        assert!(!whole, "{fields}");
        let code = front.access_line(&id).await["code"].clone();
        assert!(code == "client-closed" || code == "bad-request", "{code}");
    }
}

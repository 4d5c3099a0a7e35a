//! What passes through, and how.

use std::sync::atomic::Ordering;

use http_body_util::BodyExt;

use super::*;
use crate::support::{End, H2, Origin, Raw, eventually, saying};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_and_its_response_pass_as_they_are() {
    let origin = Origin::start("one").await;
    let node = node(&[origin.address], "");
    let mut raw = Raw::connect(node.http).await;
    raw.send(
        "GET /headers?a=b HTTP/1.1\r\nhost: up.test\r\nx-mine: 7\r\nconnection: x-gone\r\n\
         x-gone: 1\r\nx-forwarded-for: 1.2.3.4\r\n\r\n",
    )
    .await;
    let answer = raw.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.header("x-origin")), (200, Some("one")));
    assert!(answer.header("x-request-id").is_some());
    let text = answer.text();
    for line in [
        "GET /headers?a=b HTTP/1.1\n",
        "host: up.test\n",
        "x-mine: 7\n",
        "x-forwarded-for: 127.0.0.1\n",
        "x-forwarded-proto: http\n",
        "x-forwarded-host: up.test\n",
        "via: 1.1 wharf-",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }
    assert!(!text.contains("x-gone") && !text.contains("1.2.3.4"), "{text}");
    raw.send("POST /echo HTTP/1.1\r\nhost: up.test\r\ncontent-length: 5\r\n\r\nhello").await;
    assert_eq!(raw.answer().await.expect("an answer").text(), "hello");
    let chunked = "POST /echo HTTP/1.1\r\nhost: up.test\r\ntransfer-encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    raw.send(chunked).await;
    let answer = raw.answer().await.expect("an answer");
    assert_eq!((answer.text().as_str(), answer.is_chunked()), ("abcde", true));
    raw.send("HEAD /x HTTP/1.1\r\nhost: up.test\r\n\r\n").await;
    let head = raw.head().await.expect("a head");
    assert_eq!((head.status, head.header("content-length")), (200, Some("3")));
    raw.send("GET /stream/3 HTTP/1.1\r\nhost: up.test\r\nte: trailers\r\n\r\n").await;
    let answer = raw.answer().await.expect("an answer");
    assert_eq!(answer.text(), "piece 0\npiece 1\npiece 2\n");
    assert_eq!(origin.seen.connections.load(Ordering::Relaxed), 1, "one connection did for all");
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_passes_with_trailers_on_both_sides() {
    let origin = Origin::start("grpc").await;
    let node = Node::start();
    let target =
        format!("[upstream.up]\nroute = \"up.test/*\"\ntarget = \"h2c://{}\"", origin.address);
    node.apply(&target);
    let mut client = H2::connect(node.http).await;
    let response = client.get("up", "/headers").await.expect("an answer");
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    assert!(text.contains("/headers HTTP/2.0") && text.contains("te: trailers"), "{text}");
    let response = client.get("up", "/stream/3").await.expect("an answer");
    let collected = response.into_body().collect().await.expect("a body");
    let trailers = collected.trailers().expect("trailers").clone();
    assert_eq!(trailers.get("x-sum").map(http::HeaderValue::as_bytes), Some(&b"42"[..]));
    let answers = (0..50).map(|_| {
        let mut client = client.clone();
        async move { client.get("up", "/sleep/50").await.expect("an answer").status().as_u16() }
    });
    let answers = futures_util::future::join_all(answers).await;
    assert!(answers.iter().all(|status| *status == 200), "{answers:?}");
    assert_eq!(origin.seen.connections.load(Ordering::Relaxed), 1, "streams share a connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_breaks_off_does_not_look_whole() {
    let origin = Origin::start("one").await;
    let node = node(&[origin.address], "");
    let mut raw = Raw::connect(node.http).await;
    raw.send("GET /break HTTP/1.1\r\nhost: up.test\r\n\r\n").await;
    let answer = raw.answer().await.expect("a head");
    assert_eq!((answer.text().as_str(), answer.end), ("half", End::Cut));
    eventually("it is counted", || node.describe("up")["stats"]["by_code"]["upstream-failed"] == 1)
        .await;
    assert_eq!(state(&node, origin.address)["failures"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_streams_through_in_both_directions() {
    let origin = Origin::start("one").await;
    let node = node(&[origin.address], "");
    let body = vec![7u8; 20 << 20];
    let client = crate::support::http_client();
    let url = |path: &str| format!("http://{}{path}", node.http);
    let send = |path: &str| client.post(url(path)).header("host", "up.test").body(body.clone());
    let size = send("/size").send().await.expect("an answer").text().await.expect("a body");
    assert_eq!(size, body.len().to_string());
    let echo = send("/echo").send().await.expect("an answer").bytes().await.expect("a body");
    assert!(echo == body);
    let stats = || node.describe("up")["stats"].clone();
    eventually("bytes are counted", || stats()["bytes_out"].as_u64() >= Some(20 << 20)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_lets_go_of_the_server() {
    let origin = Origin::start("one").await;
    let node = node(&[origin.address], "");
    let mut raw = Raw::connect(node.http).await;
    raw.send("GET /sleep/60000 HTTP/1.1\r\nhost: up.test\r\n\r\n").await;
    let in_flight = || state(&node, origin.address)["in_flight"].clone();
    eventually("it arrives", || in_flight() == 1).await;
    drop(raw);
    eventually("it is let go", || in_flight() == 0).await;
    eventually("its connection is closed", || origin.seen.open.load(Ordering::Relaxed) == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_goes_in_a_circle_ends() {
    let node = Node::start();
    let own = node.http;
    node.apply(&manifest(&[own], ""));
    let (status, text) = node.get("up.test", "/").await;
    assert_eq!(status, 508, "{text}");
    assert!(text.contains("loop-detected"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circle_is_seen_behind_bytes_that_are_no_text() {
    let origin = Origin::start("one").await;
    let node = node(&[origin.address], "");
    let (_, text) = node.get("up.test", "/headers").await;
    let via = text.lines().find_map(|line| line.strip_prefix("via: ")).expect("a way").to_owned();
    let mut raw = Raw::connect(node.http).await;
    let ask = b"GET / HTTP/1.1\r\nhost: up.test\r\nvia: 1.0 \xff, ";
    raw.send([&ask[..], via.as_bytes(), b"\r\n\r\n"].concat()).await;
    assert_eq!(raw.answer().await.expect("an answer").status, 508);
    assert_eq!(origin.requests(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_host_of_the_target_is_sent_where_that_is_asked_for() {
    let origin = Origin::start("one").await;
    let node = node(&[origin.address], "host = \"target\"");
    let (_, text) = node.get("up.test", "/headers").await;
    assert!(text.contains(&format!("host: {}\n", origin.address)), "{text}");
    assert!(text.contains("x-forwarded-host: up.test\n"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_passes_whatever_the_method() {
    let origin = Origin::start("one").await;
    let node = node(&[origin.address], "");
    let mut raw = Raw::connect(node.http).await;
    for method in ["GET", "DELETE", "POST"] {
        let head = format!("{method} /size HTTP/1.1\r\nhost: up.test\r\n");
        raw.send(format!("{head}transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")).await;
        assert_eq!(raw.answer().await.expect("an answer").text(), "3", "{method}");
        raw.send(format!("{head}content-length: 2\r\n\r\nhi")).await;
        assert_eq!(raw.answer().await.expect("an answer").text(), "2", "{method}");
        raw.send(format!("{head}\r\n")).await;
        assert_eq!(raw.answer().await.expect("an answer").text(), "0", "{method}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_lengths_of_a_response_that_of_its_chunks_counts() {
    let reply = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n\
                 6\r\nabcdef\r\n0\r\n\r\n";
    let (address, serving) = saying(reply).await;
    let node = node(&[address], "");
    let mut raw = Raw::connect(node.http).await;
    raw.send("GET / HTTP/1.1\r\nhost: up.test\r\n\r\n").await;
    let answer = raw.answer().await.expect("an answer");
    assert_eq!((answer.text().as_str(), answer.header("content-length")), ("abcdef", None));
    serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_is_not_the_servers_failure() {
    let origin = Origin::start("one").await;
    let node = Node::start();
    let route = "route = { match = \"up.test/*\", request_body = \"1KiB\" }";
    for scheme in ["http", "h2c"] {
        let url = format!("{scheme}://{}", origin.address);
        node.apply(&format!("[upstream.up]\n{route}\ntarget = \"{url}\"\n"));
        let mut raw = Raw::connect(node.http).await;
        let head = "POST /size HTTP/1.1\r\nhost: up.test\r\ntransfer-encoding: chunked\r\n\r\n";
        raw.send(format!("{head}800\r\n{}\r\n0\r\n\r\n", "x".repeat(0x800))).await;
        assert_eq!(raw.answer().await.expect("an answer").status, 413, "{scheme}");
        assert_eq!(node.describe("up")["targets"][0]["failures"], 0, "{scheme}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coding_of_the_transfer_that_nobody_asked_for_is_not_passed_on() {
    for coding in ["gzip, chunked", "gzip", "chunked, chunked", "identity"] {
        let reply =
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: {coding}\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
        let (address, serving) = saying(reply).await;
        let node = node(&[address], "retry = { attempts = 0 }");
        let (status, text) = node.get("up.test", "/").await;
        assert!(status == 502 && text.contains("upstream-failed"), "{coding}: {status} {text}");
        assert_eq!(state(&node, address)["failures"], 1, "{coding}");
        serving.abort();
    }
}

//! How much a guest may send and take, and for how long.

use std::io::Write as _;
use std::time::Duration;

use wharf::model::{ByteSize, Limits, QueueBounds, Scale};

use super::*;
use crate::support::{Origin, Raw, saying, within};

fn limited(address: SocketAddr, limits: serde_json::Value) -> serde_json::Value {
    let mut role = role_to(address);
    role["limits"] = limits;
    role
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_have_an_end() {
    let origin = Origin::start("one").await;
    let front = front(Names::saying(&[])).await;
    let limits = json!({ "request_bytes": "1000B", "response_bytes": "50B" });
    let cell = fetcher(&front, "fetch", limited(origin.address, limits)).await;
    let url = |path: &str| format!("http://{}/{path}", origin.address);
    let post = |path: &str, bytes| {
        let body = vec![b'x'; bytes];
        front.client().request("POST", "fetch", &via(&url(path), "")).body(body).send()
    };
    let answer = post("size", 1_000).await.expect("an answer");
    assert_eq!(answer.text().await.expect("a body"), "1000");
    let answer = post("size", 1_001).await.expect("an answer");
    let text = answer.text().await.expect("a body");
    assert!(text.contains("HttpRequestBodySize"), "{text}");
    noted(&cell, "`request_bytes`").await;
    let answer = post("echo", 50).await.expect("an answer");
    assert_eq!(answer.bytes().await.expect("a body").len(), 50);
    // The guest passes on what it got, and then that it broke off.
    let answer = post("echo", 51).await;
    let whole = match answer {
        Ok(answer) => answer.bytes().await.is_ok_and(|body| body.len() == 51),
        Err(_) => false,
    };
    assert!(!whole, "more than fifty bytes came through");
}

/// Nobody but the guest decompresses anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_response_is_as_large_as_it_is_on_the_wire() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&vec![0; 32 << 20]).expect("memory");
    let bomb = gzip.finish().expect("memory");
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        bomb.len()
    );
    let (address, _serving) = saying([head.as_bytes(), &bomb].concat()).await;
    let front = front(Names::saying(&[])).await;
    let limits = json!({ "response_bytes": format!("{}B", bomb.len()) });
    fetcher(&front, "fetch", limited(address, limits)).await;
    let path = via(&format!("http://{address}/"), "");
    let answer = front.client().get("fetch", &path).send().await.expect("an answer");
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    assert_eq!(answer.bytes().await.expect("a body"), bomb);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_its_time_is_not_waited_for() {
    let origin = Origin::start("slow").await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free address");
    let silent = silent.local_addr().map(|address| (silent, address)).expect("an address");
    let front = front(Names::saying(&[])).await;
    let outbound = json!({ "outbound": [
        format!("http://{}", origin.address),
        format!("https://{}", silent.1),
    ] });
    fetcher(&front, "fetch", outbound).await;
    let slow = format!("http://{}/sleep/60000", origin.address);
    let (status, text) = fetch(&front, "fetch", &slow, "&first_byte_ms=50").await;
    assert_eq!((status, text.trim()), (502, "ErrorCode::ConnectionReadTimeout"));
    // No time at all is as little as can be waited, and not for ever.
    let (status, text) = fetch(&front, "fetch", &slow, "&first_byte_ms=0").await;
    assert_eq!((status, text.trim()), (502, "ErrorCode::ConnectionReadTimeout"));
    let silent = format!("https://{}/", silent.1);
    let (status, text) = fetch(&front, "fetch", &silent, "&connect_ms=50").await;
    assert_eq!((status, text.trim()), (502, "ErrorCode::ConnectionTimeout"));
    let role = limited(origin.address, json!({ "timeout": "100ms" }));
    fetcher(&front, "short", role).await;
    let (status, text) = fetch(&front, "short", &slow, "").await;
    assert_eq!((status, text.trim()), (502, "ErrorCode::ConnectionReadTimeout"));
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_have_an_end() {
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(100 << 10));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(200));
    let front = front(Names::saying(&[])).await;
    for (name, head) in [("long", long), ("many", many)] {
        let (address, _serving) = saying(head).await;
        fetcher(&front, name, role_to(address)).await;
        let (status, text) = fetch(&front, name, &format!("http://{address}/"), "").await;
        assert_eq!(status, 502, "{name}: {text}");
        assert!(text.starts_with("ErrorCode::Http"), "{name}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_at_once_have_an_end_for_each_request_and_for_the_service() {
    let origin = Origin::start("one").await;
    let front = front(Names::saying(&[])).await;
    fetcher(&front, "fetch", role_to(origin.address)).await;
    let url = format!("http://{}/sleep/20", origin.address);
    let (_, text) = fetch(&front, "fetch", &url, "&n=40").await;
    assert_eq!(text, "16 200\n24 ErrorCode::ConnectionLimitReached\n");
    let limits = json!({ "requests": 3, "connections": 2 });
    fetcher(&front, "few", limited(origin.address, limits)).await;
    let (_, text) = fetch(&front, "few", &url, "&n=10").await;
    assert_eq!(text, "3 200\n7 ErrorCode::ConnectionLimitReached\n");
    let rate = json!({ "rate": { "requests": 1, "per": "1h", "burst": 2 } });
    let cell = fetcher(&front, "rare", limited(origin.address, rate)).await;
    let (_, text) = fetch(&front, "rare", &url, "&n=5").await;
    assert_eq!(text, "2 200\n3 ErrorCode::ConnectionLimitReached\n");
    noted(&cell, "`rate`").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_requests_share_a_few_connections() {
    const EACH: usize = 16;
    const CONNECTIONS: u64 = 32;
    let origin = Origin::start("one").await;
    let front = front(Names::saying(&[])).await;
    let limits = json!({ "requests": 10_000, "connections": CONNECTIONS });
    let memory = Limits { memory: ByteSize::gib(1), ..ServiceOptions::default().limits };
    let role = role_of(limited(origin.address, limits));
    // As many instances as the engine of a test has; the rest waits.
    let scale = Scale { min: 0, max: 1, ..Scale::default() };
    let queue = QueueBounds { wait: Duration::from_secs(60), ..QueueBounds::default() };
    let options =
        ServiceOptions { limits: memory, role, scale, queue, ..ServiceOptions::default() };
    front.deploy("fetch", &guest("fetch"), options).await;
    let url = format!("http://{}/", origin.address);
    let (client, path) = (front.client(), via(&url, &format!("&n={EACH}")));
    let asked = (0..10_000 / EACH).map(|_| async {
        let answer = client.get("fetch", &path).send().await.expect("an answer");
        answer.text().await.expect("a body")
    });
    let texts = futures_util::future::join_all(asked).await;
    assert!(texts.iter().all(|text| text == "16 200\n"), "{texts:?}");
    assert_eq!(origin.requests(), 10_000);
    let connections = origin.seen.connections.load(Ordering::Relaxed);
    assert!(connections <= CONNECTIONS, "{connections}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_ends_with_its_client() {
    let origin = Origin::start("slow").await;
    let front = front(Names::saying(&[])).await;
    let cell = fetcher(&front, "fetch", role_to(origin.address)).await;
    let path = via(&format!("http://{}/sleep/600000", origin.address), "");
    let mut client = Raw::connect(front.address).await;
    client.send(format!("GET {path} HTTP/1.1\r\nhost: fetch.test\r\n\r\n")).await;
    eventually("the request arrives", || origin.requests() == 1).await;
    drop(client);
    let open = || origin.seen.open.load(Ordering::Relaxed);
    eventually("the connection is closed", || open() == 0).await;
    within("the guest is gone", cell.drained()).await;
}

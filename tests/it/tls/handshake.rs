//! Which certificate and protocol a client gets, and what becomes of those who open no connection.

use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{front, with_certificates};
use crate::support::{
    Front, Pair, Raw, ServiceOptions, exchange, guest, last_get, shake_hands, shake_hands_on,
    tls_client, within,
};

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_is_that_of_the_name() {
    let dir = tempfile::tempdir().expect("a folder");
    let (first, second) = (Pair::for_names(&["a.test"]), Pair::for_names(&["B.test", "*.b.test"]));
    first.write(dir.path(), "a");
    let both = format!("{}{}", second.key, second.certificate);
    std::fs::write(dir.path().join("b.pem"), both).expect("writable");
    let exact = Pair::for_names(&["exact.b.test"]);
    exact.write(dir.path(), "c");
    let front = Front::start_at_edge(Default::default(), with_certificates(dir.path()).0).await;
    let address = front.https.expect("TLS");
    for (name, pair) in
        [("a.test", &first), ("b.test", &second), ("x.b.test", &second), ("exact.b.test", &exact)]
    {
        let stream = shake_hands(address, name, tls_client(&[pair], &[])).await.expect(name);
        assert_eq!(shown(&stream), pair.der(), "{name}");
    }
    // Names that nobody has get the first, which their clients then refuse.
    for name in ["c.test", "y.x.b.test", "127.0.0.1"] {
        let everybody = tls_client(&[&first, &second, &exact], &[]);
        let refused = shake_hands(address, name, everybody).await.expect_err(name);
        assert!(refused.to_string().contains("not valid for name"), "{name}: {refused}");
    }
}

fn shown(stream: &tokio_rustls::client::TlsStream<tokio::net::TcpStream>) -> CertificateDer<'_> {
    stream.get_ref().1.peer_certificates().expect("certificates")[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn http_1_is_served_over_both_versions_of_tls() {
    let (front, pair) = front(|_, _| {}).await;
    for versions in [[&rustls::version::TLS12], [&rustls::version::TLS13]] {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(pair.der()).expect("a certificate");
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(&versions).expect("a version");
        let config = builder.with_root_certificates(roots).with_no_client_auth();
        let stream = shake_hands(front.https.expect("TLS"), "env.test", config).await;
        let mut stream = stream.expect("a handshake");
        let lie = "x-forwarded-proto: http\r\n";
        let answer = exchange(&mut stream, &last_get("env", "/?headers=1&scheme=1", lie)).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("\nx-forwarded-proto: https\n"), "{answer}");
        assert!(answer.contains("\nscheme HTTPS\n"), "{answer}");
        assert!(answer.contains("\nx-forwarded-for: 127.0.0.1\n"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_is_chosen_by_the_handshake() {
    let (front, pair) = front(|_, _| {}).await;
    let config = tls_client(&[&pair], &["http/1.1", "h2"]);
    let stream = shake_hands(front.https.expect("TLS"), "env.test", config).await;
    let stream = stream.expect("a handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]), "the server's choice");
    let handshake =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = within("a handshake", handshake).await.expect("HTTP/2");
    tokio::spawn(connection);
    let request = http::Request::get("https://env.test/?headers=1&scheme=1");
    let request = request.body(Empty::<bytes::Bytes>::new()).expect("a request");
    let response = within("an answer", sender.send_request(request)).await.expect("an answer");
    assert_eq!(response.status(), 200);
    let body = within("a body", response.collect()).await.expect("a body").to_bytes();
    let body = String::from_utf8_lossy(&body);
    assert!(body.contains("x-forwarded-proto: https\n"), "{body}");
    assert!(body.contains("scheme HTTPS\n"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_pass_both_ways() {
    let (front, pair) = front(|_, _| {}).await;
    front.deploy("echo", &guest("echo"), ServiceOptions::default()).await;
    let config = tls_client(&[&pair], &["http/1.1"]);
    let stream = shake_hands(front.https.expect("TLS"), "env.test", config).await;
    let mut stream = stream.expect("a handshake");
    let body = "0123456789abcdef".repeat(64 << 10);
    let head = "POST / HTTP/1.1\r\nhost: echo.test\r\nconnection: close\r\ncontent-length";
    let answer = {
        let (mut read, mut write) = tokio::io::split(&mut stream);
        let mut answer = Vec::new();
        let request = format!("{head}: {}\r\n\r\n{body}", body.len());
        let (sent, came) = within("an echo", async {
            tokio::join!(write.write_all(request.as_bytes()), read.read_to_end(&mut answer))
        })
        .await;
        sent.expect("taken");
        came.expect("an orderly end");
        answer
    };
    let bytes = answer.iter().filter(|byte| byte.is_ascii_hexdigit()).count();
    assert!(bytes >= body.len(), "{bytes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_is_told_that_it_came_to_the_wrong_place() {
    let (front, _) = front(|_, _| {}).await;
    let mut raw = Raw::connect(front.https.expect("TLS")).await;
    raw.send("GET / HTTP/1.1\r\nhost: env.test\r\nx-request-id: lost\r\n\r\n").await;
    let answer = raw.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.header("wharf-error")), (400, Some("bad-request")));
    assert!(answer.text().contains("this port speaks HTTPS"), "{}", answer.text());
    assert_eq!(front.access_line("lost").await["code"], "bad-request");
    within("the connection ends", raw.rest()).await;
    // What is neither is closed without much ado.
    let mut raw = Raw::connect(front.https.expect("TLS")).await;
    raw.send(b"\x00\x01\x02\x03").await;
    within("the connection ends", raw.rest()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_does_not_come_is_not_waited_for() {
    let (front, pair) = front(|config, _| {
        config.max_connections = 4;
        config.handshake_timeout = Duration::from_millis(300);
    })
    .await;
    let address = front.https.expect("TLS");
    // As many as there are places beside those that wait to accept: silent, or halfway.
    let mut slow = Vec::new();
    for begin in [&b""[..], b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01"] {
        let mut raw = Raw::connect(address).await;
        raw.send(begin).await;
        slow.push(raw);
    }
    let config = tls_client(&[&pair], &[]);
    let mut stream = shake_hands(address, "env.test", config).await.expect("a place");
    let answer = exchange(&mut stream, &last_get("env", "/", "")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    for mut raw in slow {
        within("the connection ends", raw.rest()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_take_its_response_is_closed() {
    let (front, pair) = front(|config, _| config.idle_timeout = Duration::from_millis(300)).await;
    front.deploy("half", &guest("half-response"), ServiceOptions::default()).await;
    let stream = Raw::connect_narrow(front.https.expect("TLS")).await.into_stream();
    let config = tls_client(&[&pair], &["http/1.1"]);
    let mut stream = shake_hands_on(stream, "env.test", config).await.expect("a handshake");
    let request = last_get("half", "/long", "x-request-id: full\r\n");
    stream.write_all(request.as_bytes()).await.expect("taken");
    assert_eq!(front.access_line("full").await["code"], "client-stalled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_does_not_wait_for_handshakes() {
    let (mut front, _) =
        front(|config, _| config.handshake_timeout = Duration::from_secs(3_600)).await;
    let mut raw = Raw::connect(front.https.expect("TLS")).await;
    raw.send(b"\x16\x03\x01").await;
    front.stop().await;
    within("the connection ends", raw.rest()).await;
}

//! Who a request is from, when proxies stand before the load balancer.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use wharf::proxy::Edge;

use super::front;
use crate::support::{Answer, Front, Raw, exchange, last_get, shake_hands_on, tls_client, within};

/// Version 2 of the PROXY protocol: TCP over IPv4 from 203.0.113.9:4711.
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x09\x0a\0\0\x01\x12\x67\0\x50";
/// The same in version 1.
const V1: &[u8] = b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 80\r\n";

fn trust_this_machine(edge: &mut Edge) {
    let local: ipnet::IpNet = "127.0.0.0/8".parse().expect("a network");
    edge.proxy_protocol = [local].into_iter().collect();
}

fn trust_another_machine(edge: &mut Edge) {
    let other: ipnet::IpNet = "192.0.2.7/32".parse().expect("a network");
    edge.proxy_protocol = [other].into_iter().collect();
}

async fn ask(front: &Front, before: &[u8], fields: &str) -> Option<Answer> {
    let mut raw = Raw::connect(front.address).await;
    let request = last_get("env", "/?headers=1", fields);
    raw.send([before, request.as_bytes()].concat()).await;
    raw.answer().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_sender_says_who_the_client_is() {
    let (front, pair) = front(|_, edge| trust_this_machine(edge)).await;
    for header in [V2, V1] {
        let answer = ask(&front, header, "x-request-id: named\r\n").await.expect("an answer");
        assert!(answer.text().contains("x-forwarded-for: 203.0.113.9\n"), "{}", answer.text());
        assert_eq!(front.access_line("named").await["client"], "203.0.113.9:4711");

        let stream = TcpStream::connect(front.https.expect("TLS")).await;
        let mut stream = stream.expect("a connection");
        stream.write_all(header).await.expect("taken");
        let config = tls_client(&[&pair], &[]);
        let stream = shake_hands_on(stream, "env.test", config).await;
        let mut stream = stream.expect("a handshake");
        let answer = exchange(&mut stream, &last_get("env", "/?headers=1", "")).await;
        assert!(answer.contains("\nx-forwarded-for: 203.0.113.9\n"), "{answer}");
    }
    // A health check of the proxy itself.
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    let answer = ask(&front, local, "").await.expect("an answer");
    assert!(answer.text().contains("x-forwarded-for: 127.0.0.1\n"), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_sender_must_say_it() {
    let (front, _) = front(|_, edge| trust_this_machine(edge)).await;
    for before in [&b""[..], b"PROXY TCP4 x\r\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff"] {
        assert!(ask(&front, before, "").await.is_none(), "{before:?}");
        let mut raw = Raw::connect(front.https.expect("TLS")).await;
        raw.send([before, b"\x16\x03\x01 is no header"].concat()).await;
        assert!(within("the connection ends", raw.is_closed()).await, "{before:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_may_say_it() {
    let (front, pair) = front(|_, edge| trust_another_machine(edge)).await;
    let answer = ask(&front, b"", "").await.expect("an answer");
    assert_eq!(answer.status, 200, "whoever is not a proxy is a client");
    for header in [V2, V1] {
        let answer = ask(&front, header, "").await.expect("an answer");
        assert_eq!(answer.status, 400, "it is no request");
        let mut raw = Raw::connect(front.address).await;
        raw.send(header).await;
        within("the connection ends", raw.rest()).await;

        let stream = TcpStream::connect(front.https.expect("TLS")).await;
        let mut stream = stream.expect("a connection");
        stream.write_all(header).await.expect("taken");
        let refused = shake_hands_on(stream, "env.test", tls_client(&[&pair], &[])).await;
        assert!(refused.is_err(), "it is no handshake");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_word_of_a_trusted_proxy_is_passed_on() {
    let local: ipnet::IpNet = "127.0.0.1/32".parse().expect("a network");
    let (front, _) = front(|_, edge| edge.trusted_proxies = [local].into_iter().collect()).await;
    let fields = "x-forwarded-for: 6.6.6.6, 203.0.113.9\r\nx-request-id: chain\r\n\
        x-real-ip: 6.6.6.6\r\nforwarded: for=6.6.6.6\r\n";
    let answer = ask(&front, b"", fields).await.expect("an answer");
    let seen = answer.text();
    assert!(seen.contains("x-forwarded-for: 6.6.6.6, 203.0.113.9, 127.0.0.1\n"), "{seen}");
    assert!(!seen.contains("x-real-ip") && !seen.contains("\nforwarded:"), "{seen}");
    assert_eq!(front.access_line("chain").await["client"], "203.0.113.9:0");
}

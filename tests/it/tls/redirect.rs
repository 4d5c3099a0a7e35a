//! Requests in cleartext are sent to HTTPS, and browsers told to stay there.

use std::time::Duration;

use super::front;
use crate::support::{Answer, Front, Raw, exchange, last_get, shake_hands, tls_client};

async fn ask(front: &Front, request: &str) -> Answer {
    let mut raw = Raw::connect(front.address).await;
    raw.send(request).await;
    raw.answer().await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn cleartext_is_sent_to_https() {
    let (front, pair) = front(|_, edge| {
        edge.redirect = Some(0);
        edge.hsts = Some(Duration::from_secs(3_600));
    })
    .await;
    let request = "POST /a/b?c=d HTTP/1.1\r\nhost: env.test:8080\r\ncontent-length: 0\r\n\
        x-request-id: sent\r\n\r\n";
    let answer = ask(&front, request).await;
    let port = front.https.expect("TLS").port();
    let place = format!("https://env.test:{port}/a/b?c=d");
    assert_eq!((answer.status, answer.header("location")), (308, Some(&*place)));
    assert_eq!(answer.header("strict-transport-security"), None, "not in cleartext");
    let line = front.access_line("sent").await;
    assert_eq!((&line["code"], &line["status"]), (&"ok".into(), &308.into()));
    // A certificate authority asks in cleartext.
    let challenge = last_get("env", "/.well-known/acme-challenge/x?headers=1", "");
    assert_eq!(ask(&front, &challenge).await.status, 200);
    // What is refused is refused, wherever it comes.
    let bad = ask(&front, "GET /a/../b HTTP/1.1\r\nhost: env.test\r\n\r\n").await;
    assert_eq!(bad.status, 400);

    let config = tls_client(&[&pair], &[]);
    let address = front.https.expect("TLS");
    for (host, status) in [("env", "200 OK"), ("nobody", "404 Not Found")] {
        let stream = shake_hands(address, "env.test", config.clone()).await;
        let mut stream = stream.expect("a handshake");
        let answer = exchange(&mut stream, &last_get(host, "/", "")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
        assert!(answer.contains("\r\nstrict-transport-security: max-age=3600\r\n"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_ends_tls_is_not_sent_around_in_circles() {
    let local: ipnet::IpNet = "127.0.0.1/32".parse().expect("a network");
    let (front, _) = front(|_, edge| {
        edge.redirect = Some(443);
        edge.trusted_proxies = [local].into_iter().collect();
    })
    .await;
    let https = last_get("env", "/?headers=1&scheme=1", "x-forwarded-proto: https\r\n");
    let answer = ask(&front, &https).await;
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("scheme HTTPS\n"), "{}", answer.text());
    let answer = ask(&front, &last_get("env", "/", "x-forwarded-proto: http\r\n")).await;
    assert_eq!((answer.status, answer.header("location")), (308, Some("https://env.test/")));
}

//! Servers behind TLS.

use super::*;
use crate::support::{Origin, Pair, Raw, within};

fn manifest_of(port: u16, ca: Option<&str>) -> String {
    let ca = ca.map_or(String::new(), |ca| format!("ca = '''\n{ca}'''\n"));
    format!("[upstream.up]\nroute = \"up.test/*\"\ntarget = \"https://localhost:{port}\"\n{ca}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_believed_by_its_certificate_and_spoken_to_as_it_likes() {
    let pair = Pair::for_names(&["localhost"]);
    for (protocols, version) in
        [(&["h2", "http/1.1"][..], "HTTP/2.0"), (&["http/1.1"], "HTTP/1.1"), (&[], "HTTP/1.1")]
    {
        let origin = Origin::start_tls("safe", &pair, protocols).await;
        let node = Node::start();
        node.apply(&manifest_of(origin.address.port(), Some(&pair.certificate)));
        for _ in 0..3 {
            let (status, text) = node.get("up.test", "/headers").await;
            assert_eq!(status, 200, "{text}");
            assert!(text.contains(version), "{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_nobody_vouches_for_is_not_spoken_to() {
    let (pair, other) = (Pair::for_names(&["localhost"]), Pair::for_names(&["localhost"]));
    let origin = Origin::start_tls("unknown", &pair, &["h2"]).await;
    let node = Node::start();
    for ca in [None, Some(other.certificate.as_str())] {
        node.apply(&manifest_of(origin.address.port(), ca));
        let (status, text) = node.get("up.test", "/").await;
        assert_eq!(status, 502, "{text}");
        assert!(text.contains("upstream-unreachable"), "{text}");
    }
    assert_eq!(origin.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_that_wait_for_a_server_that_says_nothing_wait_together() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free address");
    let node = Node::start();
    let lines = "connect_timeout = \"2s\"\nretry = { attempts = 0 }\n";
    let port = silent.local_addr().expect("an address").port();
    node.apply(&format!("{}{lines}", manifest_of(port, None)));
    let asked = (0..60).map(|_| node.get("up.test", "/"));
    // One after the other they would take two minutes.
    let answers = within("all are answered", futures_util::future::join_all(asked)).await;
    assert!(answers.iter().all(|(status, _)| *status == 502), "{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_is_refused_leaves_others_their_http2() {
    let pair = Pair::for_names(&["localhost"]);
    let origin = Origin::start_tls("safe", &pair, &["h2", "http/1.1"]).await;
    let node = Node::start();
    node.apply(&manifest_of(origin.address.port(), Some(&pair.certificate)));
    let mut raw = Raw::connect(node.http).await;
    for (fields, version) in
        [("connection: upgrade\r\nupgrade: other\r\n", "HTTP/1.1"), ("", "HTTP/2.0")]
    {
        raw.send(format!("GET /headers HTTP/1.1\r\nhost: up.test\r\n{fields}\r\n")).await;
        let text = raw.answer().await.expect("an answer").text();
        assert!(text.contains(version), "{text}");
    }
}

//! Where requests are led to, and where never.

use super::*;
use crate::support::Origin;

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_reaches_what_its_role_names_and_nothing_else() {
    let (one, other) = (Origin::start("one").await, Origin::start("other").await);
    let front = front(Names::saying(&[])).await;
    let only_get = json!({ "to": format!("http://{}", one.address), "methods": ["GET"] });
    let cell = fetcher(&front, "fetch", json!({ "outbound": [only_get] })).await;
    let url = format!("http://{}/headers", one.address);
    let (status, text) = fetch(&front, "fetch", &url, "").await;
    assert_eq!(status, 200, "{text}");
    assert!(text.contains(&format!("host: {}", one.address)), "{text}");
    for url in [
        format!("http://{}/", other.address),
        format!("https://{}/", one.address),
        "http://example.com/".to_owned(),
    ] {
        let (status, text) = fetch(&front, "fetch", &url, "").await;
        assert_eq!((status, text.trim()), (502, "ErrorCode::HttpRequestDenied"), "{url}");
    }
    let post = front.client().request("POST", "fetch", &via(&url, "")).body("x");
    let answer = post.send().await.expect("an answer");
    assert_eq!(answer.text().await.expect("a body").trim(), "ErrorCode::HttpRequestDenied");
    assert_eq!((one.requests(), other.requests()), (1, 0));
    let origin = format!("http://{}", other.address);
    noted(&cell, &format!("add `outbound = [\"{origin}\"]` to [role.web]")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_network_needs_the_role_and_the_node() {
    let origin = Origin::start("one").await;
    let port = origin.address.port();
    let closed = front_allowing(&[], Names::saying(&[&["127.0.0.1"]])).await;
    let open = front(Names::saying(&[&["127.0.0.1"]])).await;
    let outbound = [format!("http://a.example:{port}")];
    let role = |networks: &[&str]| json!({ "outbound": outbound, "networks": networks });
    let url = format!("http://a.example:{port}/");
    for (front, networks, says) in [
        (&closed, &["127.0.0.0/8"][..], "--allow-network 127.0.0.1"),
        (&open, &[], "add `networks = [\"127.0.0.1\"]` to the role"),
    ] {
        let cell = fetcher(front, "fetch", role(networks)).await;
        let (status, text) = fetch(front, "fetch", &url, "").await;
        assert_eq!((status, text.trim()), (502, "ErrorCode::DestinationIpProhibited"));
        noted(&cell, says).await;
    }
    fetcher(&open, "both", role(&["127.0.0.0/8"])).await;
    let answer = fetch(&open, "both", &url, "").await;
    assert_eq!(answer, (200, "one".to_owned()));
    assert_eq!(origin.requests(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_itself_is_never_reached() {
    let front = front(Names::saying(&[&["127.0.0.1"]])).await;
    front.runtime.outside().listens_at(vec![front.address]);
    let port = front.address.port();
    let outbound = [format!("http://{}", front.address), format!("http://a.example:{port}")];
    let role = json!({ "outbound": outbound, "networks": ["127.0.0.0/8"] });
    let cell = fetcher(&front, "fetch", role).await;
    for url in &outbound {
        let (status, text) = fetch(&front, "fetch", &format!("{url}/"), "").await;
        assert_eq!((status, text.trim()), (502, "ErrorCode::DestinationIpProhibited"), "{url}");
    }
    noted(&cell, "is this node itself").await;
}

/// Whoever answers for a name may answer otherwise the next time.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_moves_moves_nobody() {
    let origin = Origin::start("one").await;
    let port = origin.address.port();
    let names = Names::saying(&[&["127.0.0.1"], &["10.0.0.1"]]);
    let front = front(names.clone()).await;
    let role = json!({
        "outbound": [format!("http://a.example:{port}")],
        "networks": ["127.0.0.0/8"],
    });
    fetcher(&front, "fetch", role.clone()).await;
    let url = format!("http://a.example:{port}/");
    for _ in 0..3 {
        assert_eq!(fetch(&front, "fetch", &url, "").await.0, 200);
    }
    assert_eq!(names.asked(), 1, "the connection is used again, and the name not looked up");
    assert_eq!(origin.seen.connections.load(Ordering::Relaxed), 1);
    // Another service has connections of its own, and finds where the name leads now.
    fetcher(&front, "late", role).await;
    let (status, text) = fetch(&front, "late", &url, "").await;
    assert_eq!((status, text.trim()), (502, "ErrorCode::DestinationIpProhibited"));
    assert_eq!((names.asked(), origin.requests()), (2, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_address_of_a_name_is_looked_at() {
    let origin = Origin::start("one").await;
    let port = origin.address.port();
    let mixed = ["169.254.169.254", "10.0.0.1", "::ffff:10.0.0.1", "127.0.0.1"];
    let front = front(Names::saying(&[&mixed])).await;
    let role = json!({
        "outbound": [format!("http://a.example:{port}")],
        "networks": ["0.0.0.0/0", "::/0"],
    });
    fetcher(&front, "fetch", role).await;
    let url = format!("http://a.example:{port}/");
    assert_eq!(fetch(&front, "fetch", &url, "").await, (200, "one".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_the_guests_own_matter() {
    let origin = Origin::start("one").await;
    origin.answer_with(302);
    let front = front(Names::saying(&[])).await;
    fetcher(&front, "fetch", role_to(origin.address)).await;
    let answer = fetch(&front, "fetch", &format!("http://{}/", origin.address), "").await;
    assert_eq!((answer.0, origin.requests()), (302, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_request_is_refused() {
    let front = front(Names::saying(&[])).await;
    let role = json!({ "outbound": ["http://*", "https://*"], "networks": ["0.0.0.0/0"] });
    fetcher(&front, "fetch", role).await;
    for (url, says) in [
        ("ftp://a.example/", "HttpProtocolError"),
        ("http://user:secret@a.example/", "HttpRequestUriInvalid"),
        ("http://nowhere.example/", "DnsError"),
    ] {
        let (status, text) = fetch(&front, "fetch", url, "").await;
        assert_eq!(status, 502, "{url}: {text}");
        assert!(text.contains(says), "{url}: {text}");
    }
}

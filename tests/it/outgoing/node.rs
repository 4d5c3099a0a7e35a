//! Roles of a whole node: from its manifest to its metrics.

use super::*;
use crate::support::{Node, Origin, Pair, Setup, http_client, within};

fn setup() -> Setup {
    Setup::with(&["--allow-network", "127.0.0.0/8"])
}

/// A service `fetch` with this role, in the words of a manifest.
fn manifest(role: &str) -> String {
    format!(
        "[role.web]\n{role}\n[task.fetch]\ncomponent = \"fetch.wasm\"\nrole = \"web\"\n\
         [service.fetch]\nroute = \"fetch.test/*\"\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_role_is_a_new_revision() {
    let (one, other) = (Origin::start("one").await, Origin::start("other").await);
    let node = Node::start_with(setup());
    node.put("fetch.wasm", &guest("fetch"));
    node.apply(&manifest(&format!("outbound = [\"http://{}\"]", one.address)));
    let ask = |origin: &Origin| via(&format!("http://{}/", origin.address), "");
    assert_eq!(node.get("fetch.test", &ask(&one)).await, (200, "one".to_owned()));
    assert_eq!(node.get("fetch.test", &ask(&other)).await.0, 502);
    let detail = node.describe("fetch");
    let outbound = format!("http://{}", one.address);
    assert_eq!(detail["definition"]["role"]["outbound"], json!([outbound]));
    assert_eq!(detail["definition"]["role"]["name"], "web");
    let page = node.wharf(&["describe", "fetch"]).ok().stdout;
    assert!(page.contains(&format!("outbound          {outbound}")), "{page}");
    node.apply(&manifest(&format!("outbound = [\"http://{}\"]", other.address)));
    assert_eq!(node.describe("fetch")["definition"]["id"], "fetch:2");
    assert_eq!(node.get("fetch.test", &ask(&one)).await.0, 502);
    assert_eq!(node.get("fetch.test", &ask(&other)).await, (200, "other".to_owned()));
    let metrics = http_client().get(node.api_url("/metrics")).send().await.expect("an answer");
    let metrics = metrics.text().await.expect("a body");
    let series = "wharf_outgoing_requests_total{service=\"fetch\",outcome=";
    for end in ["\"answered\"} 2\n", "\"denied\"} 2\n"] {
        assert!(metrics.contains(&format!("{series}{end}")), "{metrics}");
    }
    assert_eq!(metrics.matches(series).count(), 2, "what never happened is not there");
    node.wharf(&["rollout", "undo", "fetch", "--to", "1"]).ok();
    let old_rights =
        async { while node.get("fetch.test", &ask(&one)).await != (200, "one".to_owned()) {} };
    within("the old rights are back", old_rights).await;
    assert_eq!(node.get("fetch.test", &ask(&other)).await.0, 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ports_of_the_node_are_closed_whatever_is_allowed() {
    let node = Node::start_with(setup());
    node.put("fetch.wasm", &guest("fetch"));
    let origins = [format!("http://{}", node.http), format!("http://{}", node.api)];
    node.apply(&manifest(&format!("outbound = {origins:?}\nnetworks = [\"127.0.0.0/8\"]")));
    for origin in origins {
        let (status, text) = node.get("fetch.test", &via(&format!("{origin}/healthz"), "")).await;
        assert_eq!((status, text.trim()), (502, "ErrorCode::DestinationIpProhibited"), "{origin}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_private_is_reached_unless_the_node_allows_it() {
    let origin = Origin::start("one").await;
    let node = Node::start();
    node.put("fetch.wasm", &guest("fetch"));
    node.apply(&manifest(&format!("outbound = [\"http://{}\"]", origin.address)));
    let (_, text) = node.get("fetch.test", &via(&format!("http://{}/", origin.address), "")).await;
    assert_eq!((text.trim(), origin.requests()), ("ErrorCode::DestinationIpProhibited", 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_proves_itself_and_chooses_its_protocol() {
    let (pair, unknown) = (Pair::for_names(&["localhost"]), Pair::for_names(&["localhost"]));
    let dir = tempfile::tempdir().expect("a folder");
    let (certificate, _) = pair.write(dir.path(), "ca");
    let certificate = certificate.to_str().expect("Unicode").to_owned();
    let env = vec![("SSL_CERT_FILE".to_owned(), certificate)];
    let node = Node::start_with(Setup { env, ..setup() });
    node.put("fetch.wasm", &guest("fetch"));
    let h2 = Origin::start_tls("h2", &pair, &["h2", "http/1.1"]).await;
    let h1 = Origin::start_tls("h1", &pair, &["http/1.1"]).await;
    let forged = Origin::start_tls("forged", &unknown, &["h2"]).await;
    let url = |origin: &Origin| format!("https://localhost:{}", origin.address.port());
    let origins = [url(&h2), url(&h1), url(&forged)];
    node.apply(&manifest(&format!("outbound = {origins:?}\nnetworks = [\"127.0.0.0/8\"]")));
    for (origin, version) in [(&h2, "HTTP/2.0"), (&h1, "HTTP/1.1")] {
        for _ in 0..3 {
            let path = via(&format!("{}/headers", url(origin)), "");
            let (status, text) = node.get("fetch.test", &path).await;
            assert_eq!(status, 200, "{text}");
            assert!(text.contains(version), "{text}");
        }
        assert_eq!(origin.seen.connections.load(Ordering::Relaxed), 1, "{version}");
    }
    let (status, text) = node.get("fetch.test", &via(&format!("{}/", url(&forged)), "")).await;
    assert_eq!((status, text.trim()), (502, "ErrorCode::TlsCertificateError"));
    assert_eq!(forged.requests(), 0);
}

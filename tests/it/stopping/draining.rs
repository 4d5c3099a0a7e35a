//! A node that drains: it is left alone by whoever balances before it, and serves what still comes.

use rustix::process::Signal;

use super::hand_over::{Traffic, node_with};
use super::successor::{hand_over, tell};
use crate::support::{Node, Raw, Setup, guest, http_client, wait_for};

/// Status and code of `/readyz`.
async fn ready(node: &Node) -> (u16, String) {
    let response = http_client().get(node.api_url("/readyz")).send().await.expect("an answer");
    let code = response.headers().get("wharf-error").map(|code| code.to_str().expect("text"));
    (response.status().as_u16(), code.unwrap_or_default().to_owned())
}

async fn is_draining(node: &Node) -> bool {
    let status = node.node_record()["status"].clone();
    let (code, error) = ready(node).await;
    assert!(
        (&*error, code, status == "DRAINING") == ("draining", 503, true)
            || (&*error, code, status == "ACTIVE") == ("", 200, true),
        "{code} {error} {status}"
    );
    code == 503
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_lost_when_a_node_drains_and_comes_back() {
    let node = node_with(Setup::default());
    let traffic = Traffic::begin(node.http);
    traffic.more(50);
    for _ in 0..3 {
        let drained = node.wharf(&["node", "drain"]).ok();
        assert_eq!(drained.stdout, "node local is draining: /readyz answers 503\n");
        assert!(drained.stderr.contains("its services stay where they are"), "{}", drained.stderr);
        assert!(is_draining(&node).await);
        traffic.more(50);
        let back = node.wharf(&["node", "undrain"]).ok();
        assert_eq!(back.stdout, "node local is active\n");
        assert!(!is_draining(&node).await);
        traffic.more(50);
    }
    let failures = traffic.end().await;
    assert!(failures.is_empty(), "{}: {failures:?}\n{}", failures.len(), node.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_stays_and_what_is_new_waits() {
    let node = node_with(Setup::default());
    node.wharf(&["node", "drain", "local"]).ok();
    let twice = node.wharf(&["node", "drain", "local"]).ok();
    assert_eq!(twice.stdout, "node local is draining already: /readyz answers 503\n");
    node.wharf(&["scale", "echo", "2"]).ok();
    wait_for("the new bounds", || (node.describe("echo")["tasks"] == 2).then_some(()));
    let why = "stays on local, which is draining: no other node takes it";
    assert_eq!(node.describe("echo")["why"], why);
    assert!(node.wharf(&["describe", "echo"]).ok().stdout.contains(why));
    assert_eq!(node.get("echo.localhost", "/").await.0, 200);
    let manifest =
        "[task.late]\ncomponent = \"echo.wasm\"\n[service.late]\nroute = \"late.localhost\"\n";
    std::fs::write(node.path("late.toml"), manifest).expect("writable");
    node.wharf(&["apply", "-f", "late.toml"]).ok();
    let late = node.describe("late");
    let why = "node local is draining and takes no new service: `wharf node undrain local`";
    assert_eq!((&late["state"], &late["message"]), (&"blocked".into(), &why.into()));
    assert!(node.wharf(&["describe", "late"]).ok().stdout.contains(why));
    assert_eq!(node.get("late.localhost", "/").await.0, 404);
    node.wharf(&["node", "undrain"]).ok();
    node.wharf(&["apply", "-f", "late.toml", "--wait"]).ok();
    assert_eq!(node.get("late.localhost", "/").await.0, 200);
    assert_eq!(node.describe("echo")["why"], serde_json::Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_drains_over_a_restart_and_a_hand_over_until_it_is_brought_back() {
    let mut node = node_with(Setup::default());
    node.wharf(&["node", "drain"]).ok();
    assert_eq!(node.stop(), Some(0));
    node.start_again();
    assert!(is_draining(&node).await);
    let heir = hand_over(&node, node.pid());
    assert_eq!(node.wait_end(), Some(0));
    assert!(is_draining(&node).await);
    let mut raw = Raw::connect(node.http).await;
    raw.send("GET / HTTP/1.1\r\nhost: echo.localhost\r\n\r\n").await;
    let answer = raw.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    node.wharf(&["node", "undrain"]).ok();
    tell(heir.pid(), Signal::KILL);
    wait_for("its end", || heir.is_gone().then_some(()));
    node.start_again();
    assert!(!is_draining(&node).await);
}

#[test]
fn a_node_that_is_not_there_is_named() {
    let node = Node::start();
    for what in ["drain", "undrain"] {
        let ran = node.wharf(&["node", what, "edge"]);
        assert_eq!(ran.code, Some(1));
        let said = "error: there is no node edge\nhint: nodes that exist: local\n";
        assert_eq!(ran.stderr, said);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_ends_when_no_client_is_left() {
    let node = node_with(Setup::default());
    node.put("hang.wasm", &guest("never-respond"));
    node.apply(
        "[task.hang]\ncomponent = \"hang.wasm\"\ntimeout = \"1h\"\n\
         [service.hang]\nroute = \"hang.localhost\"\n",
    );
    let mut slow = Raw::connect(node.http).await;
    slow.send("GET /?ms=1500 HTTP/1.1\r\nhost: sleep.localhost\r\n\r\n").await;
    wait_for("it runs", || (node.node_record()["live"]["in_flight"] == 1).then_some(()));
    let drained = node.wharf(&["node", "drain", "--wait", "-o", "json"]).ok();
    let (live, status) = (&drained.json()["live"], &drained.json()["status"]);
    assert_eq!((&live["connections"], &live["in_flight"]), (&0.into(), &0.into()));
    assert_eq!(status, "DRAINING");
    assert!(drained.stderr.contains("draining, 1 request in flight, 1 connection\n"));
    assert!(drained.stderr.ends_with("drained: no connection is left, nothing is in flight\n"));
    let answer = slow.answer().await.expect("an answer");
    assert_eq!(
        (answer.text().as_str(), answer.header("connection")),
        ("slept 1500 ms\n", Some("close"))
    );
    let mut hanging = Raw::connect(node.http).await;
    hanging.send("GET /hang HTTP/1.1\r\nhost: hang.localhost\r\n\r\n").await;
    wait_for("it hangs", || (node.node_record()["live"]["in_flight"] == 1).then_some(()));
    let late = node.wharf(&["node", "drain", "--wait", "--timeout", "100ms"]);
    assert_eq!(late.code, Some(1));
    let said = "error: not drained within 100ms: draining, 1 request in flight, 1 connection\n";
    assert!(late.stderr.contains(said), "{}", late.stderr);
}

//! What changes under a running node, in whatever order.

use crate::support::{Node, guest, http_client, wait_for};

fn node_with(files: &[(&str, &str)]) -> Node {
    let node = Node::start();
    for (file, task) in files {
        node.put(file, &guest(task));
    }
    node
}

fn manifest(services: &[(&str, &str)]) -> String {
    let service = |(name, route): &(&str, &str)| {
        format!(
            "[task.{name}]\ncomponent = \"{name}.wasm\"\n[service.{name}]\nroute = \"{route}\"\n"
        )
    };
    services.iter().map(service).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_that_move_between_services_are_never_lost() {
    let node = node_with(&[("a.wasm", "hello"), ("z.wasm", "env")]);
    let [first, second] = ["one.localhost", "two.localhost"];
    let hello = "Hello from Wharf!\n";
    for (of_a, of_z) in [(first, second), (second, first), (first, second)] {
        node.apply(&manifest(&[("a", of_a), ("z", of_z)]));
        wait_for("both routes", || {
            let services = node.wharf(&["services", "-o", "json"]).ok().json();
            (services[0]["state"] == "ready" && services[1]["state"] == "ready").then_some(())
        });
        assert_eq!(node.get(of_a, "/").await, (200, hello.to_owned()));
        let (status, body) = node.get(of_z, "/").await;
        assert!(status == 200 && body != hello, "{status} {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_environments_do_not_stop_the_control_plane() {
    let node = node_with(&[("big.wasm", "hello")]);
    let mut text = format!("[task.big]\ncomponent = \"big.wasm\"\nenv = {{ A = \"{}\" }}\n", {
        "x".repeat(60 << 10)
    });
    for n in 0..40 {
        text.push_str(&format!("[service.s{n}]\ntask = \"big\"\nroute = \"s{n}.localhost\"\n"));
    }
    node.apply(&text);
    for n in [0, 17, 39] {
        assert_eq!(node.get(&format!("s{n}.localhost"), "/").await.0, 200, "{}", node.log());
    }
}

async fn slow_request(http: std::net::SocketAddr) -> u16 {
    let url = format!("http://{http}/?ms=3000");
    let request = http_client().get(url).header("host", "sleep.localhost");
    request.send().await.expect("an answer").status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_comes_back_while_its_requests_drain_is_ready() {
    let node = node_with(&[("sleep.wasm", "sleep")]);
    let manifest = manifest(&[("sleep", "sleep.localhost")]);
    node.apply(&manifest);
    let slow = tokio::spawn(slow_request(node.http));
    wait_for("the request", || (node.describe("sleep")["in_flight"] == 1).then_some(()));
    node.wharf(&["delete", "sleep", "--no-wait"]).ok();
    node.apply(&manifest);
    let answer = slow.await.expect("it ends");
    assert_eq!(answer, 200);
    // The drain of the first life ends after the second has begun.
    for _ in 0..20 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert_eq!(node.describe("sleep")["state"], "ready", "{}", node.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_fails_leaves_what_served_before_also_after_a_restart() {
    let mut node = node_with(&[("a.wasm", "hello")]);
    node.apply(&manifest(&[("a", "a.localhost")]));
    node.put("a.wasm", &crate::support::wat("needs-unknown-import"));
    let failed = node.try_apply(&manifest(&[("a", "a.localhost")]));
    assert_eq!(failed.code, Some(1), "{}{}", failed.stdout, failed.stderr);
    for _ in 0..2 {
        assert_eq!(node.get("a.localhost", "/").await.0, 200, "{}", node.log());
        assert_eq!(node.describe("a")["serving"], "a:1");
        node.kill();
        node.start_again();
    }
}

//! Rules on their way from a manifest to the load balancer of a node.

use crate::support::{Node, guest};

fn manifest(rules: &str) -> String {
    format!(
        "[task.env]\ncomponent = \"env.wasm\"\nenv = {{ NAME = \"me\" }}\n\
         [service.env]\nroute = [\"plain.test/*\", {{ match = \"ruled.test/*\", {rules} }}]\n\
         traffic = [{{ latest = true, percent = 100, tag = \"next\" }}]\n"
    )
}

async fn status(node: &Node, host: &str) -> u16 {
    node.get(host, "/?name=NAME").await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_hold_for_their_route_and_its_tags_and_change_with_the_manifest() {
    let mut node = Node::start();
    node.put("env.wasm", &guest("env"));
    let rate = "rate = { requests = 3, per = \"1h\" }";
    node.apply(&manifest(rate));
    for expected in [200, 200, 200, 429] {
        assert_eq!(status(&node, "ruled.test").await, expected);
    }
    assert_eq!(status(&node, "next---ruled.test").await, 429, "a tag has no limit of its own");
    assert_eq!(status(&node, "plain.test").await, 200);
    // Another rule leaves alone what the limit has counted.
    node.apply(&manifest(&format!("{rate}, methods = [\"GET\"]")));
    assert_eq!(status(&node, "ruled.test").await, 429);
    let page = node.wharf(&["describe", "env"]).ok().stdout;
    assert!(page.contains("methods GET, HEAD · rate 3 per 1h, at once 3, by route"), "{page}");
    node.apply(&manifest("deny = [\"127.0.0.1\"]"));
    assert_eq!(status(&node, "ruled.test").await, 403);
    node.kill();
    node.start_again();
    assert_eq!(status(&node, "ruled.test").await, 403);
    assert_eq!(status(&node, "next---ruled.test").await, 403);
    assert_eq!(status(&node, "plain.test").await, 200);
}

//! Deployments on a real node: steps, splits, orders, failures, kills.

mod changes;
mod continuity;
mod failures;
mod orders;
mod traffic;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::{Node, guest, wait_for};

const HOST: &str = "web.localhost";

/// A node that has the guests of these tests in its folder.
fn node() -> Node {
    let node = Node::start();
    for name in ["env", "trap", "sleep"] {
        node.put(&format!("{name}.wasm"), &guest(name));
    }
    node
}

/// The service `web`, whose requests `/?name=V` are answered with the version.
fn web(version: &str, rest: &str) -> String {
    web_of("env", version, rest)
}

fn web_of(task: &str, version: &str, rest: &str) -> String {
    format!(
        "[task.web]\ncomponent = \"{task}.wasm\"\nenv = {{ V = \"{version}\" }}\n\
         [service.web]\nroute = \"{HOST}\"\n{rest}\n"
    )
}

/// Applies without waiting.
fn begin(node: &Node, manifest: &str) {
    std::fs::write(node.path("wharf.toml"), manifest).expect("writable");
    node.wharf(&["apply", "-f", "wharf.toml"]).ok();
}

fn rollout(node: &Node) -> Value {
    node.wharf(&["rollout", "status", "web", "-o", "json"]).ok().json()
}

/// Waits until the deployment is in this stage.
fn stage(node: &Node, wanted: &str) -> Value {
    wait_for(&format!("the stage {wanted}"), || {
        let rollout = rollout(node);
        (rollout["stage"] == wanted).then_some(rollout)
    })
}

/// How often each version answered, of so many requests.
async fn versions(node: &Node, host: &str, requests: usize) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    for _ in 0..requests {
        let (status, body) = node.get(host, "/?name=V").await;
        let answer = if status == 200 { body.trim().to_owned() } else { status.to_string() };
        *seen.entry(answer).or_default() += 1;
    }
    seen
}

fn only(version: &str, requests: usize) -> BTreeMap<String, usize> {
    BTreeMap::from([(version.to_owned(), requests)])
}

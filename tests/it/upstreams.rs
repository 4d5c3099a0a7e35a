//! Requests that are forwarded to servers that are not Wharf's.

mod balance;
mod forward;
mod manifest;
mod retry;
mod tls;
mod upgrade;

use std::net::SocketAddr;

use crate::support::Node;

/// A node that forwards `up.test` to these servers, with these further lines of its manifest.
fn node(targets: &[SocketAddr], lines: &str) -> Node {
    let node = Node::start();
    node.apply(&manifest(targets, lines));
    node
}

fn manifest(targets: &[SocketAddr], lines: &str) -> String {
    let targets: Vec<String> = targets.iter().map(|at| format!("\"http://{at}\"")).collect();
    let targets = targets.join(", ");
    format!("[upstream.up]\nroute = \"up.test/*\"\ntarget = [{targets}]\n{lines}\n")
}

/// How a server is, in the words of the API.
fn state(node: &Node, target: SocketAddr) -> serde_json::Value {
    let url = format!("http://{target}");
    let detail = node.describe("up");
    let targets = detail["targets"].as_array().expect("targets");
    targets.iter().find(|one| one["target"] == *url).expect("the target").clone()
}

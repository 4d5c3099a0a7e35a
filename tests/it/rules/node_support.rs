//! A node with a service whose revisions answer with their version.

use crate::support::{Answer, Node, Raw, guest};

pub fn node() -> Node {
    let node = Node::start();
    node.put("env.wasm", &guest("env"));
    node
}

/// The service `web` at this version, with more keys.
pub fn web(version: &str, more: &str) -> String {
    format!(
        "[task.web]\ncomponent = \"env.wasm\"\nenv = {{ VERSION = \"{version}\" }}\n\
         [service.web]\nroute = \"web.localhost\"\n{more}"
    )
}

/// The answer to a request for the version, with these fields.
pub async fn ask(node: &Node, fields: &str) -> Answer {
    let mut raw = Raw::connect(node.http).await;
    let head = "GET /?name=VERSION HTTP/1.1\r\nhost: web.localhost\r\nconnection: close\r\n";
    raw.send(format!("{head}{fields}\r\n")).await;
    raw.answer().await.expect("an answer")
}

//! Rules of routes: what is refused, what is let pass, and what clients are told.

mod admission;
mod marks;
mod mirrors;
mod affinity;
mod compression;
mod expectations;
mod node;
mod node_support;

use std::net::SocketAddr;

use serde_json::{Value, json};
use wharf::model::Route;

use wharf::proxy::Edge;

use crate::support::{Answer, Front, Raw, ServiceOptions, guest};

/// A front with the sample task `echo` at a route with these rules, which believes this machine
/// when it says where requests come from.
async fn front(rules: Value) -> Front {
    let mut edge = Edge::default();
    let local = "127.0.0.0/8".parse::<ipnet::IpNet>().expect("a network");
    edge.trusted_proxies = [local].into_iter().collect();
    let front = Front::start_at_edge(Default::default(), edge).await;
    front.deploy("echo", &guest("echo"), ServiceOptions::default()).await;
    rule(&front, rules);
    front
}

/// Gives the route of `echo` these rules.
fn rule(front: &Front, mut rules: Value) {
    rules["match"] = json!("echo.test/*");
    let route: Route = serde_json::from_value(rules).expect("a route");
    front.rule(&route, "echo");
}

/// The answer to a request of a client at this address.
async fn ask(address: SocketAddr, method: &str, client: &str, more: &str) -> Answer {
    let mut raw = Raw::connect(address).await;
    raw.send(format!(
        "{method} / HTTP/1.1\r\nhost: echo.test\r\nx-forwarded-for: {client}\r\n{more}\r\n"
    ))
    .await;
    match method {
        "HEAD" => raw.head().await.expect("an answer"),
        _ => raw.answer().await.expect("an answer"),
    }
}

/// The status of an answer, and the code that the load balancer gave with it.
fn outcome(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.header("wharf-error").unwrap_or_default())
}

//! `wharf node`: takes a node out, and brings it back.

use std::time::Duration;

use clap::Subcommand;
use reqwest::Method;

use crate::api::{Live, Node, NodeStatus};
use crate::clock;
use crate::model::{NodeId, duration};

use super::args;
use super::client::ApiClient;
use super::output::{self, Output, say};
use super::progress::Waits;
use super::told::Told;

/// How often a node that drains is looked at.
const INTERVAL: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A node that drains gets no new services, answers /readyz with 503, and tells its clients to go
elsewhere with their next answer. What still comes is served. It stays so over a restart.

Examples:
  wharf node drain --wait       take the only node out, and wait until no client is left
  wharf node drain edge-1       one of several
  wharf node undrain            bring it back")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take a node out: no new services, and its clients are told to go elsewhere
    Drain {
        #[command(flatten)]
        of: Of,
        /// Wait until no connection is left and nothing is in flight
        #[arg(long)]
        wait: bool,
        /// How long to wait
        #[arg(long, value_parser = args::time, default_value = "5m", value_name = "TIME")]
        timeout: Duration,
    },
    /// Bring a node that drains back
    Undrain(Of),
}

#[derive(Debug, clap::Args)]
struct Of {
    /// The node; may be left out where there is only one
    #[arg(value_parser = args::name, value_name = "NODE")]
    node: Option<NodeId>,
}

pub(super) async fn run(args: Args, api: &ApiClient, output: Output) -> anyhow::Result<()> {
    let nodes: Vec<Node> = api.get(&["v1", "nodes"]).await?;
    match args.command {
        Command::Drain { of, wait, timeout } => {
            let id = which(of, &nodes)?;
            let mut node = order(api, &id, "drain").await?;
            if output == Output::Table {
                tell_drained(&nodes, &node)?;
            }
            if wait {
                node = until_left(api, node, timeout).await?;
            }
            if output == Output::Json { output::json(&node) } else { Ok(()) }
        }
        Command::Undrain(of) => {
            let id = which(of, &nodes)?;
            let node = order(api, &id, "undrain").await?;
            match output {
                Output::Json => output::json(&node),
                Output::Table => {
                    let already = already(&nodes, &node);
                    output::text(&format!("node {id} is active{already}\n"))
                }
            }
        }
    }
}

/// The node that is meant.
fn which(of: Of, nodes: &[Node]) -> Result<String, Told> {
    match (of.node, nodes) {
        (Some(id), _) => Ok(id.to_string()),
        (None, [one]) => Ok(one.id.clone()),
        (None, []) => Err(Told::new("no node has registered itself yet")),
        (None, many) => {
            let ids: Vec<&str> = many.iter().map(|node| node.id.as_str()).collect();
            let told = Told::usage(format!("there are several nodes: {}", ids.join(", ")));
            Err(told.hint("name the one that you mean"))
        }
    }
}

async fn order(api: &ApiClient, id: &str, what: &str) -> anyhow::Result<Node> {
    api.call(api.request(Method::POST, &["v1", "nodes", id, what])).await
}

/// Whether the node was before what it is now.
fn already(before: &[Node], node: &Node) -> &'static str {
    let same = before.iter().any(|one| one.id == node.id && one.status == node.status);
    if same { " already" } else { "" }
}

/// Says what it means, and what becomes of its services.
fn tell_drained(before: &[Node], node: &Node) -> anyhow::Result<()> {
    let (id, already) = (&node.id, already(before, node));
    let is_other = |one: &&Node| one.id != *id && one.status == NodeStatus::Active;
    match before.iter().find(is_other) {
        Some(_) => say("note: its services go to other nodes as soon as those serve them"),
        None => say(
            "note: there is no other node: its services stay where they are, and what still comes \
             is served",
        ),
    }
    output::text(&format!("node {id} is draining{already}: /readyz answers 503\n"))
}

/// Waits until the node has no client any more.
async fn until_left(api: &ApiClient, node: Node, timeout: Duration) -> anyhow::Result<Node> {
    let deadline = clock::now() + timeout;
    let (mut waits, mut node, id) = (Waits::new(), node.clone(), node.id);
    loop {
        let Some(live) = &node.live else { return Err(unseen(&id).into()) };
        if node.status == NodeStatus::Active {
            let told = Told::new(format!("node {id} was brought back meanwhile"));
            return Err(told.into());
        }
        let (has_left, left) = (live.connections == 0 && live.in_flight == 0, left(live));
        waits.show(&id, &left, None, has_left);
        if has_left {
            return Ok(node);
        }
        if clock::now() >= deadline {
            let timeout = duration::format(timeout);
            let late = Told::new(format!("not drained within {timeout}: {left}"));
            return Err(late
                .hint(
                    "it goes on draining: see who still comes, or wait longer \
                                  with --timeout",
                )
                .into());
        }
        tokio::time::sleep(INTERVAL).await;
        let nodes: Vec<Node> = api.get(&["v1", "nodes"]).await?;
        let found = nodes.into_iter().find(|node| node.id == id);
        node = found.ok_or_else(|| Told::new(format!("node {id} is gone")))?;
    }
}

/// What is left of its clients.
fn left(live: &Live) -> String {
    let count = |n: u64, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    match (live.in_flight, live.connections) {
        (0, 0) => "drained: no connection is left, nothing is in flight".to_owned(),
        (requests, connections) => format!(
            "draining, {} in flight, {}",
            count(requests, "request"),
            count(connections, "connection")
        ),
    }
}

fn unseen(id: &str) -> Told {
    Told::new(format!(
        "node {id} is another one than that which answers: only it knows its clients"
    ))
    .hint("ask its own API, with --api")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str, status: NodeStatus) -> Node {
        let (cpu, instances) = (1, 1);
        let (memory, version) = Default::default();
        Node { id: id.to_owned(), status, version, cpu, memory, instances, live: None }
    }

    #[test]
    fn the_only_node_is_meant_where_none_is_named() {
        let (a, b) = (node("a", NodeStatus::Active), node("b", NodeStatus::Draining));
        let none = || Of { node: None };
        assert_eq!(which(none(), std::slice::from_ref(&a)).expect("one"), "a");
        let named = Of { node: Some("c".parse().expect("a name")) };
        assert_eq!(which(named, &[]).expect("named"), "c");
        assert!(which(none(), &[]).is_err());
        let several = which(none(), &[a.clone(), b.clone()]).expect_err("which?");
        assert_eq!(several.to_string(), "there are several nodes: a, b");
        assert_eq!(already(&[a, b.clone()], &b), " already");
        assert_eq!(already(&[node("b", NodeStatus::Active)], &b), "");
    }
}

//! `wharf nodes`: the machines.

use crate::api::Node;

use super::client::ApiClient;
use super::output::{self, Output};

pub(super) const HELP: &str = "\
Examples:
  wharf nodes                 memory, instances and loaded components: now, and at most
  wharf nodes -o json";

const HEADER: [&str; 8] =
    ["node", "status", "version", "cpu", "memory", "instances", "loaded", "reset"];

pub(super) async fn run(api: &ApiClient, output: Output) -> anyhow::Result<()> {
    let nodes: Vec<Node> = api.get(&["v1", "nodes"]).await?;
    output.list(&nodes, "no node has registered itself yet", &HEADER, row)?;
    let hazards = nodes.iter().filter_map(|node| Some((node, node.live.as_ref()?)));
    for (node, live) in hazards {
        if let Some(hazard) = &live.reset_hazard {
            let id = &node.id;
            output::say(format!("warning: {id}: the fast reset is not safe any more: {hazard}"));
            output::say("hint: turn swap off, or restart the node, which then resets safely");
        }
    }
    Ok(())
}

fn row(node: &Node) -> Vec<String> {
    let live = node.live.as_ref();
    let unknown = || "-".to_owned();
    let memory = live.map_or_else(
        || node.memory.clone(),
        |l| {
            format!(
                "{} of {}",
                output::bytes(l.memory_used_bytes),
                output::bytes(l.memory_max_bytes)
            )
        },
    );
    vec![
        node.id.clone(),
        node.status.to_string(),
        node.version.clone(),
        node.cpu.to_string(),
        memory,
        live.map_or_else(|| node.instances.to_string(), |l| format!("{}/{}", l.instances, l.slots)),
        live.map_or_else(unknown, |l| format!("{}/{}", l.loaded, l.loaded_max)),
        live.map_or_else(unknown, |l| format!("{} ({})", l.reset, l.reset_because)),
    ]
}

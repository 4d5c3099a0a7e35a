//! `wharf version`: of this program, and of the node if one answers.

use serde::Serialize;

use crate::api::Version;

use super::client::ApiClient;
use super::output::{self, Output};

pub(super) const HELP: &str = "\
Examples:
  wharf version               of this program, and of the node if one answers
  wharf version -o json";

#[derive(Serialize)]
struct Versions {
    version: &'static str,
    wasmtime: &'static str,
    /// Absent when no node answers.
    node: Option<Version>,
}

pub(super) async fn run(api: &ApiClient, output: Output) -> anyhow::Result<()> {
    let node: Option<Version> = api.get(&["v1", "version"]).await.ok();
    let (version, wasmtime) = (env!("CARGO_PKG_VERSION"), env!("WHARF_WASMTIME_VERSION"));
    let versions = Versions { version, wasmtime, node };
    if output == Output::Json {
        return output::json(&versions);
    }
    let mut text = format!("wharf {version} (wasmtime {wasmtime})\n");
    if versions.node.is_none() {
        output::say(format!("no node answers at {}", api.authority()));
    }
    if let Some(node) = &versions.node {
        let state = if node.ready { "ready" } else { "not ready" };
        text += &format!(
            "node  {} {} (wasmtime {}), {state}\n",
            node.node, node.version, node.wasmtime
        );
    }
    output::text(&text)
}

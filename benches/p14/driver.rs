//! Deploys, aborts and rolls back, as a person would.

use std::fmt::Write;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde::Deserialize;

use crate::harness::guest;
use crate::harness::node::Node;

/// How often a deployment is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How long a deployment may take to be where it should be.
const PATIENCE: Duration = Duration::from_secs(120);
/// The services, and the sample tasks that they run.
const SERVICES: [(&str, &str); 3] = [("web", "env"), ("slow", "sleep"), ("stream", "echo")];

/// Deploys to one node.
pub(crate) struct Driver<'a> {
    node: &'a Node,
}

#[derive(Deserialize)]
struct Rollout {
    stage: String,
}

#[derive(Deserialize)]
struct Drained {
    status: String,
}

impl<'a> Driver<'a> {
    pub(crate) fn new(node: &'a Node) -> Self {
        Self { node }
    }

    /// Deploys a version of every service, and waits until it has taken over.
    pub(crate) fn deploy(&self, version: u64, strategy: &str) -> anyhow::Result<()> {
        let manifest: Vec<String> =
            SERVICES.iter().map(|(name, task)| service(name, task, version, strategy)).collect();
        self.node.apply(&manifest.concat())
    }

    /// Begins a canary of a version, and takes it back.
    pub(crate) fn abort(&self, version: u64) -> anyhow::Result<()> {
        let canary = "strategy = \"canary\", percent = 20, step_bake = \"1h\"";
        self.begin(&service("web", "env", version, canary))?;
        self.wait_for(&["shifting"])?;
        self.node.call(&["rollout", "abort", "web"])?;
        self.wait_for(&["aborted"]).map(drop)
    }

    /// Deploys a version that traps on every request, and returns how that ended.
    pub(crate) fn deploy_trap(&self, percent: u64) -> anyhow::Result<String> {
        let canary = format!("strategy = \"canary\", percent = {percent}, step_bake = \"1h\"");
        self.begin(&service("web", "trap", 0, &canary))?;
        self.wait_for(&["failed", "completed", "aborted"])
    }

    /// Drains the node for as long as `meanwhile` takes.
    pub(crate) fn drain(&self, meanwhile: impl FnOnce()) -> anyhow::Result<()> {
        let text = self.node.call(&["node", "drain", "-o", "json"])?;
        let Drained { status } = serde_json::from_str(&text)?;
        ensure!(status == "DRAINING", "the node is {status}, not draining");
        meanwhile();
        self.node.call(&["node", "undrain"]).map(drop)
    }

    fn begin(&self, manifest: &str) -> anyhow::Result<()> {
        let file = tempfile::NamedTempFile::with_suffix(".toml")?;
        std::fs::write(file.path(), manifest)?;
        self.node.call(&["apply", "-f", &file.path().to_string_lossy()]).map(drop)
    }

    fn wait_for(&self, stages: &[&str]) -> anyhow::Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = self.node.call(&["rollout", "status", "web", "-o", "json"])?;
            let Rollout { stage } = serde_json::from_str(&text)?;
            if stages.contains(&stage.as_str()) {
                return Ok(stage);
            }
            ensure!(Instant::now() < deadline, "the deployment is {stage}, not {stages:?}");
            sleep(LOOK_INTERVAL);
        }
    }
}

fn service(name: &str, task: &str, version: u64, strategy: &str) -> String {
    let component = guest::sample(task);
    let mut text = String::new();
    // Writing into a `String` cannot fail.
    let _ = write!(
        text,
        "[task.{name}]\ncomponent = {component:?}\nenv = {{ V = \"{version}\" }}\n\
         [service.{name}]\nroute = \"{name}.localhost\"\nscale = {{ min = 2 }}\n\
         deploy = {{ {strategy} }}\n"
    );
    text
}

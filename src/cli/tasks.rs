//! `wharf tasks`: what runs.

use crate::api::{ServiceDetail, Task};

use super::client::ApiClient;
use super::output::{self, Output};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wharf tasks                 every task that runs
  wharf tasks hello           those of one service
  wharf tasks -o json")]
pub(super) struct Args {
    /// Only the tasks of this service
    service: Option<String>,
}

const HEADER: [&str; 6] = ["task", "definition", "node", "in flight", "memory", "started"];

pub(super) async fn run(args: Args, api: &ApiClient, output: Output) -> anyhow::Result<()> {
    let mut tasks: Vec<Task> = api.get(&["v1", "tasks"]).await?;
    if let Some(service) = &args.service {
        // A name that does not exist is a mistake, not an empty list.
        let _: ServiceDetail = api.get(&["v1", "services", service]).await?;
        tasks.retain(|task| task.service == *service);
    }
    output.list(&tasks, "no task runs: services without requests sleep", &HEADER, row)
}

/// A task on one line.
pub(super) fn row(task: &Task) -> Vec<String> {
    vec![
        task.id.clone(),
        task.definition.clone(),
        task.node.clone(),
        format!("{}/{}", task.in_flight, task.concurrency),
        output::bytes(task.memory_bytes),
        task.started_at.clone(),
    ]
}

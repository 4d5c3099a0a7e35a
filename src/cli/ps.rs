//! `wharf ps`: services with their tasks below them.

use serde::Serialize;

use crate::api::{Service, Task};

use super::client::ApiClient;
use super::output::{self, Output};
use super::services::scale;

pub(super) const HELP: &str = "\
Examples:
  wharf ps
  watch -n 1 wharf ps         see tasks come and go with the load
  wharf ps -o json | jq '.[] | {name, tasks: (.running | length)}'";

const HEADER: [&str; 6] = ["service / task", "state", "tasks", "in flight", "definition", "route"];

/// A service and its tasks, for `-o json`.
#[derive(Serialize)]
struct Entry {
    #[serde(flatten)]
    service: Service,
    running: Vec<Task>,
}

pub(super) async fn run(api: &ApiClient, output: Output) -> anyhow::Result<()> {
    let services: Vec<Service> = api.get(&["v1", "services"]).await?;
    let tasks: Vec<Task> = api.get(&["v1", "tasks"]).await?;
    let entries: Vec<Entry> = services
        .into_iter()
        .map(|service| {
            let running = tasks.iter().filter(|task| task.service == service.name);
            Entry { running: running.cloned().collect(), service }
        })
        .collect();
    match output {
        Output::Json => output::json(&entries),
        Output::Table if entries.is_empty() => {
            output::say("nothing runs yet: `wharf apply -f FILE` makes services");
            Ok(())
        }
        Output::Table => output::table(&HEADER, entries.iter().flat_map(rows)),
    }
}

fn rows(entry: &Entry) -> Vec<Vec<String>> {
    let service = &entry.service;
    let mut rows = vec![vec![
        service.name.clone(),
        service.state.to_string(),
        format!("{} of {}", service.tasks, scale(service)),
        format!("{} + {} waiting", service.in_flight, service.waiting),
        output::definition(service),
        output::routes(&service.routes),
    ]];
    rows.extend(entry.running.iter().map(|task| {
        vec![
            format!("  {}", task.id),
            "running".to_owned(),
            String::new(),
            format!("{}/{}", task.in_flight, task.concurrency),
            task.definition.clone(),
            format!("{} since {}", output::bytes(task.memory_bytes), task.started_at),
        ]
    }));
    rows
}

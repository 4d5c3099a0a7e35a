//! `wharf services`: the list.

use crate::api::Service;

use super::client::ApiClient;
use super::output::{self, Output};

pub(super) const HELP: &str = "\
A service that sleeps has 0 tasks and is ready: the next request starts one.

Examples:
  wharf services
  wharf services -o json | jq -r '.[] | select(.state != \"ready\") | .name'";

const HEADER: [&str; 8] =
    ["name", "state", "tasks", "scale", "in flight", "waiting", "task", "route"];

pub(super) async fn run(api: &ApiClient, output: Output) -> anyhow::Result<()> {
    let services: Vec<Service> = api.get(&["v1", "services"]).await?;
    output.list(&services, "no services yet: `wharf apply -f FILE` makes some", &HEADER, row)
}

fn row(service: &Service) -> Vec<String> {
    vec![
        service.name.clone(),
        service.state.to_string(),
        service.tasks.to_string(),
        scale(service),
        service.in_flight.to_string(),
        service.waiting.to_string(),
        output::definition(service),
        output::routes(&service.routes),
    ]
}

/// The bounds in force, on one line: `0-20`.
pub(super) fn scale(service: &Service) -> String {
    let (min, max) = match &service.scheduled {
        Some(scheduled) => (scheduled.min, scheduled.max),
        None => (service.scale.min, service.scale.max),
    };
    format!("{min}-{max}")
}

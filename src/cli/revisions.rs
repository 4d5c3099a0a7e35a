//! `wharf revisions`: what was deployed, and can be again at once.

use crate::api::Revision;
use crate::model::Name;

use super::args;
use super::client::ApiClient;
use super::output::Output;

const HEADER: [&str; 7] = ["service", "revision", "task", "traffic", "tags", "stable", "created"];

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A deployment of a changed task makes a revision. A stable one was deployed to its end: it is what
a failed deployment goes back to.

Examples:
  wharf revisions                      those of every service
  wharf revisions hello                the newest first
  wharf rollout undo hello --to 3      give all traffic to revision 3")]
pub(super) struct Args {
    /// The service; all of them if it is left out
    #[arg(value_parser = args::name)]
    service: Option<Name>,
}

pub(super) async fn run(args: Args, api: &ApiClient, output: Output) -> anyhow::Result<()> {
    let revisions: Vec<Revision> = match &args.service {
        Some(service) => api.get(&["v1", "services", service.as_str(), "revisions"]).await?,
        None => api.get(&["v1", "revisions"]).await?,
    };
    output.list(&revisions, "no revisions yet: `wharf apply -f FILE` makes some", &HEADER, row)
}

fn row(revision: &Revision) -> Vec<String> {
    vec![
        revision.service.clone(),
        revision.revision.to_string(),
        revision.task.clone(),
        format!("{}%", revision.percent),
        revision.tags.join(" "),
        if revision.stable { "yes" } else { "" }.to_owned(),
        revision.created_at.clone(),
    ]
}

//! `wharf delete`: takes services and upstreams away.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Method;

use crate::api::Deleted;
use crate::model::Name;

use super::apply::Written;
use super::args;
use super::client::ApiClient;
use super::follow;
use super::output::{self, Output, say};
use super::told::Told;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
What is deleted takes no more requests and finishes those that it has. Task definitions stay.

Examples:
  wharf delete hello other
  wharf delete -f wharf.toml           every service of the manifest")]
pub(super) struct Args {
    /// The services and upstreams
    #[arg(
        value_parser = args::name,
        required_unless_present = "file",
        conflicts_with = "file",
        value_name = "SERVICE"
    )]
    services: Vec<Name>,
    /// Delete the services and upstreams that this manifest declares, as far as they exist
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Do not wait until they are gone
    #[arg(long)]
    no_wait: bool,
    /// How long to wait
    #[arg(long, value_parser = args::time, default_value = "60s", value_name = "TIME")]
    timeout: Duration,
    /// Wait until they are gone, which is the default
    #[arg(long, conflicts_with = "no_wait", hide = true)]
    wait: bool,
}

/// Deletes the service, or the upstream where there is no such service, and says which.
async fn delete(api: &ApiClient, name: &Name) -> anyhow::Result<(&'static str, Deleted)> {
    let call = |kind| api.call(api.request(Method::DELETE, &["v1", kind, name.as_str()]));
    match call("services").await {
        Err(error) if Told::is(&error, "service-not-found") => {
            call("upstreams").await.map(|one| ("upstream", one)).map_err(|_| error)
        }
        decided => decided.map(|one| ("service", one)),
    }
}

pub(super) async fn run(args: Args, api: &ApiClient, output: Output) -> anyhow::Result<()> {
    let names: Vec<Name> = match &args.file {
        Some(file) => {
            let manifest = Written::read(file)?.manifest;
            manifest.services.into_keys().chain(manifest.upstreams.into_keys()).collect()
        }
        None => args.services,
    };
    let mut deleted: Vec<(&str, Deleted)> = Vec::new();
    let mut failed = Vec::new();
    for name in &names {
        match delete(api, name).await {
            Ok(one) => deleted.push(one),
            Err(error) if args.file.is_some() && Told::is(&error, "service-not-found") => {
                say(format!("service {name} does not exist"));
            }
            Err(error) => failed.push(error),
        }
    }
    if !args.no_wait {
        let services = deleted.iter().filter(|(kind, _)| *kind == "service");
        let names: Vec<String> = services.map(|(_, one)| one.name.clone()).collect();
        follow::until_gone(api, &names, args.timeout).await?;
    }
    match output {
        Output::Json => {
            output::json(&deleted.iter().map(|(_, one)| one).collect::<Vec<_>>())?;
        }
        Output::Table => {
            let how = if args.no_wait { "is being deleted" } else { "is deleted" };
            let lines = deleted.iter().map(|(kind, one)| format!("{kind} {} {how}\n", one.name));
            output::text(&lines.collect::<String>())?;
        }
    }
    let more = failed.len().saturating_sub(1);
    match failed.into_iter().next() {
        None => Ok(()),
        Some(first) => {
            if more > 0 {
                say(format!("{more} more could not be deleted"));
            }
            Err(first)
        }
    }
}

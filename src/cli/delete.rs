//! `wharf delete`: takes services away.

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
A deleted service takes no more requests and finishes those that it has. Its task definitions stay.

Examples:
  wharf delete hello other
  wharf delete -f wharf.toml           every service of the manifest")]
pub(super) struct Args {
    /// The services
    #[arg(
        value_parser = args::name,
        required_unless_present = "file",
        conflicts_with = "file",
        value_name = "SERVICE"
    )]
    services: Vec<Name>,
    /// Delete the services that this manifest declares, as far as they exist
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

pub(super) async fn run(args: Args, api: &ApiClient, output: Output) -> anyhow::Result<()> {
    let names: Vec<Name> = match &args.file {
        Some(file) => Written::read(file)?.manifest.services.into_keys().collect(),
        None => args.services,
    };
    let mut deleted: Vec<Deleted> = Vec::new();
    let mut failed = Vec::new();
    for name in &names {
        let request = api.request(Method::DELETE, &["v1", "services", name.as_str()]);
        match api.call(request).await {
            Ok(one) => deleted.push(one),
            Err(error) if args.file.is_some() && Told::is(&error, "service-not-found") => {
                say(format!("service {name} does not exist"));
            }
            Err(error) => failed.push(error),
        }
    }
    if !args.no_wait {
        let names: Vec<String> = deleted.iter().map(|one| one.name.clone()).collect();
        follow::until_gone(api, &names, args.timeout).await?;
    }
    match output {
        Output::Json => output::json(&deleted)?,
        Output::Table => {
            let how = if args.no_wait { "is being deleted" } else { "is deleted" };
            let lines = deleted.iter().map(|one| format!("service {} {how}\n", one.name));
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

//! `wharf scale`: changes how many tasks a service has.

use std::time::Duration;

use reqwest::Method;

use crate::api::{AppliedService, ScaleChange};
use crate::model::{Name, duration};

use super::args;
use super::client::ApiClient;
use super::output::{self, Output};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wharf scale hello 3                  exactly three tasks
  wharf scale hello --min 0 --max 20   from none to twenty, by demand
  wharf scale hello --idle 5m          stop tasks after five minutes without requests")]
pub(super) struct Args {
    /// The service
    #[arg(value_parser = args::name)]
    service: Name,
    /// Exactly this many tasks: min and max at once
    #[arg(
        conflicts_with_all = ["min", "max"],
        required_unless_present_any = ["min", "max", "idle"],
        value_name = "N"
    )]
    tasks: Option<u32>,
    /// Tasks that are always there; 0 lets the service sleep
    #[arg(long, value_name = "N")]
    min: Option<u32>,
    /// Tasks that there are at most
    #[arg(long, value_name = "N")]
    max: Option<u32>,
    /// How long a service without requests keeps more than the least, such as 60s
    #[arg(long, value_parser = args::time, value_name = "TIME")]
    idle: Option<Duration>,
}

pub(super) async fn run(args: Args, api: &ApiClient, output: Output) -> anyhow::Result<()> {
    let change = ScaleChange {
        min: args.tasks.or(args.min),
        max: args.tasks.or(args.max),
        idle: args.idle.map(duration::format),
    };
    let path = ["v1", "services", args.service.as_str(), "scale"];
    let request = api.request(Method::PATCH, &path).json(&change);
    let scaled: AppliedService = api.call(request).await?;
    if output == Output::Json {
        return output::json(&scaled);
    }
    if let Some(note) = &scaled.note {
        anstream::eprintln!("note: {note}");
    }
    let text = match scaled.changes.is_empty() {
        true => format!("service {} is unchanged\n", scaled.name),
        false => format!("service {}: {}\n", scaled.name, scaled.changes.join(", ")),
    };
    output::text(&text)
}

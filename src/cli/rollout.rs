//! `wharf rollout`: the deployment of a service, and what a person asks of it.

use std::time::Duration;

use clap::Subcommand;
use reqwest::Method;

use crate::api::{Rollout, RolloutAction, RolloutOrder, ServiceDetail};
use crate::clock;
use crate::model::{Name, duration};

use super::args;
use super::client::ApiClient;
use super::output::{self, Output};
use super::told::Told;

/// How often a deployment that is followed is looked at.
const INTERVAL: Duration = Duration::from_millis(200);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wharf rollout status hello           how far it is
  wharf rollout status hello --wait    follow it to its end; exit code 1 if it failed
  wharf rollout promote hello          do not wait for the rest of the bake
  wharf rollout abort hello            give the old revision its traffic back
  wharf rollout undo hello             go back to the revision before, at once")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show how far the deployment is
    Status {
        #[command(flatten)]
        of: Of,
        /// Follow it until it is over
        #[arg(long)]
        wait: bool,
        /// How long it is followed
        #[arg(long, value_parser = args::time, default_value = "1h", value_name = "TIME")]
        timeout: Duration,
    },
    /// Let the deployment stay where it is
    Pause(Of),
    /// Let a paused deployment go on
    Resume(Of),
    /// Go to the next stage without waiting for the time of this one
    Promote(Of),
    /// End the deployment: the old revision gets its traffic back
    Abort(Of),
    /// Deploy an earlier revision, at once
    Undo {
        #[command(flatten)]
        of: Of,
        /// The revision; else the stable one before
        #[arg(long, value_name = "REVISION")]
        to: Option<u64>,
    },
}

#[derive(Debug, clap::Args)]
struct Of {
    /// The service
    #[arg(value_parser = args::name)]
    service: Name,
}

pub(super) async fn run(args: Args, api: &ApiClient, output: Output) -> anyhow::Result<()> {
    let order = |action, revision| RolloutOrder { action, revision };
    let (of, order) = match args.command {
        Command::Status { of, wait: true, timeout } => {
            return follow(api, &of, timeout, output).await;
        }
        Command::Status { of, .. } => return show(&read(api, &of).await?, output),
        Command::Pause(of) => (of, order(RolloutAction::Pause, None)),
        Command::Resume(of) => (of, order(RolloutAction::Resume, None)),
        Command::Promote(of) => (of, order(RolloutAction::Promote, None)),
        Command::Abort(of) => (of, order(RolloutAction::Abort, None)),
        Command::Undo { of, to } => (of, order(RolloutAction::Undo, to)),
    };
    let path = ["v1", "services", of.service.as_str(), "rollout"];
    let request = api.request(Method::POST, &path).json(&order);
    let ordered: Rollout = api.call(request).await?;
    show(&carried_out(api, &of, ordered).await?, output)
}

/// What became of an order. The control plane carries it out within milliseconds; what it says
/// then is worth more than that it was told.
async fn carried_out(api: &ApiClient, of: &Of, ordered: Rollout) -> anyhow::Result<Rollout> {
    let mut last = ordered.clone();
    for _ in 0..5 {
        tokio::time::sleep(INTERVAL / 4).await;
        last = read(api, of).await?;
        if last != ordered {
            break;
        }
    }
    Ok(last)
}

async fn read(api: &ApiClient, of: &Of) -> anyhow::Result<Rollout> {
    api.get(&["v1", "services", of.service.as_str(), "rollout"]).await
}

fn show(rollout: &Rollout, output: Output) -> anyhow::Result<()> {
    if output == Output::Json {
        return output::json(rollout);
    }
    let paused = if rollout.paused { " (paused)" } else { "" };
    let stable = rollout.stable.map_or("-".to_owned(), |stable| stable.to_string());
    output::text(&format!(
        "service     {}\ndeployment  {}\nstage       {}{paused}, since {}\nstrategy    {}\n\
         revision    {} with {} of the requests\nstable      {stable}\nlast        {}\n",
        rollout.service,
        rollout.deployment,
        rollout.stage,
        rollout.since,
        rollout.strategy,
        rollout.revision,
        rollout.share,
        rollout.message,
    ))
}

/// Tells each event as it happens, until the deployment is over.
async fn follow(api: &ApiClient, of: &Of, timeout: Duration, output: Output) -> anyhow::Result<()> {
    let deadline = clock::now() + timeout;
    let mut told: Option<String> = None;
    loop {
        let path = ["v1", "services", of.service.as_str()];
        let detail: ServiceDetail = api.get(&path).await?;
        let seen = |at: &String| detail.events.iter().rposition(|event| event.at == *at);
        let first = match &told {
            // Of what was before, only the last is news.
            None => detail.events.len().saturating_sub(1),
            Some(at) => seen(at).map_or(0, |position| position + 1),
        };
        for event in &detail.events[first..] {
            output::say(format!("{} {}", event.at, event.message));
            told = Some(event.at.clone());
        }
        if let Some(rollout) = detail.rollout.filter(is_over) {
            show(&rollout, output)?;
            return match rollout.stage.as_str() {
                "completed" => Ok(()),
                stage => {
                    Err(Told::new(format!("deployment {} {stage}", rollout.deployment)).into())
                }
            };
        }
        if clock::now() >= deadline {
            let late = Told::new(format!("not over within {}", duration::format(timeout)));
            return Err(late.hint("it goes on without you: wait longer with --timeout").into());
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

fn is_over(rollout: &Rollout) -> bool {
    matches!(rollout.stage.as_str(), "completed" | "failed" | "aborted")
}

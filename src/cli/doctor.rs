//! `wharf doctor`: whether this machine can run a node well, and what to do where it cannot.

mod compiler;
mod folder;
mod limits;
mod ports;
mod state;

use std::net::SocketAddr;
use std::process::ExitCode;

use serde::Serialize;

use crate::runtime::Machine;

use super::args;
use super::client::ApiClient;
use super::output::{self, Output};
use super::serve::DataDir;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
It exits with 1 if a check fails.

Examples:
  wharf doctor
  wharf doctor --listen 127.0.0.1:80 --data-dir /var/lib/wharf")]
pub(super) struct Args {
    #[command(flatten)]
    data: DataDir,
    /// Where the load balancer would listen
    #[arg(
        long,
        default_value = "127.0.0.1:8080",
        value_parser = args::address,
        value_name = "ADDRESS"
    )]
    listen: SocketAddr,
    /// Where the API would listen
    #[arg(
        long,
        default_value = "127.0.0.1:7300",
        value_parser = args::address,
        value_name = "ADDRESS"
    )]
    api_listen: SocketAddr,
}

/// What was looked at, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

impl Check {
    fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, detail: detail.into(), hint: None }
    }

    fn warn(name: &'static str, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        let (verdict, hint) = (Verdict::Warn, Some(hint.into()));
        Self { name, verdict, detail: detail.into(), hint }
    }

    fn fail(name: &'static str, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fail, ..Self::warn(name, detail, hint) }
    }
}

pub(super) async fn run(args: Args, api: &ApiClient, output: Output) -> anyhow::Result<ExitCode> {
    let mut checks = limits::check(&Machine::read());
    checks.push(compiler::check().await);
    let folder = args.data.resolve()?;
    checks.extend(folder::check(&folder));
    checks.extend(state::check(&folder).await);
    checks.extend(ports::check(api, args.listen, args.api_listen).await);
    match output {
        Output::Json => output::json(&checks)?,
        Output::Table => output::text(&checks.iter().map(shown).collect::<String>())?,
    }
    let failed = checks.iter().any(|check| check.verdict == Verdict::Fail);
    Ok(ExitCode::from(u8::from(failed)))
}

fn shown(check: &Check) -> String {
    const RESET: &str = "\x1b[0m";
    let (mark, colour) = match check.verdict {
        Verdict::Ok => ("ok  ", "\x1b[32m"),
        Verdict::Warn => ("warn", "\x1b[33m"),
        Verdict::Fail => ("fail", "\x1b[31m"),
    };
    let mut text = format!("{colour}{mark}{RESET}  {:<16} {}\n", check.name, check.detail);
    if let Some(hint) = &check.hint {
        text += &format!("      {:<16} hint: {hint}\n", "");
    }
    text
}

//! `wharf bench`: the density run. How many services this machine carries, what they take while
//! they sleep and while they work, and how fast they answer.
//!
//! It starts a node of its own, and a second one with few services to compare with. `plan` decides
//! what happens; `measure` does it, with `load`; `results` is what came of it, which `report`
//! shows as a table and as a page.
//!
//! *Invariant:* everything is bounded in count and time, and whatever happens the nodes are killed
//! and their folder is removed, unless it is to be kept.
//!
//! Start reading at `run`, then `measure.rs`.

mod plan;
mod node;
mod load;
mod memory;
mod measure;
mod results;
mod report;
mod histogram;
mod steps;
pub mod stats;
pub mod machine;
pub mod cpu;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use crate::runtime::Machine;

use super::args;
use super::local;
use super::output::{self, Output, say};
use super::told::Told;
use plan::{Component, Plan};
use results::Results;
use steps::Steps;

/// The component that is deployed unless another is named; `guest.wat` is its source.
const GUEST: &[u8] = include_bytes!("bench/guest.wasm");
/// The exit code of a run that was interrupted, as shells write it.
const INTERRUPTED: u8 = 130;
/// Shorter measurements have too few requests to say anything.
const SHORTEST: Duration = Duration::from_secs(1);
/// Longer measurements only take longer.
const LONGEST: Duration = Duration::from_secs(600);

/// Most services of a run: a pass of the control plane looks at all of them, so that more would
/// take hours to deploy.
const MOST_SERVICES: i64 = 100_000;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
It starts nodes of its own in a temporary folder, on free ports, and leaves nothing behind.
By default it takes about two minutes. Close what else works on the machine meanwhile.

Examples:
  wharf bench
  wharf bench --report bench.html --json bench.json
  wharf bench --services 10000 --live 1000 --duration 60s
  wharf bench --component hello.wasm --rate 2000/s -o json")]
pub(super) struct Args {
    /// Services that are deployed
    #[arg(
        long,
        default_value_t = 1_000,
        value_parser = clap::value_parser!(u32).range(10..=MOST_SERVICES),
        value_name = "N"
    )]
    services: u32,
    /// Instances that are held at once, each of a service of its own
    #[arg(
        long,
        default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(1..=100_000),
        value_name = "N"
    )]
    live: u32,
    /// Requests a second while latency is measured: auto is 60 % of what was found to be possible
    #[arg(long, default_value = "auto", value_parser = rate, value_name = "auto|N/s")]
    rate: Rate,
    /// How long latency is measured; other measurements follow from it
    #[arg(long, default_value = "30s", value_parser = args::time, value_name = "TIME")]
    duration: Duration,
    /// Write everything that was measured to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a page with charts to this file
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
    /// Deploy this component instead of the one that is built in
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
    /// Keep the nodes' folder, with their state and logs
    #[arg(long)]
    keep: bool,
}

/// A number of requests a second.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rate {
    Auto,
    PerSecond(f64),
}

fn rate(text: &str) -> Result<Rate, String> {
    if text == "auto" {
        return Ok(Rate::Auto);
    }
    match text.strip_suffix("/s").unwrap_or(text).parse() {
        Ok(rate) if (1.0..=1_000_000.0).contains(&rate) => Ok(Rate::PerSecond(rate)),
        _ => Err("it is not a rate\nhint: write auto, or requests a second such as 500/s".into()),
    }
}

/// Runs the benchmark.
pub(super) async fn run(args: Args, output: Output) -> anyhow::Result<ExitCode> {
    raise_open_files();
    let plan = plan(&args)?;
    plan.check(&Machine::read())?;
    are_writable(&args)?;
    let mut folder = tempfile::Builder::new().prefix("wharf-bench-").tempdir()?;
    folder.disable_cleanup(args.keep);
    let steps = Steps::new();
    let measured = tokio::select! {
        // First, so that signals are seen before there is a node.
        biased;
        stopped = stopped() => stopped.map(|()| None)?,
        measured = measure::everything(&plan, folder.path(), &steps) => Some(measured),
    };
    steps.clear();
    if args.keep {
        say(format!("kept: {}", folder.path().display()));
    }
    let Some(results) = measured.transpose()? else {
        say("stopped: the nodes are gone");
        return Ok(ExitCode::from(INTERRUPTED));
    };
    tell(&results, &args, output)?;
    Ok(ExitCode::SUCCESS)
}

fn plan(args: &Args) -> anyhow::Result<Plan> {
    if args.duration > LONGEST {
        let text = format!("--duration is above {}", crate::model::duration::format(LONGEST));
        return Err(Told::usage(text).hint("30s to 2m is enough for a p99.9").into());
    }
    if args.duration < SHORTEST {
        let text = format!("--duration is below {}", crate::model::duration::format(SHORTEST));
        return Err(Told::usage(text).hint("30s to 2m is enough for a p99.9").into());
    }
    let component = match &args.component {
        None => {
            Component { name: "built-in".to_owned(), wasm: Bytes::from_static(GUEST), is_own: true }
        }
        Some(file) => Component {
            name: file.display().to_string(),
            wasm: local::read_wasm(file)?,
            is_own: false,
        },
    };
    let rate = match args.rate {
        Rate::Auto => None,
        Rate::PerSecond(rate) => Some(rate),
    };
    let (services, live, duration) = (args.services, args.live, args.duration);
    Ok(Plan { services, live, rate, duration, component })
}

/// A run takes minutes: what it writes at its end has to be possible at its beginning.
fn are_writable(args: &Args) -> Result<(), Told> {
    if args.json.is_some() && args.json == args.report {
        return Err(Told::usage("--json and --report name the same file")
            .hint("give each of them a file of its own"));
    }
    args.json.iter().chain(&args.report).try_for_each(|file| writable(file))
}

/// Looks whether a file can be written. One that is not there yet is not left behind empty, in case
/// the run does not come to its end.
fn writable(file: &Path) -> Result<(), Told> {
    let opened = match std::fs::File::create_new(file) {
        Ok(_) => std::fs::remove_file(file),
        Err(_) => std::fs::File::options().create(true).append(true).open(file).map(drop),
    };
    opened.map_err(|error| {
        Told::usage(format!("{} cannot be written: {error}", file.display()))
            .hint("choose another file")
    })
}

fn tell(results: &Results, args: &Args, output: Output) -> anyhow::Result<()> {
    let json = serde_json::to_string_pretty(results)? + "\n";
    match output {
        Output::Json => output::text(&json)?,
        Output::Table => output::text(&report::table(results))?,
    }
    let page = args.report.as_ref().map(|file| (file, report::page(results)));
    for (file, text) in args.json.as_ref().map(|file| (file, json)).into_iter().chain(page) {
        std::fs::write(file, text)
            .with_context(|| format!("{} cannot be written", file.display()))?;
        say(format!("written: {}", file.display()));
    }
    Ok(())
}

/// Comes back when somebody wants the run to end.
async fn stopped() -> anyhow::Result<()> {
    let outlives_terminal = ignores_hang_up();
    let seen = |kind| signal(kind).context("signals cannot be seen");
    let mut terminate = seen(SignalKind::terminate())?;
    // The terminal was closed: the nodes, which have groups of their own, would not learn of it.
    let mut hang_up = seen(SignalKind::hangup())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = hang_up.recv(), if !outlives_terminal => {}
        result = tokio::signal::ctrl_c() => result?,
    }
    Ok(())
}

/// Whether this was started to outlive its terminal, as by `nohup`: SIGHUP, the first signal, is
/// ignored (proc_pid_status(5)).
fn ignores_hang_up() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let signals = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    signals.is_some_and(|signals| signals & 1 == 1)
}

/// Lets this process and the nodes open as many files as the system allows.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    // What cannot be raised is checked like any other limit.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_component_is_what_its_source_says() {
        let source = include_str!("bench/guest.wat");
        let assembled = wat::parse_str(source).expect("it assembles");
        assert_eq!(GUEST, assembled, "assemble guest.wat anew");
    }

    #[test]
    fn rates_are_read_or_mended() {
        assert_eq!(rate("auto"), Ok(Rate::Auto));
        assert_eq!(rate("500/s"), Ok(Rate::PerSecond(500.0)));
        assert_eq!(rate("1.5"), Ok(Rate::PerSecond(1.5)));
        for text in ["", "0", "-1/s", "fast", "5/m", "NaN", "1e9"] {
            assert!(rate(text).expect_err(text).contains("hint: "), "{text}");
        }
    }
}

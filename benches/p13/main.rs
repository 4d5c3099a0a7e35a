//! P13: load that grows tenfold at one moment, for a service that has the tasks for a tenth of it.
//!
//! Requests arrive by chance at a rate that does not depend on the answers, and each is timed from
//! the moment at which it was due, so that a server which makes them wait cannot hide it. A task
//! serves two at once, so that the step needs tasks that are not there yet. Every round has a
//! service of its own, because one that has seen the step keeps its tasks for a window.
//!
//! The peer is the same service with all tasks there beforehand: what is slow there is slow
//! because of the machine. Where that alone is above the floor the run decides nothing.
//!
//! Last, the load stays as it is for a while: the number of tasks does not change. Then it ends,
//! and everything goes.

#[path = "../harness/mod.rs"]
mod harness;
mod arrivals;
mod scaling;

use std::process::ExitCode;
use std::time::Duration;

use harness::guest;
use harness::node::{self, Node};
use harness::options::Options;
use harness::report::{Bound, Report, Trust};
use harness::stats::{Estimate, quantile, sorted};

use arrivals::Arrivals;

const FLOOR_PERCENT: Bound = Bound::AtMost(0.5);
const TARGET_PERCENT: Bound = Bound::AtMost(0.1);
/// From the step to as many tasks as the target asks for.
const REACTION: Duration = Duration::from_millis(100);
/// Requests a second before the step: ten times as many are well below what two cores serve.
const RATE: f64 = 80.0;
const STEP: f64 = 10.0;
/// What a request takes at least, in milliseconds: it waits, and uses hardly any CPU.
const SLEEP_MS: u32 = 5;
/// Requests that a task serves at once, and shall have to serve.
const CONCURRENCY: u32 = 2;
const TARGET: u32 = 1;
/// Tasks of the peer.
const ENOUGH: u32 = 40;
/// Windows of a measurement before the step, and after it.
const BEFORE: u32 = 4;
const AFTER: u32 = 2;
/// How long constant load settles, and how long it is looked at then, in windows.
const SETTLE: u32 = 12;
const CONSTANT: u32 = 12;

fn main() -> ExitCode {
    harness::main(&[], bench)
}

/// What one step did.
struct Round {
    /// Share of the requests that took twice the p99 before, in percent.
    slow_percent: f64,
    p99_before_us: f64,
    p99_after_us: f64,
    /// From the step to as many tasks as the target asks for, in milliseconds.
    reaction_ms: Option<f64>,
    tasks: u32,
}

fn bench(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::begin("P13: load that grows tenfold at one moment", options);
    report.version("ours", node::version()?);
    let node = Node::start("auto", None)?;
    deploy(&node, options.pairs)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (mut ours, mut peers) = (Vec::new(), Vec::new());
    for number in 0..options.pairs {
        let run = |kind: &str| -> anyhow::Result<Round> {
            let name = format!("{kind}{number}");
            let round = runtime.block_on(round(&node, &name, options, u64::from(number)))?;
            eprintln!(
                "{name}: {:.3} % slow, p99 {:.0} us before and {:.0} us after, {} tasks",
                round.slow_percent, round.p99_before_us, round.p99_after_us, round.tasks
            );
            Ok(round)
        };
        let order = if number % 2 == 0 { ["scaled", "ready"] } else { ["ready", "scaled"] };
        for kind in order {
            let round = run(kind)?;
            if kind == "scaled" { ours.push(round) } else { peers.push(round) }
        }
    }
    judge(&ours, &peers, &mut report);
    runtime.block_on(constant(&node, options, &mut report))?;
    asleep(&node, &mut report)?;
    Ok(report)
}

fn deploy(node: &Node, pairs: u32) -> anyhow::Result<()> {
    let component = guest::sample("sleep");
    let mut manifest =
        format!("[task.sleep]\ncomponent = {component:?}\nconcurrency = {CONCURRENCY}\n");
    let target = format!("target = {{ in_flight = {TARGET} }}, window = \"10s\", burst = \"1s\"");
    for number in 0..pairs {
        manifest += &service(&format!("scaled{number}"), &format!("min = 0, {target}"));
        let ready = format!("min = {ENOUGH}, max = {ENOUGH}");
        manifest += &service(&format!("ready{number}"), &ready);
    }
    manifest += &service("constant", &format!("min = 0, {target}"));
    node.apply(&manifest)
}

fn service(name: &str, scale: &str) -> String {
    format!(
        "[service.{name}]\ntask = \"sleep\"\nroute = \"{name}.localhost/*\"\n\
         scale = {{ {scale}, idle = \"5s\" }}\n"
    )
}

async fn round(node: &Node, name: &str, options: &Options, seed: u64) -> anyhow::Result<Round> {
    let arrivals = Arrivals::to(node.http(), name, SLEEP_MS);
    // The first request wakes the service: that is another figure.
    arrivals.send(RATE, options.window(), seed).await?;
    let before = arrivals.send(RATE, options.window() * BEFORE, seed + 1).await?;
    let stepped_ms = scaling::unix_ms();
    let after = arrivals.send(RATE * STEP, options.window() * AFTER, seed + 2).await?;
    let (before, after) = (sorted(&before), sorted(&after));
    let p99_before_us = quantile(&before, 0.99);
    let slow = after.iter().filter(|us| **us > 2.0 * p99_before_us).count();
    let needed = (RATE * STEP * f64::from(SLEEP_MS) / 1e3 / f64::from(TARGET)).ceil() as u32;
    let seen = scaling::of(node, name)?;
    Ok(Round {
        slow_percent: slow as f64 * 100.0 / after.len() as f64,
        p99_before_us,
        p99_after_us: quantile(&after, 0.99),
        reaction_ms: seen.reached(needed, stepped_ms),
        tasks: seen.tasks,
    })
}

fn judge(ours: &[Round], peers: &[Round], report: &mut Report) {
    let of = |rounds: &[Round], of: fn(&Round) -> f64| rounds.iter().map(of).collect::<Vec<_>>();
    let (slow, peer) = (of(ours, |one| one.slow_percent), of(peers, |one| one.slow_percent));
    report.series("slow, tasks there beforehand", "%", &peer);
    for (name, rounds) in [("scaled", ours), ("tasks there beforehand", peers)] {
        report.series(&format!("p99 before, {name}"), "us", &of(rounds, |one| one.p99_before_us));
        report.series(&format!("p99 after, {name}"), "us", &of(rounds, |one| one.p99_after_us));
    }
    let machine_holds = matches!(FLOOR_PERCENT, Bound::AtMost(most) if median(&peer) <= most);
    let trust = if machine_holds { Trust::Counted } else { Trust::Noisy };
    let name = "requests slower than twice the p99 before, %";
    report.figure(name, &slow, trust, Some(FLOOR_PERCENT), Some(TARGET_PERCENT));
    let reactions: Vec<f64> = ours.iter().filter_map(|one| one.reaction_ms).collect();
    report.series("from the step to tasks enough", "ms", &reactions);
    let most = REACTION.as_secs_f64() * 1e3;
    let reaction = median(&reactions);
    report.require(
        reactions.len() == ours.len() && reaction <= most,
        format!("tasks enough after {reaction:.0} ms in the median, {most:.0} is the most"),
    );
}

fn median(values: &[f64]) -> f64 {
    Estimate::of(values).median
}

/// Load that stays as it is.
async fn constant(node: &Node, options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let arrivals = Arrivals::to(node.http(), "constant", SLEEP_MS);
    arrivals.send(RATE * STEP, options.window() * SETTLE, 1).await?;
    let from_ms = scaling::unix_ms();
    arrivals.send(RATE * STEP, options.window() * CONSTANT, 2).await?;
    let seen = scaling::of(node, "constant")?;
    let (changes, seconds) = (seen.since(from_ms), options.seconds * f64::from(CONSTANT));
    let text = format!(
        "{changes} changes of the number of tasks, {}, in {seconds:.0} s of constant load",
        seen.tasks
    );
    report.require(changes == 0, text);
    Ok(())
}

fn asleep(node: &Node, report: &mut Report) -> anyhow::Result<()> {
    let names = ["scaled0", "constant"];
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    let awake = || -> anyhow::Result<u32> {
        names.iter().map(|name| Ok(scaling::of(node, name)?.tasks)).sum()
    };
    while awake()? > 0 && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(250));
    }
    report.require(awake()? == 0, "without requests all tasks go");
    Ok(())
}

//! P14: deployments, restarts by hand-over, and drains, under load without a failed request.
//!
//! Three services take mixed traffic at 60 % of what the machine serves: kept connections, new
//! ones, streamed bodies, and one request in a hundred that takes two seconds. Meanwhile they are
//! deployed twenty times by all five strategies, five deployments are aborted, five times the
//! process of the node is replaced by another, as for an upgrade of the binary, and five times the
//! node is drained and brought back, while its clients come all the same. Then a version that
//! traps on every request is deployed as a canary, and rolled back by its alarm.
//!
//! Every response is checked: its status, its body, and that it is not of a version older than
//! the one whose deployment had completed before the request began.

#[path = "../harness/mod.rs"]
mod harness;
mod driver;
mod traffic;

use std::process::ExitCode;

use harness::node::{self, Node};
use harness::options::Options;
use harness::report::Report;
use harness::stats::{quantile, sorted};

use driver::Driver;
use traffic::Traffic;

/// Deployments that run to their end.
const DEPLOYMENTS: u64 = 20;
/// Deployments that are aborted on their way.
const ABORTED: u64 = 5;
/// Times that another process takes over from the node.
const RESTARTS: u64 = 5;
/// Times that the node is drained and brought back; each after a restart.
const DRAINS: u64 = RESTARTS;
/// The share of the version that traps, in percent.
const CANARY_PERCENT: u64 = 5;
/// Load, as a share of what was measured at first.
const LOAD: f64 = 0.6;

fn main() -> ExitCode {
    harness::main(&[], bench)
}

fn bench(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::begin("P14: deployments under load", options);
    report.version("ours", node::version()?);
    let node = Node::start("auto", None)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let driver = Driver::new(&node);
    driver.deploy(1, "")?;
    let most = runtime.block_on(traffic::most(node.http(), options.connections))?;
    let rate = most * LOAD;
    eprintln!("at most {most:.0} requests/s; the load is {rate:.0} requests/s");
    let traffic = runtime.block_on(Traffic::begin(node.http(), rate, options.connections));
    let (steady, rest) = (options.requests / 10, options.requests * 9 / 10);
    traffic.wait_for(steady);
    traffic.deploying(true);
    let events = DEPLOYMENTS + ABORTED;
    let mut failures = Failures::default();
    for event in 1..=events {
        let is_abort = event % (events / ABORTED) == 0;
        if is_abort {
            driver.abort(event + 1)?;
        } else {
            driver.deploy(event + 1, strategy(event))?;
            traffic.expect_version(event + 1);
        }
        eprintln!("{event} of {events}: {} requests, {} failed", traffic.count(), traffic.failed());
        traffic.wait_for(steady + rest * event / events);
        failures.attribute(&traffic, if is_abort { Phase::Abort } else { Phase::Deployment });
        if event % (events / RESTARTS) == 0 {
            node.replace()?;
            eprintln!("another process serves: {} failed", traffic.failed());
            // The old one ends meanwhile, and what it took the longest for.
            traffic.wait_for(traffic.count() + rest / events);
            failures.attribute(&traffic, Phase::Restart);
            driver.drain(|| traffic.wait_for(traffic.count() + rest / events))?;
            eprintln!("drained and brought back: {} failed", traffic.failed());
            failures.attribute(&traffic, Phase::Drain);
        }
    }
    failures.require_none(&traffic, &mut report);
    traffic.deploying(false);
    rollback(&driver, &traffic, &mut report)?;
    let (steady, during) = runtime.block_on(traffic.end());
    let p99 = |times: Vec<f64>| quantile(&sorted(&times), 0.99);
    let (steady, during) = (p99(steady), p99(during));
    report.fact(format!(
        "p99 of requests that do not sleep: {steady:.0} us before, {during:.0} us during \
         deployments, {:.2} times",
        during / steady
    ));
    report.fact(format!("load: {rate:.0} requests/s, 60 % of {most:.0}"));
    Ok(report)
}

/// What was done when requests failed. One that took long may have begun in the phase before.
#[derive(Clone, Copy)]
enum Phase {
    Deployment,
    Abort,
    Restart,
    Drain,
}

/// Requests that failed, by phase.
#[derive(Default)]
struct Failures {
    by_phase: [u64; 4],
    seen: u64,
}

impl Failures {
    /// What failed since the last phase failed in this one.
    fn attribute(&mut self, traffic: &Traffic, phase: Phase) {
        let failed = traffic.failed();
        self.by_phase[phase as usize] += failed - self.seen;
        self.seen = failed;
    }

    fn require_none(&self, traffic: &Traffic, report: &mut Report) {
        let (requests, failed) = (traffic.count(), traffic.failed());
        let [deployments, aborts, restarts, drains] = self.by_phase;
        report.require(
            failed == 0,
            format!(
                "{failed} of {requests} requests failed: {deployments} over {DEPLOYMENTS} \
                 deployments, {aborts} over {ABORTED} that were aborted, {restarts} over \
                 {RESTARTS} restarts by hand-over, {drains} over {DRAINS} drains{}",
                traffic.first_failure()
            ),
        );
    }
}

fn strategy(event: u64) -> &'static str {
    const STRATEGIES: [&str; 5] = [
        "strategy = \"rolling\"",
        "strategy = \"rolling\", min_healthy = 50, max_healthy = 100",
        "strategy = \"blue-green\", bake = \"1s\"",
        "strategy = \"canary\", percent = 10, step_bake = \"1s\"",
        "strategy = \"linear\", percent = 20, step_bake = \"300ms\"",
    ];
    STRATEGIES[event as usize % STRATEGIES.len()]
}

/// A version that traps on every request gets its share of them, and no more.
fn rollback(driver: &Driver<'_>, traffic: &Traffic, report: &mut Report) -> anyhow::Result<()> {
    let (requests, failed) = (traffic.count(), traffic.failed());
    let ended = driver.deploy_trap(CANARY_PERCENT)?;
    traffic.wait_for(traffic.count() + 1_000);
    let (requests, failed) = (traffic.count() - requests, traffic.failed() - failed);
    let after = traffic.failed();
    traffic.wait_for(traffic.count() + 5_000);
    let allowed = requests * CANARY_PERCENT / 100 + 5;
    report.require(
        ended == "failed" && failed > 0 && failed <= allowed && traffic.failed() == after,
        format!(
            "a version that traps ended as {ended}: {failed} of {requests} requests failed, \
             {allowed} are its share; after it {} of 5000 failed",
            traffic.failed() - after
        ),
    );
    Ok(())
}

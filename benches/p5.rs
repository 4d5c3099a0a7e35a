//! P5: what a request costs that wakes a service from zero, against the same request warm.
//!
//! Many services, each with a component of its own, sleep: no task, nothing loaded. Each is asked
//! once, in random order, one request at a time over a connection that is kept; then the same
//! requests are made again, twice: warm, and as the control. Then all of them fall asleep, and
//! the next pass begins. A service that sleeps has to be asked cold first, so here the order
//! cannot be turned around as in other figures.
//!
//! Last, 1,000 requests arrive at one moment for one sleeping service: all are answered, and the
//! component is loaded once.

mod harness;

use std::fmt::Write;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::ensure;

use harness::node::{self, Node};
use harness::options::Options;
use harness::report::{Bound, Report};
use harness::stats::{SplitMix, quantile, sorted};
use harness::visits::{self, Burst, Visit};
use harness::{guest, pairs};

const FLOOR_P50: Bound = Bound::AtMost(4.0);
const TARGET_P50: Bound = Bound::AtMost(2.0);
const TARGET_P99: Bound = Bound::AtMost(3.0);

/// Requests that arrive at one moment.
const BURST: u32 = 1_000;
/// Time without requests after which a service sleeps: at least this, and time enough for three
/// visits to every service before that.
const LEAST_IDLE: Duration = Duration::from_secs(4);
const IDLE_PER_SERVICE: Duration = Duration::from_millis(10);
/// How often it is looked whether all of them sleep.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

fn main() -> ExitCode {
    harness::main(&[visits::VISIT, visits::BURST], bench)
}

fn bench(options: &Options) -> anyhow::Result<Report> {
    let title = "P5: cold start from zero through the load balancer, cold / warm";
    let mut report = Report::begin(title, options);
    report.version("ours", node::version()?);
    let idle = LEAST_IDLE.max(IDLE_PER_SERVICE * options.services);
    let node = Node::with_hello("auto", None)?;
    deploy(&node, options.services, idle)?;
    let mut passes = Vec::new();
    for number in 0..options.pairs {
        fall_asleep(&node, idle)?;
        let pass = Pass::run(&node, options.services, number)?;
        eprintln!(
            "pass {} of {}: p50 cold {:.0} us, warm {:.0} us",
            number + 1,
            options.pairs,
            p(&pass.cold, 0.5),
            p(&pass.warm, 0.5)
        );
        passes.push(pass);
    }
    fall_asleep(&node, idle)?;
    burst(&node, &mut report)?;
    judge(&passes, &mut report);
    Ok(report)
}

/// Deploys the services, and one more for the burst. `hello`, which is there already, stays awake.
fn deploy(node: &Node, services: u32, idle: Duration) -> anyhow::Result<()> {
    eprintln!("deploying {services} services, each with a component of its own");
    let hello = guest::hello_bytes()?;
    let folder = tempfile::tempdir()?;
    let mut manifest = String::new();
    for number in 0..=services {
        let name = name(number);
        let component = folder.path().join(format!("{name}.wasm"));
        std::fs::write(&component, guest::variant(&hello, number))?;
        writeln!(manifest, "[task.{name}]\ncomponent = {component:?}")?;
        writeln!(manifest, "[service.{name}]\nroute = \"{}/*\"", host(number))?;
        writeln!(manifest, "scale = {{ min = 0, idle = \"{}s\" }}", idle.as_secs())?;
    }
    node.apply(&manifest)
}

fn name(number: u32) -> String {
    format!("s{number}")
}

fn host(number: u32) -> String {
    format!("s{number}.localhost")
}

/// Waits until nothing but `hello` is loaded.
fn fall_asleep(node: &Node, idle: Duration) -> anyhow::Result<()> {
    let deadline = Instant::now() + idle * 3 + Duration::from_secs(10);
    while node.live()?.loaded > 1 {
        ensure!(Instant::now() < deadline, "the services do not fall asleep");
        sleep(LOOK_INTERVAL);
    }
    Ok(())
}

/// One visit to every service cold, and two warm. Times are in microseconds.
struct Pass {
    cold: Vec<f64>,
    warm: Vec<f64>,
    again: Vec<f64>,
}

impl Pass {
    fn run(node: &Node, services: u32, seed: u32) -> anyhow::Result<Self> {
        // The service of the burst is number 0.
        let mut hosts: Vec<String> = (1..=services).map(host).collect();
        SplitMix(u64::from(seed)).shuffle(&mut hosts);
        let loads = node.live()?.loads;
        let first = node.hello().host;
        let mut task = Visit { expected: node.hello(), first, hosts, cold: true };
        let cold = visits::visit(&task)?;
        let loaded = node.live()?.loads - loads;
        ensure!(loaded == u64::from(services), "{services} cold requests made {loaded} loads");
        task.cold = false;
        Ok(Self { cold, warm: visits::visit(&task)?, again: visits::visit(&task)? })
    }
}

fn burst(node: &Node, report: &mut Report) -> anyhow::Result<()> {
    let before = node.live()?.loads;
    let took_ms = visits::burst(&Burst { expected: node.expected(&host(0)), requests: BURST })?;
    let loads = node.live()?.loads - before;
    let text = format!(
        "{BURST} requests at one moment to a service that sleeps: all answered after {took_ms:.0} \
         ms, {loads} load(s)"
    );
    report.require(loads == 1, text);
    Ok(())
}

fn judge(passes: &[Pass], report: &mut Report) {
    let of = |times: fn(&Pass) -> &Vec<f64>, q: f64| -> Vec<f64> {
        passes.iter().map(|pass| p(times(pass), q)).collect()
    };
    let cold = |q| of(|pass| &pass.cold, q);
    let warm = |q| of(|pass| &pass.warm, q);
    for (name, q) in [("p50", 0.5), ("p99", 0.99)] {
        report.series(&format!("cold {name}"), "us", &cold(q));
        report.series(&format!("warm {name}"), "us", &warm(q));
    }
    let again = of(|pass| &pass.again, 0.5);
    let trust = report.control("warm p50 / warm p50 again", &pairs::ratios(&warm(0.5), &again));
    let p50 = pairs::ratios(&cold(0.5), &warm(0.5));
    report.figure("cold p50 / warm p50", &p50, trust, Some(FLOOR_P50), Some(TARGET_P50));
    let p99 = pairs::ratios(&cold(0.99), &warm(0.99));
    report.figure("cold p99 / warm p99", &p99, trust, None, Some(TARGET_P99));
    let all = |times: fn(&Pass) -> &Vec<f64>| -> Vec<f64> {
        passes.iter().flat_map(times).copied().collect()
    };
    let (cold, warm) = (all(|pass| &pass.cold), all(|pass| &pass.warm));
    report.fact(format!(
        "p99 over all {} requests of a kind: cold {:.0} us, warm {:.0} us",
        cold.len(),
        p(&cold, 0.99),
        p(&warm, 0.99)
    ));
}

fn p(times: &[f64], q: f64) -> f64 {
    quantile(&sorted(times), q)
}

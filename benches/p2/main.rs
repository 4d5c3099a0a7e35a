//! P2: how close a warm request comes to what is physically needed for it.
//!
//! Needed are an HTTP server and an instance. Both are measured alone, on the same core and in the
//! same turns: hyper answering the same bytes without Wasm, and a bare loop over instances of the
//! same component on an engine that is configured like ours. Their sum, divided by the cost of our
//! whole request path with its load balancer, limits and accounts, is the efficiency.

#[path = "../harness/mod.rs"]
mod harness;
mod instances;

use std::process::ExitCode;

use harness::hyper_hello::{self, HyperHello};
use harness::load::{self, Expected, Measured};
use harness::node::{self, Node};
use harness::options::Options;
use harness::pairs;
use harness::process;
use harness::report::{Bound, Report};

const FLOOR: Bound = Bound::AtLeast(0.75);
const TARGET: Bound = Bound::AtLeast(0.90);
/// How much a Wasm request may cost of a native one.
const TARGET_NATIVE: Bound = Bound::AtMost(4.2);

/// Positions of the variants.
const COPY: usize = 0;
const OURS: usize = 1;
const HYPER: usize = 2;
const INSTANCES: usize = 3;

fn main() -> ExitCode {
    harness::main(&[load::ROLE, hyper_hello::ROLE, instances::ROLE], bench)
}

/// What costs CPU time.
enum Variant {
    Server { expected: Expected, process: u32 },
    Instances(instances::Task),
}

/// What one of them cost in a turn.
enum Cost {
    Response(Measured),
    Instance { cpu_us: f64 },
}

impl Cost {
    fn cpu_us(&self) -> f64 {
        match self {
            Self::Response(measured) => measured.cpu_us(),
            Self::Instance { cpu_us } => *cpu_us,
        }
    }
}

fn bench(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::begin("P2: warm request, (hyper + bare instance) / ours", options);
    report.version("ours", node::version()?);
    let (server_core, load_core) = process::cores(true);
    let copy = Node::with_hello("auto", server_core)?;
    let ours = Node::with_hello("auto", server_core)?;
    let hyper = HyperHello::start(server_core)?;
    let live = ours.live()?;
    let component = harness::guest::hello();
    harness::guest::hello_bytes()?;
    let task = instances::Task { component, fast: live.reset == "fast", window: options.window() };
    let server = |expected: Expected, process: u32| Variant::Server { expected, process };
    let variants = [
        ("copy", server(copy.hello(), copy.id())),
        ("ours", server(ours.hello(), ours.id())),
        ("hyper", server(hyper.expected().clone(), hyper.id())),
        ("instance", Variant::Instances(task)),
    ];
    let rounds = pairs::measure(options.pairs, &variants, Cost::cpu_us, |variant| {
        Ok(match variant {
            Variant::Server { expected, process } => Cost::Response(load::measure(
                expected,
                options.connections,
                options.window(),
                *process,
                load_core,
            )?),
            Variant::Instances(task) => {
                let cpu_us = process::ask(instances::ROLE.0, task, server_core)?;
                Cost::Instance { cpu_us }
            }
        })
    })?;
    for (position, (name, _)) in variants.iter().enumerate() {
        report.series(name, "CPU us each", &rounds.costs(position));
    }
    let trust = report.control("ours / copy of ours", &rounds.ratios(OURS, COPY));
    let needed: Vec<f64> =
        rounds.costs(HYPER).iter().zip(rounds.costs(INSTANCES)).map(|(h, i)| h + i).collect();
    let efficiency = pairs::ratios(&needed, &rounds.costs(OURS));
    report.figure("(hyper + instance) / ours", &efficiency, trust, Some(FLOOR), Some(TARGET));
    let native = rounds.ratios(OURS, HYPER);
    report.figure("ours / hyper without Wasm", &native, trust, None, Some(TARGET_NATIVE));
    report.fact(format!("reset of ours: {}, because {}", live.reset, live.reset_because));
    Ok(report)
}

//! P1: CPU time of a warm request, ours against `wasmtime serve` of the same component.
//!
//! Both make a fresh instance for every request. Ours does so behind its load balancer with every
//! limit on, `wasmtime serve` with its default flags; with its pooling allocator it is shown, but
//! not judged.
//!
//! Server and load share all cores: a process with threads on one core only is spared what giving
//! memory back to the kernel costs the other cores, and no server runs like that.

mod harness;

use std::process::ExitCode;

use harness::load::{self, Expected, Measured};
use harness::node::{self, Node};
use harness::options::Options;
use harness::pairs;
use harness::peer::{self, Peer};
use harness::process;
use harness::report::{Bound, Report};

/// For both ways to reset memory.
const FLOOR: Bound = Bound::AtMost(0.5);
const TARGET_FAST: Bound = Bound::AtMost(0.20);
const TARGET_SAFE: Bound = Bound::AtMost(0.30);

/// Positions of the variants. Those that are compared are neighbours.
const COPY: usize = 0;
const OURS: usize = 1;
const SERVE: usize = 2;
const SAFE: usize = 3;
const POOLED: usize = 4;

fn main() -> ExitCode {
    harness::main(&[load::ROLE], bench)
}

/// A server under load.
struct Variant {
    expected: Expected,
    process: u32,
}

impl From<&Node> for Variant {
    fn from(node: &Node) -> Self {
        Self { expected: node.hello(), process: node.id() }
    }
}

impl From<&Peer> for Variant {
    fn from(peer: &Peer) -> Self {
        Self { expected: peer.hello().clone(), process: peer.id() }
    }
}

fn bench(options: &Options) -> anyhow::Result<Report> {
    let (program, wasmtime) = peer::find()?;
    let mut report = Report::begin("P1: warm request, ours / wasmtime serve", options);
    report.version("ours", node::version()?);
    report.version("peer", wasmtime);
    let (server_core, load_core) = process::cores(options.pinned);
    let copy = Node::with_hello("auto", server_core)?;
    let ours = Node::with_hello("auto", server_core)?;
    let safe = Node::with_hello("safe", server_core)?;
    let serve = Peer::start(&program, &[], server_core)?;
    let pooled = Peer::start(&program, &["-O", "pooling-allocator"], server_core)?;
    let variants: [(&str, Variant); 5] = [
        ("copy", (&copy).into()),
        ("ours", (&ours).into()),
        ("serve", (&serve).into()),
        ("safe", (&safe).into()),
        ("serve pooled", (&pooled).into()),
    ];
    let rounds = pairs::measure(options.pairs, &variants, Measured::cpu_us, |variant| {
        let Variant { expected, process } = variant;
        load::measure(expected, options.connections, options.window(), *process, load_core)
    })?;
    for (position, (name, _)) in variants.iter().enumerate() {
        report.series(name, "CPU us/response", &rounds.costs(position));
    }
    for (position, (name, _)) in variants.iter().enumerate() {
        report.series(name, "responses/s", &rounds.values(position, Measured::rate));
    }
    let trust = report.control("ours / copy of ours", &rounds.ratios(OURS, COPY));
    let live = ours.live()?;
    report.fact(format!("reset of ours: {}, because {}", live.reset, live.reset_because));
    let target = if live.reset == "fast" { TARGET_FAST } else { TARGET_SAFE };
    let name = format!("ours ({} reset) / serve", live.reset);
    report.figure(&name, &rounds.ratios(OURS, SERVE), trust, Some(FLOOR), Some(target));
    let ratios = rounds.ratios(SAFE, SERVE);
    report.figure("ours (safe reset) / serve", &ratios, trust, Some(FLOOR), Some(TARGET_SAFE));
    report.figure("ours / serve pooled", &rounds.ratios(OURS, POOLED), trust, None, None);
    Ok(report)
}

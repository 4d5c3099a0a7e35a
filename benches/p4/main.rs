//! P4: CPU time of a request that passes through a load balancer to a server that is not Wharf's,
//! ours against nginx and HAProxy.
//!
//! All three spread the same requests over the same two hyper servers, over connections that are
//! kept on both sides, with as many threads as there are cores, without an access log, and set the
//! same forwarding fields.

#[path = "../harness/mod.rs"]
mod harness;
mod peers;

use std::process::ExitCode;

use anyhow::Context;

use harness::hyper_hello::{self, HyperHello};
use harness::load::{self, Expected, Measured};
use harness::node::{self, Node};
use harness::options::Options;
use harness::pairs;
use harness::process;
use harness::report::{Bound, Report};
use peers::Peer;

/// Against nginx.
const FLOOR: Bound = Bound::AtMost(1.0);
const TARGET: Bound = Bound::AtMost(0.8);
/// Against HAProxy.
const TARGET_HAPROXY: Bound = Bound::AtMost(1.0);

/// Positions of the variants. Those that are compared are neighbours.
const COPY: usize = 0;
const OURS: usize = 1;
const NGINX: usize = 2;
const HAPROXY: usize = 3;

fn main() -> ExitCode {
    harness::main(&[load::ROLE, hyper_hello::ROLE], bench)
}

/// A server under load.
struct Variant {
    expected: Expected,
    process: u32,
}

fn bench(options: &Options) -> anyhow::Result<Report> {
    let title = "P4: a request passed on to a hyper server, ours / nginx";
    let mut report = Report::begin(title, options);
    report.version("ours", node::version()?);
    let (server_core, load_core) = process::cores(options.pinned);
    let origins = [HyperHello::start(load_core)?, HyperHello::start(load_core)?];
    let targets = origins.each_ref().map(|origin| origin.expected().address);
    let (copy, ours) = (forwarding(&targets, server_core)?, forwarding(&targets, server_core)?);
    let nginx = Peer::nginx(&targets, server_core)?;
    let haproxy = Peer::haproxy(&targets, server_core)?;
    report.version("nginx", nginx.version());
    report.version("HAProxy", haproxy.version());
    let of_node = |node: &Node| {
        let (expected, process) = (node.expected("origin.localhost"), node.id());
        Variant { expected, process }
    };
    let of_peer = |peer: &Peer| Variant { expected: peer.expected(), process: peer.id() };
    let variants: [(&str, Variant); 4] = [
        ("copy", of_node(&copy)),
        ("ours", of_node(&ours)),
        ("nginx", of_peer(&nginx)),
        ("haproxy", of_peer(&haproxy)),
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
        report.series(name, "p50 us", &rounds.values(position, |measured| measured.p50_us));
        report.series(name, "p99 us", &rounds.values(position, |measured| measured.p99_us));
    }
    let trust = report.control("ours / copy of ours", &rounds.ratios(OURS, COPY));
    let ratios = rounds.ratios(OURS, NGINX);
    report.figure("ours / nginx", &ratios, trust, Some(FLOOR), Some(TARGET));
    let ratios = rounds.ratios(OURS, HAPROXY);
    report.figure("ours / HAProxy", &ratios, trust, None, Some(TARGET_HAPROXY));
    Ok(report)
}

/// A node that forwards to these servers.
fn forwarding(targets: &[std::net::SocketAddr], core: Option<usize>) -> anyhow::Result<Node> {
    let node = Node::start("auto", core)?;
    let targets: Vec<String> = targets.iter().map(|at| format!("\"http://{at}\"")).collect();
    let targets = targets.join(", ");
    let manifest =
        format!("[upstream.origin]\nroute = \"origin.localhost/*\"\ntarget = [{targets}]\n");
    node.apply(&manifest).context("declaring the upstream")?;
    Ok(node)
}

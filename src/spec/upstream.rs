//! `[upstream.NAME]`.

use std::collections::BTreeSet;

use super::manifest::UpstreamSpec;
use super::problem::Problem;
use super::reader::{Shape, Spot, Table};
use super::tree::Tree;
use super::{bounds, deploy, health, route, steering, values};
use crate::model::{Ejection, HostHeader, InvalidTarget, Retry, TargetUrl, UpstreamPolicy};

pub(super) const SHAPE: Shape = Shape {
    keys: &[
        "route",
        "target",
        "host",
        "connect_timeout",
        "timeout",
        "idle_timeout",
        "max_in_flight",
        "retry",
        "eject",
        "health",
        "affinity",
        "ca",
    ],
    slips: &[
        ("targets", "did you mean `target`? It may be a list"),
        ("server", "did you mean `target`?"),
        ("servers", "did you mean `target`? It may be a list"),
        ("url", "did you mean `target`?"),
        ("proxy_pass", "did you mean `target`?"),
        ("task", "a task belongs to `[service.NAME]`; an upstream has a `target`"),
        ("retries", "did you mean `retry`? Write `retry = { attempts = 2 }`"),
        ("outlier", "did you mean `eject`? Write `eject = { failures = 5, time = \"30s\" }`"),
        ("healthCheck", "did you mean `health`? Write `health = { path = \"/healthz\" }`"),
        ("port", "the port is a part of the target: write `target = \"http://host:port\"`"),
    ],
    example: "write `[upstream.NAME]` and below it `target = \"http://host:port\"`",
};

const RETRY: Shape = Shape {
    keys: &["attempts", "budget"],
    slips: &[("count", "did you mean `attempts`?"), ("percent", "did you mean `budget`?")],
    example: "write `retry = { attempts = 2, budget = 20 }`",
};

const EJECT: Shape = Shape {
    keys: &["failures", "time"],
    slips: &[("consecutive_5xx", "did you mean `failures`?"), ("base", "did you mean `time`?")],
    example: "write `eject = { failures = 5, time = \"30s\" }`",
};

const TARGET: &str = "write \"http://HOST:PORT\", \"https://HOST:PORT\" or \"h2c://HOST:PORT\"";

pub(super) fn read(table: &mut Table<'_, '_>, seen: &mut route::Seen) -> UpstreamSpec {
    let routes = route::read(table, seen);
    let targets = read_targets(table);
    let default = UpstreamPolicy::default();
    let connect = table.read("connect_timeout", |s| values::time(s, bounds::CONNECT_TIMEOUT));
    let timeout = table.read("timeout", |spot| values::time(spot, bounds::TIMEOUT));
    let idle = table.read("idle_timeout", |spot| values::time(spot, bounds::IDLE_TIMEOUT));
    let most = table.read("max_in_flight", |s| values::integer(s, bounds::MAX_IN_FLIGHT));
    let policy = UpstreamPolicy {
        host: table.read("host", host).or(default.host),
        connect_timeout: connect.or(default.connect_timeout),
        timeout: timeout.or(default.timeout),
        idle_timeout: idle.or(default.idle_timeout),
        max_in_flight: most.or(default.max_in_flight),
        retry: read_retry(table),
        eject: read_eject(table),
        health: health::read_probe(table, "health"),
        affinity: steering::read_affinity(table),
        ca: table.read("ca", certificates).some(),
    };
    UpstreamSpec { routes, targets, policy }
}

fn read_targets(table: &mut Table<'_, '_>) -> Vec<TargetUrl> {
    let Some(all) = table.get("target") else {
        let missing = table.spot().problem("an upstream needs a `target`");
        table.report(missing.hint(TARGET));
        return Vec::new();
    };
    let spots = route::one_or_more(&all);
    if spots.is_empty() || spots.len() > bounds::TARGETS {
        let message = format!("{} targets: expected 1 to {}", spots.len(), bounds::TARGETS);
        table.report(all.problem(message).hint(TARGET));
    }
    let (mut targets, mut known) = (Vec::new(), BTreeSet::new());
    for spot in spots.iter().take(bounds::TARGETS) {
        match target(spot) {
            Err(problem) => table.report(problem),
            Ok(target) if known.insert(target.to_string()) => targets.push(target),
            Ok(_) => {
                table.report(spot.problem("this target stands here twice").hint("remove one"));
            }
        }
    }
    targets
}

fn target(spot: &Spot<'_>) -> Result<TargetUrl, Problem> {
    let text = match &spot.node.tree {
        Tree::Text(text) => text,
        _ => return Err(spot.expected("text or a list of texts").hint(TARGET)),
    };
    text.parse().map_err(|error: InvalidTarget| {
        let hint = match error {
            InvalidTarget::Scheme if format!("http://{text}").parse::<TargetUrl>().is_ok() => {
                format!("write \"http://{text}\", or https:// or h2c://")
            }
            _ => TARGET.to_owned(),
        };
        spot.problem(error.to_string()).hint(hint)
    })
}

fn host(spot: &Spot<'_>) -> Result<HostHeader, Problem> {
    match values::text(spot)? {
        "client" => Ok(HostHeader::Client),
        "target" => Ok(HostHeader::Target),
        _ => Err(spot.problem("no such host").hint(
            "write `host = \"client\"` to pass on the client's, which is the default, or \
             `host = \"target\"` for that of the target",
        )),
    }
}

fn read_retry(table: &mut Table<'_, '_>) -> Retry {
    let default = Retry::default();
    let Some(mut table) = table.table("retry", Some(&RETRY)) else { return default };
    let attempts = table.read("attempts", |spot| values::integer(spot, bounds::RETRIES));
    Retry {
        attempts: attempts.or(default.attempts),
        budget: table.read("budget", deploy::percent).or(default.budget),
    }
}

fn read_eject(table: &mut Table<'_, '_>) -> Ejection {
    let default = Ejection::default();
    let Some(mut table) = table.table("eject", Some(&EJECT)) else { return default };
    let failures = table.read("failures", |spot| values::integer(spot, bounds::EJECT_FAILURES));
    Ejection {
        failures: failures.or(default.failures),
        time: table.read("time", |s| values::time(s, bounds::EJECT_TIME)).or(default.time),
    }
}

fn certificates(spot: &Spot<'_>) -> Result<String, Problem> {
    let text = values::text(spot)?;
    let is_pem = text.contains("-----BEGIN CERTIFICATE-----");
    match is_pem && text.len() <= bounds::CA {
        true => Ok(text.to_owned()),
        false => Err(spot
            .problem("these are no certificates in PEM of at most 64 KiB")
            .hint("paste the file between `'''` and `'''`, -----BEGIN CERTIFICATE----- included")),
    }
}

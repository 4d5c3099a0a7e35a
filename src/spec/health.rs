//! `[service.NAME.health]`.

use super::problem::Problem;
use super::reader::{Shape, Spot, Table};
use super::{bounds, values};
use crate::model::{Health, Probe, ProbePath};

pub(super) const HEALTH: Shape = Shape {
    keys: &["startup", "liveness", "readiness"],
    slips: &[
        ("startupProbe", "did you mean `startup`?"),
        ("livenessProbe", "did you mean `liveness`?"),
        ("readinessProbe", "did you mean `readiness`?"),
        ("path", "say which probe it is for: write `readiness = { path = \"/healthz\" }`"),
        ("interval", "say which probe it is for: write `readiness = { interval = \"10s\" }`"),
        ("timeout", "say which probe it is for: write `readiness = { timeout = \"1s\" }`"),
        ("command", "a probe is a request: write `liveness = { path = \"/healthz\" }`"),
    ],
    example: "write `health = { readiness = { path = \"/healthz\" } }`",
};

const PROBE: Shape = Shape {
    keys: &["path", "interval", "timeout", "failures", "successes", "delay"],
    slips: &[
        ("httpGet", "did you mean `path`? Write `path = \"/healthz\"`"),
        ("periodSeconds", "did you mean `interval`? Write `interval = \"10s\"`"),
        ("timeoutSeconds", "did you mean `timeout`? Write `timeout = \"1s\"`"),
        ("failureThreshold", "did you mean `failures`?"),
        ("successThreshold", "did you mean `successes`?"),
        ("initialDelaySeconds", "did you mean `delay`? Write `delay = \"5s\"`"),
        ("retries", "did you mean `failures`?"),
        ("startPeriod", "did you mean `delay`? Write `delay = \"5s\"`"),
        ("command", "a probe is a request: write `path = \"/healthz\"`"),
        ("exec", "a probe is a request: write `path = \"/healthz\"`"),
        ("tcpSocket", "a probe is a request: write `path = \"/healthz\"`"),
        ("port", "the probe asks where requests go: the guest itself, or the target"),
    ],
    example: "write `readiness = { path = \"/healthz\", interval = \"10s\" }`",
};

/// Reads the probes of a service.
pub(super) fn read(table: &mut Table<'_, '_>) -> Health {
    Health {
        startup: read_probe(table, "startup"),
        liveness: read_probe(table, "liveness"),
        readiness: read_probe(table, "readiness"),
    }
}

pub(super) fn read_probe(table: &mut Table<'_, '_>, key: &str) -> Option<Probe> {
    let mut table = table.table(key, Some(&PROBE))?;
    if table.get("path").is_none() {
        let missing = table.spot().problem("a probe needs a `path`");
        table.report(missing.hint(PROBE.example));
    }
    let path = table.read("path", path).some();
    let interval = table.read("interval", |spot| values::time(spot, bounds::PROBE_INTERVAL));
    let timeout = table.read("timeout", |spot| values::time(spot, bounds::PROBE_TIMEOUT));
    let failures = table.read("failures", |spot| values::integer(spot, bounds::PROBE_COUNT));
    let successes = table.read("successes", |spot| values::integer(spot, bounds::PROBE_COUNT));
    let delay = table.read("delay", |spot| values::time(spot, bounds::PROBE_DELAY));
    let default = Probe::new(path?);
    Some(Probe {
        interval: interval.or(default.interval),
        timeout: timeout.or(default.timeout),
        failures: failures.or(default.failures),
        successes: successes.or(default.successes),
        delay: delay.or(default.delay),
        path: default.path,
    })
}

fn path(spot: &Spot<'_>) -> Result<ProbePath, Problem> {
    let parsed = values::text(spot)?.parse::<ProbePath>();
    parsed.map_err(|error| {
        spot.problem(error.to_string())
            .hint("write a path such as \"/healthz\", without scheme, host and port")
    })
}

//! `[service.NAME.deploy]` and `traffic`.

use std::collections::BTreeSet;
use std::time::Duration;

use super::problem::Problem;
use super::reader::{Shape, Spot, Table};
use super::tree::Tree;
use super::{bounds, steering, values};
use crate::model::{Alarm, Breaker, DeployPolicy, Percent, Strategy, TrafficTarget};

pub(super) const DEPLOY: Shape = Shape {
    keys: &[
        "strategy",
        "percent",
        "step_bake",
        "min_healthy",
        "max_healthy",
        "bake",
        "breaker",
        "alarm",
        "keep",
    ],
    slips: &[
        ("type", "did you mean `strategy`?"),
        ("canary", "write `strategy = \"canary\"` and `percent`"),
        ("canaryPercent", "did you mean `percent`?"),
        ("stepPercent", "did you mean `percent`?"),
        ("minimumHealthyPercent", "did you mean `min_healthy`?"),
        ("maximumPercent", "did you mean `max_healthy`?"),
        ("bakeTimeInMinutes", "did you mean `bake`? Write `bake = \"10m\"`"),
    ],
    example: "write `deploy = { strategy = \"canary\", percent = 5, step_bake = \"10m\" }`",
};

const BREAKER: Shape = Shape {
    keys: &["threshold", "rollback"],
    slips: &[("enable", "the breaker is always on; write `rollback = false` to stay where it is")],
    example: "write `breaker = { threshold = 3, rollback = true }`",
};

const ALARM: Shape = Shape {
    keys: &["errors", "latency", "requests"],
    slips: &[("error_rate", "did you mean `errors`?"), ("p99", "did you mean `latency`?")],
    example: "write `alarm = { errors = 5, latency = 300, requests = 20 }`",
};

pub(super) const TARGET: Shape = Shape {
    keys: &["revision", "latest", "percent", "tag", "header", "cookie"],
    slips: &[
        ("revisionName", "did you mean `revision`? It is a number"),
        ("latestRevision", "did you mean `latest`?"),
        ("weight", "did you mean `percent`?"),
    ],
    example: "write `traffic = [{ latest = true, percent = 90 }, { revision = 3, percent = 10 }]`",
};

/// Reads how a service is deployed.
pub(super) fn read(table: &mut Table<'_, '_>) -> DeployPolicy {
    let default = DeployPolicy::default();
    let strategy = read_strategy(table);
    let bake = table.read("bake", |spot| values::time(spot, bounds::BAKE));
    let keep = table.read("keep", |spot| values::integer(spot, bounds::KEEP));
    let breaker = table.table("breaker", Some(&BREAKER)).map(|mut table| Breaker {
        threshold: table
            .read("threshold", |spot| values::integer(spot, Breaker::LEAST..=Breaker::MOST))
            .some(),
        rollback: table.read("rollback", values::switch).or(true),
    });
    let alarm = table.table("alarm", Some(&ALARM)).map(|mut table| {
        let default = Alarm::default();
        Alarm {
            errors: table.read("errors", percent).or(default.errors),
            latency: table
                .read("latency", |spot| values::integer(spot, bounds::LATENCY))
                .or(default.latency),
            requests: table
                .read("requests", |spot| values::integer(spot, bounds::ALARM_REQUESTS))
                .or(default.requests),
        }
    });
    DeployPolicy {
        strategy,
        bake: bake.or(default.bake),
        breaker: breaker.unwrap_or_default(),
        alarm: alarm.unwrap_or_default(),
        keep: keep.or(default.keep),
    }
}

fn read_strategy(table: &mut Table<'_, '_>) -> Strategy {
    let name = table.read("strategy", |spot| {
        let known = ["rolling", "blue-green", "canary", "linear", "all-at-once"];
        let text = values::text(spot)?;
        known.into_iter().find(|known| *known == text).ok_or_else(|| {
            spot.problem("unknown strategy").hint(format!("use one of {}", known.join(", ")))
        })
    });
    let name = name.or("rolling");
    let step = |table: &mut Table<'_, '_>, share: Percent, time: Duration| {
        let share = table.read("percent", step_percent).or(share);
        let time = table.read("step_bake", |spot| values::time(spot, bounds::BAKE)).or(time);
        (share, time)
    };
    let (strategy, used): (_, &[&str]) = match name {
        "canary" => {
            let (percent, step_bake) = step(table, Strategy::CANARY, Strategy::CANARY_BAKE);
            (Strategy::Canary { percent, step_bake }, &["percent", "step_bake"])
        }
        "linear" => {
            let (percent, step_bake) = step(table, Strategy::LINEAR, Strategy::LINEAR_BAKE);
            (Strategy::Linear { percent, step_bake }, &["percent", "step_bake"])
        }
        "blue-green" => (Strategy::BlueGreen, &[]),
        "all-at-once" => (Strategy::AllAtOnce, &[]),
        _ => (read_rolling(table), &["min_healthy", "max_healthy"]),
    };
    for key in ["percent", "step_bake", "min_healthy", "max_healthy"] {
        if let Some(spot) = table.get(key).filter(|_| !used.contains(&key)) {
            let message = format!("`{name}` has no `{key}`");
            table.report(spot.problem(message).hint("remove it, or choose another `strategy`"));
        }
    }
    strategy
}

fn read_rolling(table: &mut Table<'_, '_>) -> Strategy {
    let read = |spot: &Spot<'_>| values::integer(spot, bounds::HEALTHY_MIN);
    let min_healthy = table.read("min_healthy", read).or(100);
    let read = |spot: &Spot<'_>| values::integer(spot, bounds::HEALTHY_MAX);
    let max_healthy = table.read("max_healthy", read).or(200);
    let strategy = Strategy::Rolling { min_healthy, max_healthy };
    if !strategy.makes_progress() {
        let spot = table.get("max_healthy").unwrap_or_else(|| table.spot().clone());
        let message = "no task may stop before another starts, and none may start before one stops";
        let hint = "raise `max_healthy` above 100, or lower `min_healthy` below it";
        table.report(spot.problem(message).hint(hint));
    }
    strategy
}

/// Reads how the traffic is split. `None` is a revision; the latest has none.
pub(super) fn read_traffic(table: &mut Table<'_, '_>) -> Vec<TrafficTarget> {
    let Some(all) = table.get("traffic") else { return Vec::new() };
    let Tree::List(items) = &all.node.tree else {
        table.report(all.expected("a list").hint(TARGET.example));
        return Vec::new();
    };
    if items.len() > bounds::TRAFFIC {
        let message = format!("{} targets, {} is the most", items.len(), bounds::TRAFFIC);
        table.report(all.problem(message).hint("give revisions without a share no tag"));
        return Vec::new();
    }
    let mut targets = Vec::new();
    let mut is_good = true;
    for (i, item) in items.iter().enumerate() {
        let spot = all.item(i, item);
        match table.open_at(&spot, Some(&TARGET)).and_then(|mut table| target(&spot, &mut table)) {
            Some(target) => targets.push(target),
            None => is_good = false,
        }
    }
    if is_good {
        check_traffic(table, &all, &targets);
    }
    targets
}

fn target(spot: &Spot<'_>, table: &mut Table<'_, '_>) -> Option<TrafficTarget> {
    let revision = table.read("revision", |spot| values::integer(spot, bounds::REVISION)).some();
    let latest = table.read("latest", values::switch).or(false);
    let percent = table.read("percent", percent).or(Percent::NONE);
    let tag = table
        .read("tag", |spot| {
            let name = values::name(values::text(spot)?);
            name.map_err(|(message, hint)| spot.problem(message).hint(hint))
        })
        .some();
    let header = steering::read_mark(table, "header");
    let cookie = steering::read_mark(table, "cookie");
    if latest == revision.is_some() {
        let message = "name either a `revision` or the `latest`";
        table.report(spot.problem(message).hint(TARGET.example));
        return None;
    }
    Some(TrafficTarget { revision, percent, tag, header, cookie })
}

fn check_traffic(table: &mut Table<'_, '_>, all: &Spot<'_>, targets: &[TrafficTarget]) {
    let sum: u32 = targets.iter().map(|target| target.percent.basis_points()).sum();
    if !targets.is_empty() && sum != Percent::ALL.basis_points() {
        let sum = f64::from(sum) / 100.0;
        let hint = "change `percent` of one of them, so that all add up to 100";
        table.report(all.problem(format!("the shares add up to {sum}%")).hint(hint));
    }
    let mut seen = BTreeSet::new();
    for tag in targets.iter().filter_map(|target| target.tag.as_ref()) {
        if !seen.insert(tag) {
            let message = format!("the tag {tag} is given twice");
            table.report(all.problem(message).hint("a tag leads to one revision"));
        }
    }
    let mut seen = BTreeSet::new();
    for target in targets {
        if !seen.insert(target.revision) {
            let which =
                target.revision.map_or("the latest".to_owned(), |n| format!("revision {n}"));
            table
                .report(all.problem(format!("{which} is given twice")).hint("keep one of the two"));
        }
    }
}

fn step_percent(spot: &Spot<'_>) -> Result<Percent, Problem> {
    let share = percent(spot)?;
    match share {
        Percent::NONE => Err(spot.problem("a step of 0% never ends").hint("write `percent = 5`")),
        share => Ok(share),
    }
}

pub(super) fn percent(spot: &Spot<'_>) -> Result<Percent, Problem> {
    let text = match &spot.node.tree {
        Tree::Integer(number) => number.to_string(),
        Tree::Float(number) => number.to_string(),
        Tree::Text(text) => text.clone(),
        _ => return Err(spot.expected("a percentage").hint("write a number such as 5 or 0.5")),
    };
    text.parse().map_err(|error: crate::model::InvalidPercent| {
        spot.problem(error.to_string()).hint("write a number such as 5 or 0.5")
    })
}

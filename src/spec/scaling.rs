//! Policies and schedules in `[service.NAME.scale]`.

use super::hints;
use super::manifest::Manifest;
use super::problem::{Collector, Problem};
use super::reader::{Shape, Spot, Table};
use super::tree::Tree;
use super::{bounds, values};
use crate::model::{
    Adjust, Cron, InvalidCron, Metric, Scale, ScalePolicies, ScheduledBounds, Step, Targets,
    Threshold, Zone, duration,
};

const TARGET: Shape = Shape {
    keys: &["in_flight", "rps", "cpu", "memory"],
    slips: &[
        ("concurrency", "did you mean `in_flight`?"),
        ("requests", "did you mean `rps`?"),
        ("CPUUtilization", "did you mean `cpu`?"),
        ("MemoryUtilization", "did you mean `memory`?"),
    ],
    example: "write `target = { in_flight = 7, rps = 200, cpu = 60, memory = 70 }`",
};

const STEP: Shape = Shape {
    keys: &["metric", "above", "below", "add", "remove", "add_percent", "remove_percent", "set"],
    slips: &[
        ("over", "did you mean `above`?"),
        ("under", "did you mean `below`?"),
        ("to", "did you mean `set`?"),
        ("percent", "write `add_percent` or `remove_percent`"),
        ("cooldown", "a step is taken once in a `window`; see `out_cooldown`"),
    ],
    example: "write `steps = [{ metric = \"cpu\", above = 80, add = 2 }]`",
};

const SCHEDULE: Shape = Shape {
    keys: &["cron", "zone", "min", "max"],
    slips: &[
        ("timezone", "did you mean `zone`?"),
        ("time_zone", "did you mean `zone`?"),
        ("at", "write `cron = \"MINUTE HOUR DAY MONTH WEEKDAY\"`"),
        ("expression", "did you mean `cron`?"),
        ("desired", "write `min` and `max`"),
    ],
    example: "write `schedule = [{ cron = \"0 8 * * MON-FRI\", zone = \"UTC\", min = 4 }]`",
};

/// Keys that mean something with a target or a step only.
const OF_POLICIES: [&str; 5] =
    ["window", "burst", "burst_threshold", "out_cooldown", "in_cooldown"];

/// Reads the policies of a service's `scale`.
pub(super) fn read(table: &mut Table<'_, '_>) -> ScalePolicies {
    let default = ScalePolicies::default();
    let target = table.table("target", Some(&TARGET)).map(|mut t| read_target(&mut t));
    let steps = read_list(table, "steps", ScalePolicies::MOST_STEPS, &STEP, read_step);
    let window = table.read("window", |spot| values::time(spot, bounds::WINDOW));
    let burst = table.read("burst", |spot| values::time(spot, bounds::WINDOW));
    let threshold =
        table.read("burst_threshold", |spot| values::integer(spot, bounds::BURST_THRESHOLD));
    let out_cooldown = table.read("out_cooldown", |spot| values::time(spot, bounds::COOLDOWN));
    let in_cooldown = table.read("in_cooldown", |spot| values::time(spot, bounds::COOLDOWN));
    let is_given = ["target", "steps"].iter().any(|key| table.get(key).is_some());
    let idle = OF_POLICIES.iter().filter(|_| !is_given).filter_map(|key| table.get(key));
    for spot in idle.collect::<Vec<_>>() {
        let problem = spot.problem("there is no policy that this could be about");
        table.report(problem.hint("add a `target` or `steps`, or remove it"));
    }
    if let (Some(long), Some(short)) =
        (window.in_force(default.window), burst.in_force(default.burst))
        && short > long
        && is_given
    {
        let spot = table.get("burst").or_else(|| table.get("window"));
        let (short, long) = (duration::format(short), duration::format(long));
        let message = format!("the burst window, {short}, is longer than the stable one, {long}");
        let spot = spot.unwrap_or_else(|| table.spot().clone());
        table.report(spot.problem(message).hint("make `burst` a tenth of `window`"));
    }
    ScalePolicies {
        target: target.unwrap_or_default(),
        steps,
        window: window.or(default.window),
        burst: burst.or(default.burst),
        burst_threshold: threshold.or(default.burst_threshold),
        out_cooldown: out_cooldown.or(default.out_cooldown),
        in_cooldown: in_cooldown.or(default.in_cooldown),
    }
}

/// A target above what a task serves at once would never be met. A task that is registered already
/// is not seen here; there the lower of the two counts.
pub(super) fn check_targets(manifest: &Manifest, problems: &mut Collector) {
    for (name, service) in &manifest.services {
        let task = manifest.tasks.get(&service.task);
        let concurrency = task.map(|task| task.limits.concurrency);
        if let (Some(target), Some(most)) = (service.scaling.target.in_flight, concurrency)
            && target > most
        {
            let path = format!("service.{name}.scale.target.in_flight");
            let message = format!("task {} serves {most} requests at once", service.task);
            let hint =
                format!("lower it, to {} or so, or raise `concurrency`", (most * 7 / 10).max(1));
            problems.add(Problem::new(&path, message).value(target.to_string()).hint(hint));
        }
    }
}

fn read_target(table: &mut Table<'_, '_>) -> Targets {
    let percent = |spot: &Spot<'_>| values::integer(spot, bounds::TARGET_PERCENT);
    let in_flight =
        table.read("in_flight", |spot| values::integer(spot, bounds::TARGET_IN_FLIGHT)).some();
    let rps = table.read("rps", |spot| values::integer(spot, bounds::TARGET_RPS)).some();
    let cpu = table.read("cpu", percent).some();
    let memory = table.read("memory", percent).some();
    if table.spot().node.is_empty() {
        let problem = table.spot().problem("a target without a measure follows nothing");
        table.report(problem.hint(TARGET.example));
    }
    Targets { in_flight, rps, cpu, memory }
}

/// Reads each table of a list; those with a mistake are left out.
fn read_list<T>(
    table: &mut Table<'_, '_>,
    key: &str,
    most: usize,
    shape: &Shape,
    read: impl Fn(&mut Table<'_, '_>) -> Option<T>,
) -> Vec<T> {
    let Some(all) = table.get(key) else { return Vec::new() };
    let Tree::List(items) = &all.node.tree else {
        table.report(all.expected("a list").hint(shape.example));
        return Vec::new();
    };
    if items.len() > most {
        let message = format!("{} of them, {most} is the most", items.len());
        table.report(all.problem(message).hint("remove some"));
        return Vec::new();
    }
    let spots = items.iter().enumerate().map(|(i, item)| all.item(i, item));
    let open = |spot| table.open_at(&spot, Some(shape)).and_then(|mut table| read(&mut table));
    spots.filter_map(open).collect()
}

fn read_step(table: &mut Table<'_, '_>) -> Option<Step> {
    let metric = table.read("metric", metric).some();
    if table.get("metric").is_none() {
        let problem = table.spot().problem("a step without a `metric` is never taken");
        table.report(problem.hint(STEP.example));
    }
    let mark = |spot: &Spot<'_>| values::integer(spot, bounds::MARK);
    let above = table.read("above", mark).some().map(Threshold::Above);
    let below = table.read("below", mark).some().map(Threshold::Below);
    let marks = one_of(table, &["above", "below"]);
    let tasks = |spot: &Spot<'_>| values::integer(spot, bounds::STEP);
    let more = |spot: &Spot<'_>| values::integer(spot, bounds::STEP_PERCENT);
    let fewer = |spot: &Spot<'_>| values::integer(spot, bounds::TARGET_PERCENT);
    let adjusts = [
        table.read("add", tasks).some().map(Adjust::Add),
        table.read("remove", tasks).some().map(Adjust::Remove),
        table.read("add_percent", more).some().map(Adjust::AddPercent),
        table.read("remove_percent", fewer).some().map(Adjust::RemovePercent),
        table.read("set", tasks).some().map(Adjust::Set),
    ];
    let does = one_of(table, &["add", "remove", "add_percent", "remove_percent", "set"]);
    let (mark, adjust) = (above.or(below)?, adjusts.into_iter().flatten().next()?);
    let wrong_way = match (mark, adjust) {
        (Threshold::Above(_), Adjust::Remove(_) | Adjust::RemovePercent(_)) => Some("fewer"),
        (Threshold::Below(_), Adjust::Add(_) | Adjust::AddPercent(_)) => Some("more"),
        _ => None,
    };
    if let Some(which) = wrong_way {
        let side = if which == "fewer" { "above" } else { "below" };
        let message = format!("a measure `{side}` its mark asks for {which} tasks");
        let problem = table.spot().problem(message);
        table.report(problem.hint("that drives the measure further: use the other direction"));
        return None;
    }
    (marks && does).then_some(Step { metric: metric?, mark, adjust })
}

/// Whether exactly one of the keys is there; reports it if not.
fn one_of(table: &mut Table<'_, '_>, keys: &[&str]) -> bool {
    let given = keys.iter().filter(|key| table.get(key).is_some()).count();
    if given != 1 {
        let what = keys.join("`, `");
        let message = format!("a step has exactly one of `{what}`, this has {given}");
        let problem = table.spot().problem(message);
        table.report(problem.hint(STEP.example));
    }
    given == 1
}

fn metric(spot: &Spot<'_>) -> Result<Metric, Problem> {
    let text = values::text(spot)?;
    let found = Metric::ALL.into_iter().find(|metric| metric.as_str() == text);
    found.ok_or_else(|| {
        let known = Metric::ALL.map(Metric::as_str).join(", ");
        spot.problem("unknown metric").hint(format!("use one of {known}"))
    })
}

/// Reads when the bounds are others than `scale`.
pub(super) fn read_schedule(table: &mut Table<'_, '_>, scale: &Scale) -> Vec<ScheduledBounds> {
    read_list(table, "schedule", ScheduledBounds::MOST, &SCHEDULE, |t| read_entry(t, scale))
}

fn read_entry(table: &mut Table<'_, '_>, scale: &Scale) -> Option<ScheduledBounds> {
    if table.get("cron").is_none() {
        let problem = table.spot().problem("an entry without `cron` never begins");
        table.report(problem.hint(SCHEDULE.example));
    }
    let cron = table.read("cron", cron).some();
    let zone = table.read("zone", zone);
    let min = table.read("min", |spot| values::integer(spot, bounds::SCALE_MIN)).some();
    let max = table.read("max", |spot| values::integer(spot, bounds::SCALE_MAX)).some();
    if table.get("min").is_none() && table.get("max").is_none() {
        let problem = table.spot().problem("an entry without `min` and `max` changes nothing");
        table.report(problem.hint(SCHEDULE.example));
    }
    let bounds = Scale { min: min.unwrap_or(scale.min), max: max.unwrap_or(scale.max), ..*scale };
    if bounds.min > bounds.max {
        let message = format!("min {} is above max {} then", bounds.min, bounds.max);
        let problem = table.spot().problem(message);
        table.report(problem.hint("what an entry leaves out is that of `scale`: give both"));
    }
    Some(ScheduledBounds { cron: cron?, zone: zone.or(Zone::default()), min, max })
}

fn cron(spot: &Spot<'_>) -> Result<Cron, Problem> {
    let text = values::text(spot)?;
    text.parse().map_err(|error: InvalidCron| {
        let hint = match &error {
            InvalidCron::Fields(6) => {
                "leave out the year of AWS, or the seconds: MINUTE HOUR DAY MONTH WEEKDAY"
            }
            InvalidCron::Never => "choose a day that the month has",
            _ => "write MINUTE HOUR DAY MONTH WEEKDAY, such as \"0 8 * * MON-FRI\"",
        };
        spot.problem(error.to_string()).hint(hint)
    })
}

fn zone(spot: &Spot<'_>) -> Result<Zone, Problem> {
    let text = values::text(spot)?;
    text.parse().map_err(|error: crate::model::UnknownZone| {
        // Those that begin alike: there are hundreds of zones, and may be thousands of mistakes.
        let names = Zone::names();
        let first = |name: &str| name.chars().next().map(|c| c.to_ascii_lowercase());
        let is_like =
            |name: &&str| first(name) == first(text) && name.len().abs_diff(text.len()) < 4;
        let names: Vec<&str> = names.iter().map(String::as_str).filter(is_like).collect();
        let hint = match hints::nearest(text, &names) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "write a name such as \"Europe/Berlin\" or \"UTC\"".to_owned(),
        };
        spot.problem(error.to_string()).hint(hint)
    })
}

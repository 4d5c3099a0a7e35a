//! `[service.NAME]`.

use std::collections::BTreeMap;

use super::manifest::ServiceSpec;
use super::problem::Problem;
use super::reader::{Given, Shape, Spot, Table};
use super::tree::Tree;
use super::{bounds, deploy, health, scaling, values};
use crate::model::{InvalidRoute, InvalidScale, Name, QueueBounds, RoutePattern, Scale, Service};

/// The keys of a service.
pub(super) const SHAPE: Shape = Shape {
    keys: &["task", "route", "scale", "queue", "drain", "health", "deploy", "traffic"],
    slips: &[
        ("image", "an image belongs to `[task.NAME]`; a service names that task with `task`"),
        ("component", "it belongs to `[task.NAME]`; a service names that task with `task`"),
        ("env", "the environment belongs to `[task.NAME]`"),
        ("min", "write `scale = { min = …, max = … }`"),
        ("max", "write `scale = { min = …, max = … }`"),
        ("idle", "write `scale = { idle = \"60s\" }`"),
        ("healthCheck", "did you mean `health`? Write `health = { liveness = { path = \"/\" } }`"),
        ("startupProbe", "write `health = { startup = { path = … } }`"),
        ("livenessProbe", "write `health = { liveness = { path = … } }`"),
        ("readinessProbe", "write `health = { readiness = { path = … } }`"),
        ("strategy", "write `deploy = { strategy = … }`"),
        ("replicas", "write `scale = { min = …, max = … }`"),
        ("desired_count", "write `scale = { min = …, max = … }`"),
        ("stopTimeout", "write `drain = \"30s\"`"),
        ("terminationGracePeriodSeconds", "write `drain = \"30s\"`"),
        ("port", "the load balancer's listener decides the port"),
        ("host", "did you mean `route`? Write `route = \"host/*\"`"),
        ("path", "did you mean `route`? Write `route = \"host/path/*\"`"),
    ],
    example: "a service has a name: write `[service.NAME]` and its keys below",
};

const SCALE: Shape = Shape {
    keys: &[
        "min",
        "max",
        "idle",
        "target",
        "steps",
        "schedule",
        "window",
        "burst",
        "burst_threshold",
        "out_cooldown",
        "in_cooldown",
    ],
    slips: &[
        ("concurrency", "write `target = { in_flight = … }`; what a task serves is the task's"),
        ("in_flight", "write `target = { in_flight = … }`"),
        ("rps", "write `target = { rps = … }`"),
        ("cpu", "write `target = { cpu = … }`"),
        ("memory", "write `target = { memory = … }`"),
        ("targets", "did you mean `target`?"),
        ("cooldown", "write `out_cooldown` and `in_cooldown`"),
        ("cron", "write `schedule = [{ cron = … }]`"),
        ("minimum", "did you mean `min`?"),
        ("maximum", "did you mean `max`?"),
        ("timeout", "did you mean `idle`?"),
    ],
    example: "write `scale = { min = 0, max = 20, idle = \"60s\" }`",
};

const QUEUE: Shape = Shape {
    keys: &["depth", "wait"],
    slips: &[
        ("size", "did you mean `depth`?"),
        ("length", "did you mean `depth`?"),
        ("timeout", "did you mean `wait`?"),
    ],
    example: "write `queue = { depth = 1000, wait = \"10s\" }`",
};

/// Where each route of the manifest was seen first.
pub(super) type SeenRoutes = BTreeMap<RoutePattern, String>;

/// Reads the keys of a service.
pub(super) fn read(
    name: &Name,
    table: &mut Table<'_, '_>,
    seen: &mut SeenRoutes,
) -> Option<ServiceSpec> {
    let task = table.read("task", task_name).or(name.clone());
    let routes = read_routes(table, seen);
    let scale = table.table("scale", Some(&SCALE)).map(|mut t| {
        let scale = read_scale(&mut t);
        (scale, scaling::read(&mut t), scaling::read_schedule(&mut t, &scale))
    });
    let (scale, scaling, schedule) = scale.unwrap_or_default();
    let queue = table.table("queue", Some(&QUEUE)).map(|mut t| read_queue(&mut t));
    let drain = table.read("drain", |spot| values::time(spot, bounds::DRAIN));
    let health = table.table("health", Some(&health::HEALTH)).map(|mut t| health::read(&mut t));
    let deploy = table.table("deploy", Some(&deploy::DEPLOY)).map(|mut t| deploy::read(&mut t));
    let traffic = deploy::read_traffic(table);
    Some(ServiceSpec {
        task,
        routes,
        scale,
        scaling,
        schedule,
        queue: queue.unwrap_or_default(),
        drain: drain.or(Service::DEFAULT_DRAIN),
        health: health.unwrap_or_default(),
        deploy: deploy.unwrap_or_default(),
        traffic,
    })
}

fn task_name(spot: &Spot<'_>) -> Result<Name, Problem> {
    let text = values::text(spot)?;
    values::name(text).map_err(|(message, hint)| spot.problem(message).hint(hint))
}

pub(super) fn read_routes(table: &mut Table<'_, '_>, seen: &mut SeenRoutes) -> Vec<RoutePattern> {
    let mut routes = Vec::new();
    let Some(all) = table.get("route") else {
        return routes;
    };
    let spots = match &all.node.tree {
        Tree::List(items) => items.iter().enumerate().map(|(i, item)| all.item(i, item)).collect(),
        _ => vec![all.clone()],
    };
    if spots.len() > bounds::ROUTES {
        let message = format!("{} routes, {} is the most", spots.len(), bounds::ROUTES);
        table.report(all.problem(message).hint("use a wildcard host or a shorter prefix"));
    }
    for spot in spots.iter().take(bounds::ROUTES) {
        match route(spot) {
            Err(problem) => table.report(problem),
            Ok(route) => match seen.get(&route) {
                Some(first) => table.report(repeated(spot, &route, first)),
                None => {
                    seen.insert(route.clone(), spot.path.clone());
                    routes.push(route);
                }
            },
        }
    }
    routes
}

fn route(spot: &Spot<'_>) -> Result<RoutePattern, Problem> {
    const HINT: &str = "write \"HOST/*\" or \"HOST/PATH/*\", such as \"hello.localhost/*\"";
    let Tree::Text(text) = &spot.node.tree else {
        return Err(spot.expected("text or a list of texts").hint(HINT));
    };
    text.parse().map_err(|error| match error {
        InvalidRoute::Scheme(rest) => {
            let valid = rest.parse::<RoutePattern>().is_ok();
            let hint = format!("leave it out: write \"{rest}\"");
            spot.problem("a route has no scheme").hint(if valid { &hint } else { HINT })
        }
        other => spot.problem(other.to_string()).hint(HINT),
    })
}

fn repeated(spot: &Spot<'_>, route: &RoutePattern, first: &str) -> Problem {
    spot.problem(format!("`{route}` is a route already, at {first}"))
        .hint("each route leads to one service: remove one of the two or change its host or path")
}

fn read_scale(table: &mut Table<'_, '_>) -> Scale {
    let default = Scale::default();
    let min = table.read("min", |spot| values::integer(spot, bounds::SCALE_MIN));
    let max = table.read("max", |spot| values::integer(spot, bounds::SCALE_MAX));
    let idle = table.read("idle", |spot| values::time(spot, bounds::IDLE));
    let scale =
        Scale { min: min.or(default.min), max: max.or(default.max), idle: idle.or(default.idle) };
    let faulty = min == Given::Faulty || max == Given::Faulty;
    if let (false, Err(error)) = (faulty, scale.check()) {
        let key = if max == Given::Absent { "min" } else { "max" };
        let spot = table.get(key).unwrap_or_else(|| table.spot().clone());
        let whose = if max == Given::Absent { " (the default)" } else { "" };
        let hint = match error {
            InvalidScale::Crossed { min, max } => {
                format!("raise the upper bound, `max = {min}`, or lower the other, `min = {max}`")
            }
            _ => SCALE.example.to_owned(),
        };
        table.report(spot.problem(format!("{error}{whose}")).hint(hint));
    }
    scale
}

fn read_queue(table: &mut Table<'_, '_>) -> QueueBounds {
    let default = QueueBounds::default();
    QueueBounds {
        depth: table.read("depth", |s| values::integer(s, bounds::QUEUE_DEPTH)).or(default.depth),
        wait: table.read("wait", |s| values::time(s, bounds::QUEUE_WAIT)).or(default.wait),
    }
}

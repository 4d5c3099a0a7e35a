//! `[service.NAME]`.

use super::manifest::ServiceSpec;
use super::problem::Problem;
use super::reader::{Given, Shape, Spot, Table};
use super::{bounds, deploy, health, route, scaling, steering, values};
use crate::model::{InvalidScale, Name, QueueBounds, Scale, Service};

/// The keys of a service.
pub(super) const SHAPE: Shape = Shape {
    keys: &[
        "task", "route", "scale", "queue", "drain", "health", "deploy", "traffic", "affinity",
        "mirror",
    ],
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
        ("sessionAffinity", steering::AFFINITY_HINT),
        ("session_affinity", steering::AFFINITY_HINT),
        ("sticky", steering::AFFINITY_HINT),
        ("shadow", steering::MIRROR_HINT),
        ("methods", route::BELONGS),
        ("allow", route::BELONGS),
        ("deny", route::BELONGS),
        ("rate", route::BELONGS),
        ("request_body", "write it in `[task.NAME.limits]`, or as a rule of a route"),
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

/// Reads the keys of a service.
pub(super) fn read(
    name: &Name,
    table: &mut Table<'_, '_>,
    seen: &mut route::Seen,
) -> Option<ServiceSpec> {
    let task = table.read("task", task_name).or(name.clone());
    let routes = route::read(table, seen);
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
    let affinity = steering::read_affinity(table);
    let mirror = steering::read_mirror(table, name);
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
        affinity,
        mirror,
    })
}

fn task_name(spot: &Spot<'_>) -> Result<Name, Problem> {
    let text = values::text(spot)?;
    values::name(text).map_err(|(message, hint)| spot.problem(message).hint(hint))
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

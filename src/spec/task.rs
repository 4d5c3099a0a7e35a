//! `[task.NAME]`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use registry::Reference;

use super::manifest::{Source, TaskSpec};
use super::problem::Problem;
use super::reader::{Given, Shape, Spot, Table};
use super::tree::Tree;
use super::{bounds, role, values};
use crate::model::{ByteSize, CpuUnits, Limits, Name, Role};

/// The keys of a task.
pub(super) const SHAPE: Shape = Shape {
    keys: &[
        "image",
        "component",
        "cpu",
        "cpu_cap",
        "memory",
        "instance_memory",
        "fuel",
        "timeout",
        "concurrency",
        "env",
        "role",
        "limits",
    ],
    slips: &[
        ("environment", "did you mean `env`?"),
        ("environments", "did you mean `env`?"),
        ("variables", "did you mean `env`?"),
        ("roles", "did you mean `role`? A task has one"),
        ("outbound", "it belongs to `[role.NAME]`; a task names that role with `role`"),
        ("route", "a route belongs to `[service.NAME]`"),
        ("routes", "a route belongs to `[service.NAME]`, as `route`"),
        ("scale", "the scale belongs to `[service.NAME]`"),
        ("queue", "the queue belongs to `[service.NAME]`"),
        ("replicas", "how many tasks run is `scale = { min, max }` of `[service.NAME]`"),
        ("request_body", "it belongs to `[task.NAME.limits]`"),
        ("response_body", "it belongs to `[task.NAME.limits]`"),
        ("headers", "it belongs to `[task.NAME.limits]`"),
        ("handles", "it belongs to `[task.NAME.limits]`"),
        ("hostcall_bytes", "it belongs to `[task.NAME.limits]`"),
    ],
    example: "a task has a name: write `[task.NAME]` and its keys below",
};

const LIMITS: Shape = Shape {
    keys: &["request_body", "response_body", "headers", "handles", "hostcall_bytes"],
    slips: &[
        ("cpu", "it belongs to `[task.NAME]` itself"),
        ("memory", "it belongs to `[task.NAME]` itself"),
        ("instance_memory", "it belongs to `[task.NAME]` itself"),
        ("fuel", "it belongs to `[task.NAME]` itself"),
        ("timeout", "it belongs to `[task.NAME]` itself"),
        ("concurrency", "it belongs to `[task.NAME]` itself"),
    ],
    example: "write `limits = { request_body = \"1MiB\" }`",
};

const IMAGE_HINT: &str = "write \"HOST[:PORT]/REPOSITORY:TAG\", such as \
                          \"wharf.internal/hello:1\" for the node's own registry";

/// Reads the keys of a task; `None` if there is no telling where its component comes from.
pub(super) fn read(
    name: &Name,
    table: &mut Table<'_, '_>,
    roles: &BTreeMap<Name, Role>,
) -> Option<TaskSpec> {
    let source = read_source(name, table);
    let limits = read_limits(table);
    let env = read_env(table);
    let role = table.read("role", |spot| role::named(spot, roles)).some();
    Some(TaskSpec { source: source?, env, role, limits })
}

fn read_source(name: &Name, table: &mut Table<'_, '_>) -> Option<Source> {
    let image = table.read("image", image);
    let component = table.read("component", component);
    match (image, component) {
        (Given::Absent, Given::Absent) => {
            let problem = table.spot().problem("neither `image` nor `component` is given");
            table.report(problem.hint(format!(
                "write `image = \"wharf.internal/{name}:1\"`, or `component = \"{name}.wasm\"` \
                 for a file"
            )));
            None
        }
        (Given::Absent, component) => component.in_force(Source::Component(PathBuf::new())),
        (Given::Value(image), Given::Absent) => Some(image),
        (Given::Faulty, Given::Absent) => None,
        (_, _) => {
            if let Some(spot) = table.get("component") {
                let problem = spot.problem("`image` and `component` exclude each other");
                table.report(problem.hint(
                    "keep `image` to pull from a registry, `component` to push a local file",
                ));
            }
            None
        }
    }
}

fn image(spot: &Spot<'_>) -> Result<Source, Problem> {
    let text = values::text(spot)?;
    if let Some((_, rest)) = text.split_once("://") {
        let valid = rest.parse::<Reference>().is_ok();
        let hint = format!("leave it out: write \"{rest}\"");
        let problem = spot.problem("an image reference has no scheme");
        return Err(problem.hint(if valid { &hint } else { IMAGE_HINT }));
    }
    if is_file(text) {
        let hint = format!("for a file use `component = \"{text}\"`");
        return Err(spot.problem("this is a path, not an image reference").hint(hint));
    }
    text.parse::<Reference>().map(Source::Image).map_err(|error| {
        let whole = error.to_string();
        let (message, own_hint) = whole.split_once("\nhint: ").unwrap_or((&whole, IMAGE_HINT));
        let is_mended = matches!(error, registry::reference::Error::UpperCase { .. });
        let hint = if is_mended { own_hint } else { IMAGE_HINT };
        spot.problem(format!("not an image reference: {message}")).hint(hint)
    })
}

/// Whether an `image` is really a path. `ghcr.io/org/app.wasm` is not: it starts with a host.
fn is_file(text: &str) -> bool {
    if ["/", "./", "../", "~/"].iter().any(|start| text.starts_with(start)) {
        return true;
    }
    let host = text.split_once('/').map(|(host, _)| host);
    let has_host = host.is_some_and(|host| host.contains(['.', ':']) || host == "localhost");
    (text.ends_with(".wasm") || text.ends_with(".wat")) && !has_host
}

fn component(spot: &Spot<'_>) -> Result<Source, Problem> {
    let text = values::text(spot)?;
    let message = match text {
        "" => "a path cannot be empty".to_owned(),
        _ if text.contains('\0') => "a path cannot contain NUL".to_owned(),
        _ if text.contains("://") => "a component is a local file, not an address".to_owned(),
        _ if text.len() > bounds::PATH => {
            format!("a path has at most {} bytes, this one has {}", bounds::PATH, text.len())
        }
        _ => return Ok(Source::Component(PathBuf::from(text))),
    };
    Err(spot.problem(message).hint(
        "write a path such as \"target/hello.wasm\"; an artifact in a registry is an `image`",
    ))
}

fn read_limits(table: &mut Table<'_, '_>) -> Limits {
    let default = Limits::default();
    let memory = table.read("memory", |spot| values::size(spot, bounds::MEMORY));
    let instance_memory = read_instance_memory(table, memory);
    let read_cpu = |spot: &Spot<'_>| values::integer(spot, bounds::CPU).map(CpuUnits);
    let limits = Limits {
        cpu: table.read("cpu", read_cpu).or(default.cpu),
        cpu_cap: table.read("cpu_cap", values::switch).or(default.cpu_cap),
        memory: memory.or(default.memory),
        instance_memory,
        fuel: table.read("fuel", |s| values::integer(s, bounds::FUEL)).or(default.fuel),
        timeout: table.read("timeout", |s| values::time(s, bounds::TIMEOUT)).or(default.timeout),
        concurrency: table
            .read("concurrency", |s| values::integer(s, bounds::CONCURRENCY))
            .or(default.concurrency),
        ..default
    };
    match table.table("limits", Some(&LIMITS)) {
        Some(mut more) => read_more_limits(&mut more, limits),
        None => limits,
    }
}

fn read_more_limits(table: &mut Table<'_, '_>, limits: Limits) -> Limits {
    let mut size = |key, range, default| table.read(key, |s| values::size(s, range)).or(default);
    Limits {
        request_body: size("request_body", bounds::BODY, limits.request_body),
        response_body: size("response_body", bounds::BODY, limits.response_body),
        headers: size("headers", bounds::HEADERS, limits.headers),
        hostcall_bytes: size("hostcall_bytes", bounds::HOSTCALL, limits.hostcall_bytes),
        handles: table.read("handles", |s| values::integer(s, bounds::HANDLES)).or(limits.handles),
        ..limits
    }
}

/// The cap of one instance: the task's memory unless it is given, and never above it.
fn read_instance_memory(table: &mut Table<'_, '_>, memory: Given<ByteSize>) -> ByteSize {
    let given = table.read("instance_memory", |s| values::size(s, bounds::INSTANCE_MEMORY));
    let limit = memory.in_force(Limits::DEFAULT_MEMORY);
    if let (Given::Value(value), Some(limit), Some(spot)) =
        (given, limit, table.get("instance_memory"))
        && value > limit
    {
        let whose = if memory == Given::Absent { " (the default)" } else { "" };
        let problem = spot.problem(format!("{value} is above the task's memory of {limit}{whose}"));
        table.report(problem.hint(format!(
            "raise the task: `memory = \"{value}\"`, or leave `instance_memory` out"
        )));
    }
    given.or(memory.or(Limits::DEFAULT_MEMORY).min(*bounds::INSTANCE_MEMORY.end()))
}

fn read_env(table: &mut Table<'_, '_>) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    let Some(mut entries) = table.table("env", None) else {
        return env;
    };
    let mut bytes = 0usize;
    for (key, spot) in entries.spots() {
        if key.is_empty() || key.contains(['=', '\0']) {
            let problem = spot.problem("a variable's name is not empty and has no `=` and no NUL");
            entries.report(problem.value(key).hint("write `env = { NAME = \"value\" }`"));
        }
        match env_value(&spot) {
            Ok(value) => {
                bytes = bytes.saturating_add(key.len() + value.len());
                env.insert(key.to_owned(), value);
            }
            Err(problem) => entries.report(problem),
        }
    }
    if bytes > bounds::ENV {
        let most = bounds::ENV;
        let message = format!("names and values have {bytes} bytes together, {most} is the most");
        let problem = entries.spot().problem(message);
        entries.report(problem.hint("put large values into the component or fetch them"));
    }
    env
}

fn env_value(spot: &Spot<'_>) -> Result<String, Problem> {
    match &spot.node.tree {
        Tree::Text(text) if text.contains('\0') => {
            Err(spot.problem("a value cannot contain NUL").hint("encode it, for example as base64"))
        }
        Tree::Text(text) => Ok(text.clone()),
        Tree::Integer(number) => Ok(number.to_string()),
        Tree::Bool(value) => Ok(value.to_string()),
        Tree::Null => {
            Err(spot.expected("text").hint("write \"\" for an empty value, or leave the key out"))
        }
        _ => Err(spot.expected("text, an integer or a boolean").hint("put the value in quotes")),
    }
}

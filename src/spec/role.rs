//! `[role.NAME]`: what the tasks that have the role may reach.

use std::collections::{BTreeMap, BTreeSet};

use super::problem::Problem;
use super::reader::{Given, Shape, Spot, Table};
use super::tree::Tree;
use super::{bounds, hints, route, values};
use crate::model::{Callees, InvalidOrigin, Methods, Name, Origin, Outbound, Role, RoleLimits};

/// The keys of a role.
pub(super) const SHAPE: Shape = Shape {
    keys: &["outbound", "networks", "services", "limits"],
    slips: &[
        ("allowed_outbound_hosts", "did you mean `outbound`?"),
        ("egress", "did you mean `outbound`?"),
        ("hosts", "did you mean `outbound`? Write `outbound = [\"https://HOST\"]`"),
        ("network", "did you mean `networks`?"),
        ("cidr", "did you mean `networks`? Write `networks = [\"10.0.0.0/8\"]`"),
        ("service", "did you mean `services`? Write `services = [\"NAME\"]`"),
        ("methods", "it belongs to one origin: `outbound = [{ to = …, methods = […] }]`"),
        ("connections", "it belongs to `[role.NAME.limits]`"),
        ("requests", "it belongs to `[role.NAME.limits]`"),
        ("rate", "it belongs to `[role.NAME.limits]`"),
        ("timeout", "it belongs to `[role.NAME.limits]`"),
        ("env", "the environment belongs to `[task.NAME]`"),
    ],
    example: "a role has a name: write `[role.NAME]` and its keys below",
};

const OUTBOUND: Shape = Shape {
    keys: &["to", "methods"],
    slips: &[
        ("url", "did you mean `to`?"),
        ("host", "did you mean `to`? Write `to = \"https://HOST\"`"),
        ("target", "did you mean `to`?"),
        ("method", "did you mean `methods`?"),
        ("path", "a role does not tell paths apart"),
        ("port", "the port is a part of the origin: write `to = \"https://HOST:PORT\"`"),
    ],
    example: ORIGIN,
};

const LIMITS: Shape = Shape {
    keys: &["connections", "requests", "rate", "request_bytes", "response_bytes", "timeout"],
    slips: &[
        ("request_body", "did you mean `request_bytes`?"),
        ("response_body", "did you mean `response_bytes`?"),
        ("max_connections", "did you mean `connections`?"),
        ("in_flight", "did you mean `requests`?"),
        ("rps", "write `rate = { requests = 100, per = \"1s\" }`"),
    ],
    example: "write `limits = { connections = 64, timeout = \"10s\" }`",
};

const RATE: Shape = Shape {
    keys: &["requests", "per", "burst"],
    slips: &[
        ("limit", "did you mean `requests`?"),
        ("window", "did you mean `per`?"),
        ("by", "a role counts all requests of a service together"),
    ],
    example: "write `rate = { requests = 100, per = \"1s\", burst = 200 }`",
};

const ORIGIN: &str = "write \"https://HOST\", \"http://HOST:PORT\", \"https://*.HOST\", or \
                      `{ to = \"https://HOST\", methods = [\"GET\"] }`";

const SERVICES: &str = "write the names of services, or [\"*\"] for all of this node";

/// Reads the keys of a role.
pub(super) fn read(name: &Name, table: &mut Table<'_, '_>) -> Role {
    Role {
        name: Some(name.clone()),
        outbound: read_outbound(table),
        networks: table.read("networks", route::networks).or(Default::default()),
        services: table.read("services", services).or(Default::default()),
        limits: read_limits(table),
    }
}

/// The role that a task names, which has to be one of the manifest.
pub(super) fn named(spot: &Spot<'_>, roles: &BTreeMap<Name, Role>) -> Result<Name, Problem> {
    let text = values::text(spot)?;
    let name = values::name(text).map_err(|(message, hint)| spot.problem(message).hint(hint))?;
    if roles.contains_key(&name) {
        return Ok(name);
    }
    let known: Vec<&str> = roles.keys().map(Name::as_str).collect();
    let hint = match hints::nearest(text, &known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("add `[role.{name}]` with what it may reach to this manifest"),
    };
    Err(spot.problem("the manifest has no role of this name").hint(hint))
}

fn read_outbound(table: &mut Table<'_, '_>) -> Vec<Outbound> {
    let Some(all) = table.get("outbound") else { return Vec::new() };
    let spots = match route::items(&all, bounds::OUTBOUND, ORIGIN) {
        Ok(spots) => spots,
        Err(problem) => {
            table.report(problem);
            return Vec::new();
        }
    };
    let (mut outbound, mut seen) = (Vec::new(), BTreeSet::new());
    for spot in &spots {
        let Some(one) = read_one(table, spot) else { continue };
        match seen.insert(one.to.clone()) {
            true => outbound.push(one),
            false => table.report(
                spot.problem("this origin stands here twice")
                    .hint("keep one of the two, with the methods of both"),
            ),
        }
    }
    outbound
}

fn read_one<'t>(table: &mut Table<'t, '_>, spot: &Spot<'t>) -> Option<Outbound> {
    let Tree::Table(_) = &spot.node.tree else {
        let origin = origin(spot).map_err(|problem| table.report(problem));
        return origin.ok().map(Outbound::from);
    };
    let mut table = table.open_at(spot, Some(&OUTBOUND))?;
    let methods = table.read("methods", route::methods).or(Methods::default());
    match table.read("to", origin) {
        Given::Value(to) => Some(Outbound { to, methods }),
        Given::Faulty => None,
        Given::Absent => {
            table.report(spot.problem("it does not say where `to`").hint(ORIGIN));
            None
        }
    }
}

fn origin(spot: &Spot<'_>) -> Result<Origin, Problem> {
    let Tree::Text(text) = &spot.node.tree else {
        return Err(spot.expected("text or a table").hint(ORIGIN));
    };
    text.parse().map_err(|error: InvalidOrigin| {
        let hint = match error {
            InvalidOrigin::Scheme if is_origin(&format!("https://{text}")) => {
                format!("write \"https://{text}\", or http:// for clear text")
            }
            InvalidOrigin::Path => shortened(text).unwrap_or_else(|| ORIGIN.to_owned()),
            InvalidOrigin::Internal => "write `services = [\"NAME\"]` in the role".to_owned(),
            _ => ORIGIN.to_owned(),
        };
        spot.problem(error.to_string()).hint(hint)
    })
}

/// What is left of a URL without its path, as a hint.
fn shortened(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let origin = format!("{scheme}://{authority}");
    is_origin(&origin).then(|| format!("write \"{origin}\""))
}

fn is_origin(text: &str) -> bool {
    text.parse::<Origin>().is_ok()
}

fn services(spot: &Spot<'_>) -> Result<Callees, Problem> {
    let spots = route::items(spot, bounds::CALLEES, SERVICES)?;
    let mut names = BTreeSet::new();
    for one in &spots {
        let text = values::text(one).map_err(|problem| problem.hint(SERVICES))?;
        if text == "*" && spots.len() == 1 {
            return Ok(Callees::All);
        }
        if text == "*" {
            return Err(one.problem("`*` is every service").hint("leave the other names out"));
        }
        let name = values::name(text).map_err(|(message, hint)| one.problem(message).hint(hint));
        names.insert(name?);
    }
    Ok(Callees::Some(names))
}

fn read_limits(table: &mut Table<'_, '_>) -> RoleLimits {
    let default = RoleLimits::default();
    let Some(mut table) = table.table("limits", Some(&LIMITS)) else { return default };
    let count = |s: &Spot<'_>| values::integer(s, bounds::OUTBOUND_CONNECTIONS);
    let requests = |s: &Spot<'_>| values::integer(s, bounds::OUTBOUND_REQUESTS);
    let size = |s: &Spot<'_>| values::size(s, bounds::BODY);
    RoleLimits {
        connections: table.read("connections", count).or(default.connections),
        requests: table.read("requests", requests).or(default.requests),
        rate: table.table("rate", Some(&RATE)).and_then(|mut t| route::read_rate(&mut t, &RATE)),
        request_bytes: table.read("request_bytes", size).or(default.request_bytes),
        response_bytes: table.read("response_bytes", size).or(default.response_bytes),
        timeout: table.read("timeout", |s| values::time(s, bounds::TIMEOUT)).or(default.timeout),
    }
}

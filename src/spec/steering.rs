//! `affinity` and `mirror` of a service, and the marks of its `traffic`.

use super::problem::Problem;
use super::reader::{Shape, Spot, Table};
use super::tree::Tree;
use super::{bounds, deploy, values};
use crate::model::{Affinity, Mark, Mirror, MirrorTo, Name, Percent, Token};

pub(super) const AFFINITY_HINT: &str = "write `affinity = { cookie = \"wharf-affinity\" }`, \
     `affinity = { header = \"x-user\" }` or `affinity = \"client\"`";

const AFFINITY: Shape = Shape {
    keys: &["cookie", "header", "ttl"],
    slips: &[
        ("name", "write `affinity = { cookie = \"NAME\" }`"),
        ("max_age", "did you mean `ttl`?"),
        ("client", "write `affinity = \"client\"`"),
    ],
    example: AFFINITY_HINT,
};

pub(super) const MIRROR_HINT: &str = "write `mirror = { revision = 4, percent = 10 }` or \
     `mirror = { service = \"other\", percent = 10 }`";

const MIRROR: Shape = Shape {
    keys: &["revision", "service", "percent"],
    slips: &[
        ("latest", "name the revision by its number: `wharf revisions` lists them"),
        ("to", "did you mean `service`?"),
        ("weight", "did you mean `percent`?"),
    ],
    example: MIRROR_HINT,
};

const MARK: Shape = Shape {
    keys: &["name", "value"],
    slips: &[("exact", "did you mean `value`?"), ("key", "did you mean `name`?")],
    example: "write `header = { name = \"x-canary\", value = \"1\" }`",
};

/// Reads a header field or cookie that sends a request to a revision.
pub(super) fn read_mark(table: &mut Table<'_, '_>, key: &str) -> Option<Mark> {
    let mut table = table.table(key, Some(&MARK))?;
    if table.get("name").is_none() {
        let missing = table.spot().problem("it has no `name`");
        table.report(missing.hint(MARK.example));
    }
    let name = table.read("name", token).some();
    let value = table.read("value", |spot| {
        let text = values::text(spot)?;
        let allowed = |b: u8| b.is_ascii_graphic() && !b"\",;\\".contains(&b);
        match text.len() <= bounds::MARK_VALUE && text.bytes().all(allowed) {
            true => Ok(text.into()),
            false => Err(spot
                .problem("a value has at most 256 visible ASCII characters, without `\",;\\`")
                .hint("write a word such as \"1\", or leave it out for any value")),
        }
    });
    Some(Mark { name: name?, value: value.some() })
}

/// Reads what keeps the requests of one client together.
pub(super) fn read_affinity(table: &mut Table<'_, '_>) -> Option<Affinity> {
    let spot = table.get("affinity")?;
    if let Tree::Text(text) = &spot.node.tree {
        if text == "client" {
            return Some(Affinity::Client);
        }
        table.report(spot.problem("unknown kind of affinity").hint(AFFINITY_HINT));
        return None;
    }
    let mut table = table.open_at(&spot, Some(&AFFINITY))?;
    let (has_cookie, has_header) = (table.get("cookie").is_some(), table.get("header").is_some());
    let cookie = table.read("cookie", token).some();
    let header = table.read("header", token).some();
    let ttl = table.read("ttl", |spot| values::time(spot, bounds::AFFINITY_TTL));
    match (has_cookie, has_header) {
        (true, false) => {
            Some(Affinity::Cookie { name: cookie?, ttl: ttl.or(Affinity::DEFAULT_TTL) })
        }
        (false, true) => {
            if let Some(ttl) = table.get("ttl") {
                let hint = "remove it: only a cookie has an end";
                table.report(ttl.problem("a header has no `ttl`").hint(hint));
            }
            header.map(Affinity::Header)
        }
        _ => {
            let message = "name either a `cookie` or a `header`";
            table.report(spot.problem(message).hint(AFFINITY_HINT));
            None
        }
    }
}

/// Reads where copies of the requests of the service `own` go.
pub(super) fn read_mirror(table: &mut Table<'_, '_>, own: &Name) -> Option<Mirror> {
    let mut table = table.table("mirror", Some(&MIRROR))?;
    let (by_number, by_name) = (table.get("revision").is_some(), table.get("service").is_some());
    let revision = table.read("revision", |spot| values::integer(spot, bounds::REVISION)).some();
    let service = table.read("service", |spot| other(spot, own)).some();
    let percent = table.read("percent", deploy::percent).or(Percent::ALL);
    let to = match (by_number, by_name) {
        (true, false) => revision.map(MirrorTo::Revision),
        (false, true) => service.map(MirrorTo::Service),
        _ => {
            let problem = table.spot().problem("name either a `revision` or a `service`");
            table.report(problem.hint(MIRROR_HINT));
            None
        }
    };
    to.map(|to| Mirror { to, percent })
}

/// The name of a service that is not this one.
fn other(spot: &Spot<'_>, own: &Name) -> Result<Name, Problem> {
    let name = values::name(values::text(spot)?);
    let name = name.map_err(|(message, hint)| spot.problem(message).hint(hint))?;
    match name == *own {
        false => Ok(name),
        true => Err(spot
            .problem("a service cannot mirror its requests to itself")
            .hint("name another service, or one of its revisions: `mirror = { revision = 4 }`")),
    }
}

/// The name of a header field or cookie.
pub(super) fn token(spot: &Spot<'_>) -> Result<Token, Problem> {
    let text = values::text(spot)?;
    text.parse().map_err(|error: crate::model::InvalidToken| {
        spot.problem(error.to_string()).hint("write a name such as \"x-user\"")
    })
}

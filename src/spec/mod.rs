//! The manifest: text in, a validated [`Manifest`] or every mistake in it out.
//!
//! Text goes through three steps. `syntax` turns TOML, YAML or JSON into one generic tree that
//! remembers lines and repeated keys; `reader` walks that tree, knows the path of every value and
//! collects problems instead of stopping at the first; `task` and `service` say what stands where.
//! The walk goes on past a mistake with a default in its place, so that one run reports all of
//! them; a manifest comes out only when there was none.
//!
//! *Invariant:* pure. Nothing here awaits, reads a clock or a file, or logs.
//!
//! *Invariant:* any text at all gives an answer: work, depth and memory are bounded by the
//! constants in `bounds` and `syntax`, never by the text's good will.
//!
//! Start reading at [`parse`], then [`Manifest`], then [`Problem`].

mod bounds;
mod format;
mod health;
mod hints;
mod manifest;
mod problem;
mod reader;
mod scaling;
mod service;
mod role;
mod route;
mod steering;
mod deploy;
mod syntax;
mod task;
mod upstream;
mod tree;
mod values;

#[cfg(test)]
mod tests;

pub use format::Format;
pub use manifest::{Manifest, ServiceSpec, Source, TaskSpec, UpstreamSpec};
pub use problem::{Problem, Problems};

use std::collections::BTreeMap;

use problem::Collector;
use reader::{Shape, Spot, Table};

use crate::model::{ByteSize, Name};

const ROOT: Shape = Shape {
    keys: &["role", "task", "service", "upstream"],
    slips: &[
        ("roles", "did you mean `role`? The key is in the singular: `[role.NAME]`"),
        ("tasks", "did you mean `task`? The key is in the singular: `[task.NAME]`"),
        ("services", "did you mean `service`? The key is in the singular: `[service.NAME]`"),
        ("upstreams", "did you mean `upstream`? The key is in the singular: `[upstream.NAME]`"),
    ],
    example: "start with `[task.NAME]`",
};

/// Reads a manifest.
///
/// # Errors
///
/// Every mistake that was found, in the order of the text where lines are known. There is at least
/// one [`Problem`] in a [`Problems`] that this function returns.
pub fn parse(text: &str, format: Format) -> Result<Manifest, Problems> {
    let mut problems = Collector::default();
    let manifest = match text.len() > bounds::TEXT.as_usize() {
        true => {
            problems.add(too_long(text.len()));
            None
        }
        false => syntax::read(text, format, &mut problems)
            .and_then(|tree| read_root(&Spot::root(&tree), &mut problems)),
    };
    match (manifest, problems.finish()) {
        (Some(manifest), None) => Ok(manifest),
        (_, Some(problems)) => Err(problems),
        (None, None) => Err(Problems(vec![empty()])),
    }
}

fn read_root(spot: &Spot<'_>, problems: &mut Collector) -> Option<Manifest> {
    if spot.node.is_empty() {
        return None;
    }
    let mut root = Table::open(spot, Some(&ROOT), problems)?;
    let roles =
        read_named(&mut root, "role", &role::SHAPE, |name, table| Some(role::read(name, table)));
    let tasks =
        read_named(&mut root, "task", &task::SHAPE, |name, table| task::read(name, table, &roles));
    let mut routes = BTreeMap::new();
    let services = read_named(&mut root, "service", &service::SHAPE, |name, table| {
        service::read(name, table, &mut routes)
    });
    let upstreams = read_named(&mut root, "upstream", &upstream::SHAPE, |name, table| {
        if services.contains_key(name) {
            let twice = table.spot().problem("a service has this name as well");
            table.report(twice.hint("choose another name for one of the two"));
        }
        Some(upstream::read(table, &mut routes))
    });
    let manifest = Manifest { roles, tasks, services, upstreams };
    scaling::check_targets(&manifest, problems);
    (!manifest.is_empty()).then_some(manifest)
}

/// Reads `[key.NAME]` for every name.
fn read_named<T>(
    root: &mut Table<'_, '_>,
    key: &str,
    shape: &Shape,
    mut read: impl FnMut(&Name, &mut Table<'_, '_>) -> Option<T>,
) -> BTreeMap<Name, T> {
    let mut found = BTreeMap::new();
    let Some(mut all) = root.table(key, None) else {
        return found;
    };
    let spots = all.spots();
    if spots.len() > bounds::ENTRIES {
        let message = format!("{} of them, {} is the most", spots.len(), bounds::ENTRIES);
        let problem = all.spot().problem(message);
        all.report(problem.hint("split the manifest into several"));
    }
    for (text, spot) in spots.into_iter().take(bounds::ENTRIES) {
        let name = match values::name(text) {
            Ok(name) => Some(name),
            Err((message, hint)) => {
                all.report(spot.problem(message).value(text).hint(hint));
                None
            }
        };
        let Some(mut table) = all.open_at(&spot, Some(shape)) else {
            continue;
        };
        // A table under a bad name is read all the same, for the mistakes in it.
        let stand_in = || values::name("unnamed").ok();
        let value = name.clone().or_else(stand_in).and_then(|name| read(&name, &mut table));
        if let (Some(name), Some(value)) = (name, value) {
            found.insert(name, value);
        }
    }
    found
}

fn empty() -> Problem {
    Problem::new("", "the manifest declares no task and no service").hint(
        "declare one: `[task.hello]` with `image = \"wharf.internal/hello:1\"`, \
         and `[service.hello]` with `route = \"hello.localhost/*\"`",
    )
}

fn too_long(bytes: usize) -> Problem {
    let most: ByteSize = bounds::TEXT;
    Problem::new("", format!("the manifest has {bytes} bytes, {most} is the most"))
        .hint("split it into several manifests and apply each")
}

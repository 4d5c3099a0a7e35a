//! Instructions of a look-up, counted by callgrind: the same on every machine, and on a noisy one.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use super::harness::process;
use super::tables::{Layout, Queries, Spread};

/// The role of the process that looks up, under callgrind.
pub(super) const ROLE: process::Role = ("look-up", run);
/// Look-ups that are counted. The tables' hashes are seeded at random; over as many as these the
/// differences are below a percent.
const COUNTED: usize = 10_000;
/// Only what happens inside this function is counted.
const TOGGLE: &str = "--toggle-collect=*counted_look_ups*";

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Task {
    layout: Layout,
    routes: u32,
}

/// Whether callgrind is here.
pub(super) fn are_countable() -> bool {
    process::output_of(Path::new("valgrind"), ["--version"]).is_ok()
}

/// Instructions of one look-up in a table of that many routes.
pub(super) fn of_look_up(layout: Layout, routes: u32) -> anyhow::Result<f64> {
    eprintln!("counting instructions: {}, {routes} routes", layout.name());
    let folder = tempfile::tempdir()?;
    let (input, output) = (folder.path().join("task"), folder.path().join("callgrind"));
    std::fs::write(&input, serde_json::to_string(&Task { layout, routes })?)?;
    let role = process::role_command(ROLE.0)?;
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", TOGGLE, "--quiet"]);
    command.arg(format!("--callgrind-out-file={}", output.display()));
    command.arg(role.get_program()).args(role.get_args());
    command.stdin(std::fs::File::open(&input)?).stdout(Stdio::null());
    let status = command.status()?;
    ensure!(status.success(), "callgrind ended with {status}");
    let profile = std::fs::read_to_string(&output)?;
    let total = profile.lines().find_map(|line| line.strip_prefix("summary: "));
    let total: f64 = total.context("callgrind wrote no summary")?.trim().parse()?;
    ensure!(total > 0.0, "callgrind saw no look-up");
    Ok(total / COUNTED as f64)
}

fn run() -> anyhow::Result<()> {
    let Task { layout, routes } = process::read_task()?;
    let table = layout.table(routes)?;
    let queries = Queries::new(layout, routes, Spread::Uniform);
    let found = counted_look_ups(&queries, &table);
    ensure!(found == COUNTED, "{found} of {COUNTED} were found");
    process::answer(&found)
}

#[inline(never)]
fn counted_look_ups(queries: &Queries, table: &super::tables::Table) -> usize {
    std::hint::black_box(queries).look_up(table, COUNTED)
}

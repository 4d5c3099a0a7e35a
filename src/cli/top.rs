//! `wharf top`: what goes on now.

mod rates;
mod screen;

use std::time::Duration;

use clap::ValueEnum;

use crate::api::Top;

use super::args;
use super::client::ApiClient;
use super::output::{self, Output};

use rates::{Interval, Row};
use screen::Screen;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wharf top                        every second, until Ctrl-C
  wharf top --sort cpu -n 5        the five that use most CPU
  wharf top --interval 10s         rates over ten seconds
  wharf top --once                 one interval, then end
  wharf top -o json | jq '.rows[] | {name, requests_per_s}'

Shown are the services and upstreams that have been asked for anything since the node started.")]
pub(super) struct Args {
    /// What comes first
    #[arg(long, value_enum, default_value_t = Sort::Requests, value_name = "COLUMN")]
    sort: Sort,
    /// At most this many rows
    #[arg(short = 'n', long, value_name = "ROWS")]
    rows: Option<usize>,
    /// How long an interval is
    #[arg(long, value_parser = args::time, default_value = "1s", value_name = "TIME")]
    interval: Duration,
    /// Show one interval and end; with -o json it is always so
    #[arg(long)]
    once: bool,
}

/// What rows are sorted by, the most first; then by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Sort {
    /// Requests a second
    Requests,
    /// Errors a second
    Errors,
    /// CPU time
    Cpu,
    /// Memory that instances hold
    Memory,
}

/// Shorter intervals would show the noise of the clock that they are measured with.
const SHORTEST: Duration = Duration::from_millis(100);

const HEADER: [&str; 11] = [
    "name",
    "kind",
    "req/s",
    "err/s",
    "p50",
    "p99",
    "in flight",
    "waiting",
    "tasks",
    "cpu",
    "memory",
];

pub(super) async fn run(args: Args, api: &ApiClient, output: Output) -> anyhow::Result<()> {
    let mut screen = Screen::new();
    let mut before: Top = api.get(&["v1", "top"]).await?;
    let mut ended = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        tokio::select! {
            () = tokio::time::sleep(args.interval.max(SHORTEST)) => {}
            _ = &mut ended => return Ok(()),
        }
        let now: Top = api.get(&["v1", "top"]).await?;
        let mut interval = Interval::between(&before, &now);
        interval.sort(args.sort, args.rows);
        if output == Output::Json {
            return output::json(&interval);
        }
        screen.show(&lines(&interval))?;
        if args.once {
            return Ok(());
        }
        before = now;
    }
}

/// The node on a line of its own, then a table.
fn lines(interval: &Interval) -> Vec<String> {
    let node = &interval.node;
    let mut lines = vec![format!(
        "node {}: cpu {:.2} of {} cores, memory {} of {}, instances {}/{}",
        node.id,
        node.cpu_cores,
        node.cores,
        output::bytes(node.memory_used_bytes),
        output::bytes(node.memory_max_bytes),
        node.instances,
        node.slots,
    )];
    match interval.rows.is_empty() {
        true => lines.push("nobody has asked for anything since the node started".to_owned()),
        false => lines.extend(output::table_lines(&HEADER, interval.rows.iter().map(cells))),
    }
    lines
}

fn cells(row: &Row) -> Vec<String> {
    let of_service = |text: String| if row.tasks.is_some() { text } else { "-".to_owned() };
    vec![
        row.name.clone(),
        row.kind.as_str().to_owned(),
        format!("{:.1}", row.requests_per_s),
        format!("{:.1}", row.errors_per_s),
        row.p50_ms.map_or_else(|| "-".to_owned(), millis),
        row.p99_ms.map_or_else(|| "-".to_owned(), millis),
        row.in_flight.to_string(),
        of_service(row.waiting.to_string()),
        row.tasks.map_or_else(|| "-".to_owned(), |tasks| tasks.to_string()),
        of_service(format!("{:.2}", row.cpu_cores)),
        of_service(output::bytes(row.memory_bytes)),
    ]
}

/// The bound of a bucket: below a millisecond the digits count.
fn millis(ms: f64) -> String {
    if ms < 10.0 { format!("≤{ms:.2} ms") } else { format!("≤{ms:.0} ms") }
}

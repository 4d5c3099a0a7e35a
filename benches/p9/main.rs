//! P9, for the route look-up: does it stay as fast when there are a hundred times more routes?
//!
//! Three kinds of tables with 1,000, 10,000 and 100,000 routes: a host for each service; wildcard
//! hosts and path prefixes among them; and all routes as prefixes under one host.
//!
//! What the table does is judged in two ways: by the instructions of look-ups that are uniformly
//! random over all routes, and by the time of look-ups that go to 64 of them. The time of
//! uniformly random look-ups is shown, but not judged: it grows with the cache misses that any
//! table of this size has.

#[path = "../harness/mod.rs"]
mod harness;
mod instructions;
mod tables;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use harness::options::Options;
use harness::pairs::{self, Rounds};
use harness::report::{Bound, Report, Trust};
use tables::{Layout, Queries, Spread};

const FLOOR: Bound = Bound::AtMost(1.3);
const TARGET: Bound = Bound::AtMost(1.1);

/// How many routes there are.
const SIZES: [u32; 3] = [1_000, 10_000, 100_000];
/// A look-up is short: a tenth of the time that a server needs makes a turn.
const SHARE_OF_WINDOW: u32 = 10;

fn main() -> ExitCode {
    harness::main(&[instructions::ROLE], bench)
}

/// A table with what is looked up in it.
struct Variant {
    table: tables::Table,
    queries: Queries,
}

impl Variant {
    fn new(layout: Layout, routes: u32, spread: Spread) -> anyhow::Result<Self> {
        let table = layout.table(routes)?;
        let queries = Queries::new(layout, routes, spread);
        queries.check(&table)?;
        Ok(Self { table, queries })
    }

    /// Nanoseconds of one look-up.
    fn measure(&self, window: Duration) -> f64 {
        let began = Instant::now();
        let mut count = 0;
        while began.elapsed() < window {
            count += self.queries.look_up_all(&self.table);
        }
        began.elapsed().as_secs_f64() * 1e9 / count as f64
    }
}

fn bench(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::begin("P9: route look-up, 100,000 routes / 1,000 routes", options);
    for spread in [Spread::Few, Spread::Uniform] {
        let measured = Layout::ALL.map(|layout| measure(layout, spread, options));
        let measured = measured.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        add(&mut report, spread, &measured);
    }
    match instructions::are_countable() {
        true => count_instructions(&mut report)?,
        false => report.fact("instructions were not counted: valgrind is not installed"),
    }
    Ok(report)
}

/// Positions of the variants: a second table of the smallest size, and one of each size.
const COPY: usize = 0;
const THOUSAND: usize = 1;
const MOST: usize = 3;

fn measure(layout: Layout, spread: Spread, options: &Options) -> anyhow::Result<Rounds<f64>> {
    eprintln!("{}, {}", layout.name(), spread.name());
    let mut variants = vec![("copy", Variant::new(layout, SIZES[0], spread)?)];
    for (name, routes) in ["1k", "10k", "100k"].into_iter().zip(SIZES) {
        variants.push((name, Variant::new(layout, routes, spread)?));
    }
    let window = options.window() / SHARE_OF_WINDOW;
    let cost = |ns: &f64| *ns;
    pairs::measure(options.pairs, &variants, cost, |variant| Ok(variant.measure(window)))
}

fn add(report: &mut Report, spread: Spread, measured: &[Rounds<f64>]) {
    let spread_name = spread.name();
    for (layout, rounds) in Layout::ALL.iter().zip(measured) {
        for (position, size) in [(THOUSAND, "1k"), (2, "10k"), (MOST, "100k")] {
            let name = format!("{}, {spread_name}, {size}", layout.name());
            report.series(&name, "ns", &rounds.costs(position));
        }
    }
    let all = measured.iter().flat_map(|rounds| rounds.ratios(THOUSAND, COPY));
    let name = format!("{spread_name}, 1k / 1k, every layout");
    let trust = report.control(&name, &all.collect::<Vec<_>>());
    let (floor, target) = match spread {
        Spread::Few => (Some(FLOOR), Some(TARGET)),
        Spread::Uniform => (None, None),
    };
    for (layout, rounds) in Layout::ALL.iter().zip(measured) {
        let name = format!("{}, {spread_name}, 100k / 1k", layout.name());
        report.figure(&name, &rounds.ratios(MOST, THOUSAND), trust, floor, target);
    }
}

fn count_instructions(report: &mut Report) -> anyhow::Result<()> {
    for layout in Layout::ALL {
        let mut counts = Vec::new();
        for routes in SIZES {
            let count = instructions::of_look_up(layout, routes)?;
            report.series(&format!("{}, {routes} routes", layout.name()), "instructions", &[count]);
            counts.push(count);
        }
        let name = format!("{}, 100k / 1k, instructions", layout.name());
        let ratio = counts[2] / counts[0];
        report.figure(&name, &[ratio], Trust::Counted, Some(FLOOR), Some(TARGET));
    }
    Ok(())
}

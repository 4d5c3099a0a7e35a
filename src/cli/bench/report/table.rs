//! The table that a terminal shows.

use super::super::super::output::table_lines;
use super::super::results::{Figures, Results};
use super::text::{number, size, thousands, time, with_unit};

/// The figures of a run, one a line, and what they were measured on.
pub(in super::super) fn table(results: &Results) -> String {
    let mut rows: Vec<[String; 3]> = Vec::new();
    density(&results.figures, &mut rows);
    speed(&results.figures, &mut rows);
    let restart = &results.restart;
    rows.push(row(
        "start with all services",
        with_unit(time(restart.start_ms * 1e3)),
        format!("empty {}", with_unit(time(restart.start_of_empty_ms * 1e3))),
    ));
    let control = &results.figures.control;
    let (low, high) = (number(control.ratio.low), number(control.ratio.high));
    let verdict = if control.noisy { "NOISY" } else { "quiet" };
    rows.push(row(
        "A/A control",
        number(control.ratio.median),
        format!("{low} to {high}: {verdict}"),
    ));
    let header = ["figure", "value", "beside"];
    let mut lines = table_lines(&header, rows.into_iter().map(Vec::from));
    lines.push(String::new());
    lines.push(format!("{}; load {}", results.machine, results.conditions));
    if control.noisy {
        lines.push(
            "the machine was too noisy: the same thing measured twice differed. Trust no digit, \
             and run it again on a quiet machine"
                .to_owned(),
        );
    }
    lines
        .into_iter()
        .map(|line| line + "\n")
        .collect::<String>()
        .replace(['\u{202f}', '\u{a0}'], " ")
}

fn row(figure: &str, value: String, beside: String) -> [String; 3] {
    [figure.to_owned(), value, beside]
}

fn density(figures: &Figures, rows: &mut Vec<[String; 3]>) {
    let Figures { deploy, memory, live, .. } = figures;
    let last = memory.points.last().map_or(0.0, |point| point.bytes());
    rows.push(row(
        "deployed",
        format!("{} services/s", thousands(deploy.services_per_s)),
        format!("{} in {} s", services(figures), number(deploy.seconds)),
    ));
    rows.push(row(
        "one more service",
        format!("{} ms", number(deploy.one_more_ms())),
        format!("{} × of that beside few services", number(deploy.one_more_ratio)),
    ));
    rows.push(row(
        "memory per idle service",
        with_unit(size(memory.bytes_per_service)),
        format!("{} for the node with all of them", with_unit(size(last))),
    ));
    rows.push(row(
        match live.kind {
            "instances" => "memory per live instance",
            _ => "memory per service awake",
        },
        with_unit(size(live.bytes_per_replica)),
        format!("{} mappings each", number(live.mappings_per_replica)),
    ));
}

fn services(figures: &Figures) -> String {
    let count = figures.deploy.points.last().map_or(0, |point| point.services);
    thousands(f64::from(count))
}

fn speed(figures: &Figures, rows: &mut Vec<[String; 3]>) {
    let Figures { cold, warm, latency, .. } = figures;
    rows.push(row(
        "cold start p50, p99",
        format!("{}, {}", with_unit(time(cold.cold_p50_us)), with_unit(time(cold.cold_p99_us))),
        format!("{} ×, {} × of warm", number(cold.ratio_p50), number(cold.ratio_p99)),
    ));
    rows.push(row(
        "cold starts at once",
        format!("{}/s", thousands(cold.starts_per_s)),
        format!("over {} connections", cold.storms.first().map_or(0, |storm| storm.connections)),
    ));
    rows.push(row(
        "warm, one service",
        format!("{} requests/s", thousands(warm.hot.rate())),
        format!("{} of CPU each", with_unit(time(warm.hot.cpu()))),
    ));
    rows.push(row(
        "warm, any service",
        format!("{} requests/s", thousands(warm.random.rate())),
        format!("{} × of the CPU of one service", number(warm.random_ratio.median)),
    ));
    rows.push(row(
        "flatness",
        number(warm.flat_ratio.median),
        "CPU per request by that beside few services".to_owned(),
    ));
    rows.push(row(
        "latency p50, p99",
        format!("{}, {}", with_unit(time(latency.p50_us)), with_unit(time(latency.p99_us))),
        format!("at {} requests/s", thousands(latency.rate_per_s)),
    ));
    rows.push(row(
        "latency p99.9, longest",
        format!("{}, {}", with_unit(time(latency.p999_us)), with_unit(time(latency.max_us))),
        format!("{} requests, {} unsent", thousands(latency.requests as f64), latency.unsent),
    ));
    if let Some(fairness) = &figures.fairness {
        rows.push(row(
            "p99 beside neighbours",
            with_unit(time(fairness.beside_p99_us)),
            format!("alone {}", with_unit(time(fairness.alone_p99_us))),
        ));
    }
}

//! The charts of the page: which figures are drawn how.

use super::super::results::{Control, Fairness, Figures, MemoryPoint, Series};
use super::super::stats::{quantile, sorted};
use super::axis::Scale;
use super::chart::{Axis, Chart};
use super::text::{number, round_time, size, thousands, time, with_unit};

/// The size of half a page.
const HALF: (f64, f64) = (440.0, 290.0);
/// The size of a whole one.
const WHOLE: (f64, f64) = (1_000.0, 380.0);
/// Bars of the histogram.
const BARS: usize = 44;

/// Memory over services or instances, with the line whose slope is given.
pub(super) fn memory(points: &[MemoryPoint], of_what: &str, bytes_each: f64) -> String {
    let mib = |point: &MemoryPoint| point.bytes() / 1_048_576.0;
    let line: Vec<_> = points.iter().map(|point| (f64::from(point.count), mib(point))).collect();
    let most = line.iter().map(|point| point.0).fold(1.0, f64::max);
    let (low, high) = ends(line.iter().map(|point| point.1));
    let x = Axis::linear(Scale::linear(0.0, most), of_what);
    let y = Axis::linear(Scale::linear(low, high), "MiB");
    let mut chart = Chart::new(HALF.0, HALF.1, &x, &y);
    chart.area("", &line);
    chart.line("", &line);
    for (point, (count, mib)) in points.iter().zip(&line) {
        let pages = with_unit(size(point.page_table_bytes as f64));
        let said = format!(
            "{} {of_what}: {} MiB, {pages} of them page tables; {} mappings",
            thousands(*count),
            number(*mib),
            point.mappings
        );
        chart.point("", *count, *mib, &said);
    }
    let each = with_unit(size(bytes_each));
    if let Some((count, mib)) = line.last() {
        chart.words(*count, *mib, &format!("{each} each"));
    }
    chart.finish(
        "",
        &format!(
            "Memory of the node over {of_what}: from {} to {} MiB, {each} each",
            number(low),
            number(high)
        ),
    )
}

/// Cold starts and warm requests by how long they took.
pub(super) fn starts(figures: &Figures) -> String {
    let cold = &figures.cold;
    let all: Vec<f64> = cold.cold_us.iter().chain(&cold.warm_us).copied().collect();
    // What is longer than all but one in 200 would make everything else narrow.
    let sorted = sorted(&all);
    let scale = Scale::log(quantile(&sorted, 0.0), quantile(&sorted, 0.995));
    let bars = [("", &cold.cold_us), ("other", &cold.warm_us)].map(|(class, times)| {
        let mut counts = [0_u32; BARS];
        for us in times {
            let place = scale.place(*us).clamp(0.0, 0.999_9);
            counts[(place * BARS as f64) as usize] += 1;
        }
        (class, counts)
    });
    let most = bars.iter().flat_map(|(_, counts)| counts).max().copied().unwrap_or(1);
    let x = Axis::new(scale, "time to the answer", round_time);
    let y = Axis::linear(Scale::linear(0.0, f64::from(most)), "requests");
    let mut chart = Chart::new(HALF.0, HALF.1, &x, &y);
    let Scale::Log { min, max } = scale else { return String::new() };
    let edge = |index: usize| min * (max / min).powf(index as f64 / BARS as f64);
    for (class, counts) in bars.iter().rev() {
        let kind = if class.is_empty() { "cold" } else { "warm" };
        for (index, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let from = with_unit(time(edge(index)));
            let said = format!("{count} {kind} from {from}");
            chart.bar(class, edge(index), edge(index + 1), f64::from(*count), &said);
        }
    }
    chart.finish(
        "",
        &format!(
            "Histogram of {} cold starts, median {}, and {} warm requests, median {}",
            cold.cold_us.len(),
            with_unit(time(cold.cold_p50_us)),
            cold.warm_us.len(),
            with_unit(time(cold.warm_p50_us))
        ),
    )
}

/// Latency by percentile, which comes nearer and nearer to 100: drawn twice, for wide screens and
/// for narrow ones, on which the wide one could not be read.
pub(super) fn latency(figures: &Figures) -> String {
    let wide = latency_of("wide", WHOLE, figures);
    wide + &latency_of("narrow", HALF, figures)
}

fn latency_of(class: &str, (width, height): (f64, f64), figures: &Figures) -> String {
    let latency = &figures.latency;
    let rest = |percentile: f64| 1.0 / (1.0 - percentile / 100.0).max(1e-9);
    let line: Vec<_> =
        latency.curve.iter().map(|point| (rest(point.percentile), point.us)).collect();
    let furthest = line.last().map_or(100.0, |point| point.0.max(100.0));
    let scale = Scale::Log { min: 1.0, max: furthest };
    let percentiles = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 99.9999];
    // 0 % and 50 % are too near for a narrow drawing, as are the words at 50 % and 90 %.
    let has_room = width > HALF.0;
    let known = percentiles
        .into_iter()
        .filter(|percentile| rest(*percentile) <= furthest * 1.01)
        .filter(|percentile| *percentile > 0.0 || has_room);
    let ticks = known.map(|percentile| (rest(percentile), format!("{percentile} %"))).collect();
    let x = Axis { scale, title: "share of the requests that took no longer".to_owned(), ticks };
    let (low, high) = ends(line.iter().map(|point| point.1));
    let y = Axis::new(Scale::log(low, high), "time to the answer", round_time);
    let mut chart = Chart::new(width, height, &x, &y);
    chart.line("", &line);
    for (percentile, us) in [
        (50.0, latency.p50_us),
        (90.0, latency.p90_us),
        (99.0, latency.p99_us),
        (99.9, latency.p999_us),
    ] {
        let text = with_unit(time(us));
        if rest(percentile) <= furthest {
            chart.point("", rest(percentile), us, &format!("p{percentile}: {text}"));
            if has_room || percentile != 90.0 {
                chart.words(rest(percentile), us, &text);
            }
        }
    }
    chart.finish(
        class,
        &format!(
            "Latency by percentile: p50 {}, p90 {}, p99 {}, p99.9 {}",
            with_unit(time(latency.p50_us)),
            with_unit(time(latency.p90_us)),
            with_unit(time(latency.p99_us)),
            with_unit(time(latency.p999_us))
        ),
    )
}

/// What a warm request costs, by kind of load.
pub(super) fn cost(figures: &Figures) -> String {
    let warm = &figures.warm;
    let rows: [(&str, &Series); 3] = [
        ("one of all services", &warm.hot),
        ("any of all services", &warm.random),
        ("one of few services", &warm.hot_of_few),
    ];
    let all = rows.iter().flat_map(|(_, series)| &series.cpu_us_per_request);
    let most = all.copied().fold(1.0, f64::max);
    let scale = Scale::linear(0.0, most);
    let x = Axis::linear(scale, "CPU per request, µs");
    let mut chart = Chart::rows(HALF.0, rows.len(), &x);
    for (row, (name, series)) in rows.iter().enumerate() {
        let value = format!("{} µs, {}/s", number(series.cpu()), thousands(series.rate()));
        chart.row_name(row, name, &value);
        let class = if row == 2 { "other" } else { "" };
        chart.row_bar(class, row, 0.0, series.cpu());
        for us in &series.cpu_us_per_request {
            chart.row_point(class, row, *us, &format!("{} µs in one round", number(*us)));
        }
    }
    chart.finish("", "CPU time of a warm request by kind of load, with a point for each round")
}

/// The control: every round, and the interval of its median.
pub(super) fn control(control: &Control) -> String {
    let (low, high) = ends(control.ratios.iter().copied().chain([0.9, 1.1]));
    let x = Axis::linear(Scale::linear(low, high), "ratio of two equal measurements");
    let mut chart = Chart::rows(HALF.0, 1, &x);
    chart.band(0.93, 1.07);
    chart.mark(1.0);
    let (from, to) = (control.ratio.low, control.ratio.high);
    let value = format!("{} ({} to {})", number(control.ratio.median), number(from), number(to));
    chart.row_name(0, "again / first", &value);
    chart.row_bar("other", 0, from, to);
    for ratio in &control.ratios {
        chart.row_point("", 0, *ratio, &number(*ratio));
    }
    chart.row_median(0, control.ratio.median);
    chart.finish("", &format!("A/A control: median {value}"))
}

/// A service alone and beside neighbours: from its p50 to its p99.
pub(super) fn neighbours(fairness: &Fairness) -> String {
    let rows = [
        ("alone", "", fairness.alone_p50_us, fairness.alone_p99_us),
        ("beside them", "other", fairness.beside_p50_us, fairness.beside_p99_us),
    ];
    let (low, high) = ends(rows.iter().flat_map(|(_, _, p50, p99)| [*p50, *p99]));
    let x = Axis::new(Scale::log(low, high), "time to the answer, p50 to p99", round_time);
    let mut chart = Chart::rows(HALF.0, rows.len(), &x);
    for (row, (name, class, p50, p99)) in rows.into_iter().enumerate() {
        let value = format!("p50 {}, p99 {}", with_unit(time(p50)), with_unit(time(p99)));
        chart.row_name(row, name, &value);
        chart.row_bar(class, row, p50, p99);
    }
    chart.finish("", "Latency of a service alone and beside neighbours, from p50 to p99")
}

fn ends(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) =
        values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
    if low <= high { (low, high) } else { (0.0, 1.0) }
}

//! Time to an answer, at a constant rate.

use super::super::histogram::Histogram;
use super::super::load::{self, Open, Pick};
use super::super::results::{CurvePoint, Latency};
use super::Run;

/// The rate that is taken by default, as a share of what the services can take.
const SHARE: f64 = 0.6;
/// Connections: enough that one is free when a request is due.
const CONNECTIONS: u32 = 64;
/// Points of the curve for each tenfold of requests.
const POINTS: u32 = 10;
/// Tenfolds: up to 99.9999 %.
const TENFOLDS: u32 = 6;

pub(super) async fn latency(run: &Run<'_>, capacity_per_s: f64) -> anyhow::Result<Latency> {
    let rate_per_s = run.plan.rate.unwrap_or(capacity_per_s * SHARE);
    let seconds = run.plan.duration.as_secs_f64();
    run.steps.begin(format!("{rate_per_s:.0} requests a second for {seconds:.0} s"));
    let opened = load::open(Open {
        target: run.target(run.shared(), "/"),
        pick: Pick::Random,
        connections: CONNECTIONS,
        rate_per_s,
        duration: run.plan.duration,
    });
    let opened = opened.await?;
    let us = |q| opened.times.quantile(q) as f64 / 1e3;
    let latency = Latency {
        rate_per_s,
        capacity_per_s,
        seconds,
        requests: opened.times.count(),
        unsent: opened.unsent,
        p50_us: us(0.5),
        p90_us: us(0.9),
        p99_us: us(0.99),
        p999_us: us(0.999),
        max_us: opened.times.max_ns() as f64 / 1e3,
        late_p99_us: opened.late.quantile(0.99) as f64 / 1e3,
        curve: curve(&opened.times),
    };
    run.steps.done(format!(
        "at {rate_per_s:.0} requests a second: p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms",
        latency.p50_us / 1e3,
        latency.p99_us / 1e3,
        latency.p999_us / 1e3
    ));
    Ok(latency)
}

/// The distribution at percentiles that come nearer and nearer to 100, as far as there are
/// requests enough for them.
fn curve(times: &Histogram) -> Vec<CurvePoint> {
    let rest = (0..=POINTS * TENFOLDS).map(|n| 10_f64.powf(-f64::from(n) / f64::from(POINTS)));
    let known = rest.take_while(|rest| rest * times.count() as f64 >= 1.0);
    let at = known.map(|rest| CurvePoint {
        percentile: (1.0 - rest) * 100.0,
        us: times.quantile(1.0 - rest) as f64 / 1e3,
    });
    at.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_ends_where_there_are_no_more_requests() {
        let mut times = Histogram::new();
        (1..=1_000).for_each(|us| times.record(us * 1_000));
        let curve = curve(&times);
        assert_eq!(curve.len(), 31, "three tenfolds");
        let last = curve.last().expect("a point");
        assert!((last.percentile - 99.9).abs() < 1e-9 && last.us > 990.0, "{last:?}");
        assert!(curve.windows(2).all(|pair| pair[0].us <= pair[1].us), "{curve:?}");
    }
}

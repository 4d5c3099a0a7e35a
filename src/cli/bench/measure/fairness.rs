//! A service beside others that compute as much as they can.

use std::time::Duration;

use super::super::histogram::Histogram;
use super::super::load::{self, Closed, Open, Pick};
use super::super::machine;
use super::super::results::Fairness;
use super::Run;

/// How often it is alone and beside them, in turns.
const ROUNDS: u32 = 2;
const RATE_PER_S: f64 = 200.0;
const CONNECTIONS: u32 = 16;
/// Requests of neighbours at once, for each core.
const PER_CORE: u32 = 4;
/// A turn's share of the run's duration, and its bounds in seconds.
const TURN: f64 = 1.0 / 6.0;
const TURNS: std::ops::RangeInclusive<f64> = 0.2..=10.0;
/// How long neighbours are there before and after.
const MARGIN: Duration = Duration::from_millis(200);

pub(super) async fn fairness(run: &Run<'_>) -> anyhow::Result<Fairness> {
    let neighbours = machine::cores() as u32 * PER_CORE;
    run.steps.begin(format!("a service beside {neighbours} requests that compute"));
    let turn = (run.plan.duration.as_secs_f64() * TURN).clamp(*TURNS.start(), *TURNS.end());
    let turn = Duration::from_secs_f64(turn);
    let (mut alone, mut beside) = (Histogram::new(), Histogram::new());
    for round in 0..ROUNDS {
        run.steps.at(format!("round {} of {ROUNDS}", round + 1));
        alone.add(&load::open(victim(run, turn)).await?.times);
        let (_, opened) = tokio::try_join!(
            load::closed(Closed {
                // The last service: the first is the one that is measured.
                target: run.target(run.plan.services - 1..run.plan.services, "/spin"),
                pick: Pick::First,
                connections: neighbours,
                window: turn + MARGIN * 2,
                server: run.many.pid(),
            }),
            async {
                tokio::time::sleep(MARGIN).await;
                load::open(victim(run, turn)).await
            }
        )?;
        beside.add(&opened.times);
    }
    let us = |times: &Histogram, q| times.quantile(q) as f64 / 1e3;
    let fairness = Fairness {
        rate_per_s: RATE_PER_S,
        neighbours,
        alone_p50_us: us(&alone, 0.5),
        alone_p99_us: us(&alone, 0.99),
        beside_p50_us: us(&beside, 0.5),
        beside_p99_us: us(&beside, 0.99),
        ratio_p99: us(&beside, 0.99) / us(&alone, 0.99),
    };
    run.steps.done(format!(
        "beside {neighbours} requests that compute: p99 {:.1} ms, alone {:.1} ms",
        fairness.beside_p99_us / 1e3,
        fairness.alone_p99_us / 1e3
    ));
    Ok(fairness)
}

fn victim(run: &Run<'_>, duration: Duration) -> Open {
    Open {
        target: run.target(run.shared(), "/"),
        pick: Pick::First,
        connections: CONNECTIONS,
        rate_per_s: RATE_PER_S,
        duration,
    }
}

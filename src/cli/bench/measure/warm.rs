//! Load on services that are awake: what a request costs, and whether more services make it dearer.

use std::time::Duration;

use super::super::load::{self, Closed, Pick, Target};
use super::super::node::Node;
use super::super::results::{Series, Warm};
use super::super::stats::Estimate;
use super::Run;

/// How often each kind of load has its turn.
const ROUNDS: usize = 5;
/// Kinds of load.
const KINDS: usize = 4;
const CONNECTIONS: u32 = 16;
/// Connections over which services are woken.
const WAKING: u32 = 64;
/// A window below this says nothing; above, it says no more.
const WINDOW: std::ops::RangeInclusive<f64> = 0.1..=3.0;

pub(super) async fn warm(run: &Run<'_>) -> anyhow::Result<Warm> {
    let (services, few) = (run.shared(), run.plan.few());
    let all = run.target(services.clone(), "/");
    run.steps.begin(format!("waking {} services", services.len()));
    load::storm(&all, (0..services.len()).collect(), WAKING).await?;
    let of_few = run.hosts[few.distinct() as usize..few.services as usize].into();
    let of_few = run.target_on(run.few, of_few, "/");
    let window = run.plan.duration.as_secs_f64() / (ROUNDS * KINDS) as f64;
    let window = Duration::from_secs_f64(window.clamp(*WINDOW.start(), *WINDOW.end()));
    // In this order in even rounds and the other way round in odd ones, so that what drifts
    // weighs equally on all.
    let kinds: [(&Target, Pick, &Node); KINDS] = [
        (&all, Pick::First, run.many),
        (&all, Pick::Random, run.many),
        (&of_few, Pick::First, run.few),
        (&all, Pick::First, run.many),
    ];
    run.steps.begin(format!("warm requests over {CONNECTIONS} connections"));
    let mut series: [Series; KINDS] = Default::default();
    for round in 0..ROUNDS {
        let mut order: Vec<usize> = (0..KINDS).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for kind in order {
            let (target, pick, node) = kinds[kind];
            let (target, server) = (target.clone(), node.pid());
            let task = Closed { target, pick, connections: CONNECTIONS, window, server };
            let measured = load::closed(task).await?;
            let rate = measured.requests_per_s;
            run.steps.at(format!("round {} of {ROUNDS}: {rate:.0} a second", round + 1));
            series[kind].requests_per_s.push(rate);
            series[kind].cpu_us_per_request.push(measured.cpu_us_per_request);
        }
    }
    let [hot, random, hot_of_few, hot_again] = series;
    let warm = Warm {
        connections: CONNECTIONS,
        window_s: window.as_secs_f64(),
        flat_ratio: Estimate::of(&hot.ratios(&hot_of_few)),
        random_ratio: Estimate::of(&random.ratios(&hot)),
        random_services: services.len() as u32,
        hot,
        hot_again,
        hot_of_few,
        random,
    };
    run.steps.done(format!(
        "warm requests: {:.0} a second, {:.1} µs of CPU each; {:.2} × of that beside {} services",
        warm.hot.rate(),
        warm.hot.cpu(),
        warm.flat_ratio.median,
        few.services
    ));
    Ok(warm)
}

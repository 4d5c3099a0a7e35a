//! Requests to services that sleep, each with a component of its own.

use std::time::Duration;

use anyhow::{Context, ensure};

use crate::clock;

use super::super::load::{self, Visit};
use super::super::results::Cold;
use super::super::stats::SplitMix;
use super::Run;

/// How often all of them are asked, once they sleep again.
const PASSES: u64 = 3;
/// Connections of a storm.
const CONNECTIONS: u32 = 64;
/// How long services may take to fall asleep: many times what they are told.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked whether they do.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

pub(super) async fn cold(run: &Run<'_>) -> anyhow::Result<Cold> {
    let services = run.plan.distinct();
    // And one more, which shares its component and stays awake.
    let target = run.target(0..services + 1, "/");
    let awake = services as usize;
    run.steps.begin(format!("waking {services} services, one after the other"));
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    for pass in 0..PASSES {
        asleep(run).await?;
        run.steps.at(format!("pass {} of {PASSES}", pass + 1));
        cold.extend(times(&load::visit(&target, awake, order(services, pass)).await?, true));
        warm.extend(times(&load::visit(&target, awake, order(services, pass)).await?, false));
    }
    let enough = (u64::from(services) * PASSES / 2) as usize;
    ensure!(
        cold.len() >= enough && warm.len() >= enough,
        "services do not sleep and wake as they should: of {} requests of a kind {} were cold \
         and {} warm",
        u64::from(services) * PASSES,
        cold.len(),
        warm.len()
    );
    let mut storms = Vec::new();
    for pass in 0..PASSES {
        run.steps.begin(format!("waking {services} services over {CONNECTIONS} connections"));
        asleep(run).await?;
        storms.push(load::storm(&target, order(services, PASSES + pass), CONNECTIONS).await?);
    }
    let cold = Cold::of(cold, warm, storms);
    run.steps.done(format!(
        "cold starts: p50 {:.2} ms, {:.1} × of a warm request; {:.0} a second over {CONNECTIONS} \
         connections",
        cold.cold_p50_us / 1e3,
        cold.ratio_p50,
        cold.starts_per_s
    ));
    Ok(cold)
}

fn order(services: u32, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..services as usize).collect();
    SplitMix(seed).shuffle(&mut order);
    order
}

fn times(visits: &[Visit], cold: bool) -> impl Iterator<Item = f64> {
    visits.iter().filter(move |visit| visit.cold == cold).map(|visit| visit.us)
}

/// Waits until no component is in memory but the shared one.
async fn asleep(run: &Run<'_>) -> anyhow::Result<()> {
    run.steps.at("waiting until they sleep");
    let deadline = clock::now() + PATIENCE;
    while loaded(run).await? > 1 {
        ensure!(clock::now() < deadline, "the services do not fall asleep");
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    Ok(())
}

/// Components in memory, from the node's metrics: its state is not read for them.
async fn loaded(run: &Run<'_>) -> anyhow::Result<u64> {
    let request = run.many.api.request(reqwest::Method::GET, &["metrics"]);
    let text = run.many.api.open(request).await?.text().await?;
    components_loaded(&text).context("the node's metrics do not say what is loaded")
}

fn components_loaded(metrics: &str) -> Option<u64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix("wharf_components_loaded "))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_loaded_is_found_among_the_metrics() {
        let text = "wharf_components_loaded_max 5000\nwharf_components_loaded 17\n";
        assert_eq!(components_loaded(text), Some(17));
        assert_eq!(components_loaded("wharf_tasks 1\n"), None);
    }
}

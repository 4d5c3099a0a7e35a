//! Holds instances, and reads the node's memory with more and more of them.

use std::time::Duration;

use anyhow::ensure;

use crate::clock;

use super::super::load;
use super::super::memory;
use super::super::results::{Live, MemoryPoint};
use super::super::stats::slope;
use super::Run;

/// How often there are more of them, until all are there.
const PARTS: u32 = 4;
/// How long they may take to be there, or to go.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

pub(super) async fn live(run: &Run<'_>) -> anyhow::Result<Live> {
    let all = run.plan.live;
    let (kind, what) = match run.plan.component.is_own {
        true => ("instances", "live instances"),
        false => ("awake", "services awake"),
    };
    run.steps.begin(format!("holding {all} {what}"));
    let mut points = vec![memory::settled(run.many.pid(), 0).await?];
    let mut held = Vec::new();
    let first = run.plan.distinct();
    for part in 0..PARTS {
        let at = |part: u32| first + all * part / PARTS;
        let (from, to) = (at(part), at(part + 1));
        if from == to {
            continue;
        }
        match run.plan.component.is_own {
            true => {
                let target = run.target(from..to, "/hold");
                held.push(load::hold(&target, 0..(to - from) as usize)?);
                until(run, u64::from(to - first), &held).await?;
            }
            false => {
                let target = run.target(from..to, "/");
                load::storm(&target, (0..(to - from) as usize).collect(), 1).await?;
            }
        }
        run.steps.at(format!("{} are there", to - first));
        points.push(memory::settled(run.many.pid(), to - first).await?);
    }
    drop(held);
    until(run, 0, &[]).await?;
    let (bytes, mappings) = (per_replica(&points, MemoryPoint::bytes), mappings(&points));
    run.steps.done(format!(
        "{all} {what} at once: {:.1} KiB and {mappings:.1} mappings each",
        bytes / 1024.0
    ));
    Ok(Live { kind, points, bytes_per_replica: bytes, mappings_per_replica: mappings })
}

fn mappings(points: &[MemoryPoint]) -> f64 {
    per_replica(points, |point| point.mappings as f64)
}

/// The first of them also loads the component: it is left out if there are points enough.
fn per_replica(points: &[MemoryPoint], of: impl Fn(&MemoryPoint) -> f64) -> f64 {
    let line: Vec<_> = points.iter().map(|point| (f64::from(point.count), of(point))).collect();
    slope(if line.len() > 2 { &line[1..] } else { &line })
}

/// Waits until so many instances live.
async fn until(run: &Run<'_>, wanted: u64, held: &[load::Held]) -> anyhow::Result<()> {
    let deadline = clock::now() + PATIENCE;
    loop {
        held.iter().try_for_each(load::Held::check)?;
        let instances = run.top().await?.node.instances;
        if instances == wanted {
            return Ok(());
        }
        ensure!(clock::now() < deadline, "{instances} instances live, {wanted} should");
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

//! Load without pauses: each connection sends a request as soon as it has its answer.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::clock;

use super::super::cpu::CpuTimes;
use super::super::stats::SplitMix;
use super::client::Client;
use super::{Pick, Target, on_threads, share, threads};

/// How long connections are warmed up before anything counts.
const WARM_UP: Duration = Duration::from_millis(200);

/// What is to be done.
#[derive(Clone, Debug)]
pub(in super::super) struct Closed {
    pub(in super::super) target: Target,
    pub(in super::super) pick: Pick,
    pub(in super::super) connections: u32,
    pub(in super::super) window: Duration,
    /// The process whose CPU time counts.
    pub(in super::super) server: u32,
}

/// What a node did in one window.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Measured {
    pub(in super::super) requests_per_s: f64,
    pub(in super::super) cpu_us_per_request: f64,
}

/// Loads the node for a window. A single wrong answer is an error: what a node that fails costs
/// says nothing.
pub(in super::super) async fn closed(task: Closed) -> anyhow::Result<Measured> {
    let server = task.server;
    let start = clock::now() + WARM_UP;
    let end = start + task.window;
    let load = on_threads(threads(), move |index| {
        let task = task.clone();
        async move { thread(&task, index, start, end).await }
    });
    let watch = async {
        tokio::time::sleep_until(start.into()).await;
        let before = (clock::now(), CpuTimes::of_tree(server));
        tokio::time::sleep_until(end.into()).await;
        let elapsed = before.0.elapsed();
        anyhow::Ok((elapsed, CpuTimes::of_tree(server).since(&before.1)))
    };
    let (counts, (elapsed, cpu_ns)) = tokio::try_join!(load, watch)?;
    let requests = counts.iter().sum::<u64>() as f64;
    anyhow::ensure!(requests > 0.0, "the node answered nothing in {elapsed:?}");
    Ok(Measured {
        requests_per_s: requests / elapsed.as_secs_f64(),
        cpu_us_per_request: cpu_ns as f64 / 1e3 / requests,
    })
}

async fn thread(task: &Closed, index: usize, start: Instant, end: Instant) -> anyhow::Result<u64> {
    let mut running = JoinSet::new();
    for number in 0..share(task.connections, index) {
        let mut client = Client::connect(&task.target).await?;
        let (pick, services) = (task.pick, task.target.hosts.len());
        let mut random = SplitMix(u64::from(number) << 32 | index as u64);
        running.spawn_local(async move {
            let mut counted = 0;
            loop {
                let service = match pick {
                    Pick::First => 0,
                    Pick::Random => random.below(services),
                };
                client.get(service).await?;
                match clock::now() {
                    now if now >= end => return anyhow::Ok(counted),
                    now if now >= start => counted += 1,
                    _ => {}
                }
            }
        });
    }
    let mut all = 0;
    while let Some(done) = running.join_next().await {
        all += done??;
    }
    Ok(all)
}

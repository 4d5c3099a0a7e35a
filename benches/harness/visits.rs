//! Requests that each count by themselves: one after the other, or all at one moment.

use std::rc::Rc;
use std::time::Instant;

use anyhow::bail;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::load::{Client, Expected, block_on};
use super::process;

/// The role of the process that visits hosts one after the other.
pub(crate) const VISIT: process::Role = ("visit", run_visit);
/// The role of the process that sends many requests at one moment.
pub(crate) const BURST: process::Role = ("burst", run_burst);

/// The field that says that a task was started for a request.
const COLD_START: &str = "wharf-cold-start";

/// What the visiting process shall do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Visit {
    /// What each of the hosts must answer.
    pub(crate) expected: Expected,
    /// A host that is awake, asked once so that the connection is warm.
    pub(crate) first: String,
    /// The hosts, in the order of the visits.
    pub(crate) hosts: Vec<String>,
    /// Whether a task must have been started for each, or for none.
    pub(crate) cold: bool,
}

/// What the bursting process shall do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Burst {
    /// What must be answered.
    pub(crate) expected: Expected,
    /// Requests at once, each on its own connection.
    pub(crate) requests: u32,
}

/// Visits every host once over one kept connection. Returns the time of each answer in
/// microseconds.
pub(crate) fn visit(task: &Visit) -> anyhow::Result<Vec<f64>> {
    process::ask(VISIT.0, task, None)
}

/// Sends all requests at one moment; returns how long it took until the last right answer, in
/// milliseconds. A single wrong answer is an error.
pub(crate) fn burst(task: &Burst) -> anyhow::Result<f64> {
    process::ask(BURST.0, task, None)
}

fn run_visit() -> anyhow::Result<()> {
    let task: Visit = process::read_task()?;
    let times = block_on(async {
        let mut client = Client::connect(Rc::new(task.expected)).await?;
        client.get_from(&task.first).await?;
        let mut times_us = Vec::with_capacity(task.hosts.len());
        for host in &task.hosts {
            let began = Instant::now();
            let head = client.get_from(host).await?;
            times_us.push(began.elapsed().as_secs_f64() * 1e6);
            if head.headers().contains_key(COLD_START) != task.cold {
                bail!("{host} was {}", if task.cold { "awake" } else { "asleep" });
            }
        }
        Ok(times_us)
    });
    process::answer(&times?)
}

fn run_burst() -> anyhow::Result<()> {
    let task: Burst = process::read_task()?;
    let took_ms = block_on(async {
        let expected = Rc::new(task.expected);
        let (go, start) = watch::channel(false);
        let mut running = JoinSet::new();
        for _ in 0..task.requests {
            let mut client = Client::connect(Rc::clone(&expected)).await?;
            let mut start = start.clone();
            running.spawn_local(async move {
                start.wait_for(|go| *go).await?;
                client.get().await
            });
        }
        let began = Instant::now();
        go.send(true)?;
        while let Some(done) = running.join_next().await {
            done??;
        }
        Ok(began.elapsed().as_secs_f64() * 1e3)
    });
    process::answer(&took_ms?)
}

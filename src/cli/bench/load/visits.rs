//! Requests that each count by themselves: one after the other, or as many at once as there are
//! connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Context;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::clock;

use super::super::results::Storm;
use super::client::Client;
use super::{Target, on_threads, share, threads};

/// How long a service may take until it answers for the first time.
const MOST_PATIENT: Duration = Duration::from_secs(120);
/// How long it is left alone between two tries.
const BETWEEN_TRIES: Duration = Duration::from_millis(1);

/// One answer.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Visit {
    pub(in super::super) us: f64,
    /// Whether a task was started for it.
    pub(in super::super) cold: bool,
}

/// Asks the services one after the other over one connection, on which `first` was asked before.
pub(in super::super) async fn visit(
    target: &Target,
    first: usize,
    order: Vec<usize>,
) -> anyhow::Result<Vec<Visit>> {
    let target = target.clone();
    let visits = on_threads(1, move |_| {
        let (target, order) = (target.clone(), order.clone());
        async move {
            let mut client = Client::connect(&target).await?;
            client.get(first).await?;
            let mut visits = Vec::with_capacity(order.len());
            for service in order {
                let began = clock::now();
                let cold = client.get(service).await?;
                visits.push(Visit { us: began.elapsed().as_secs_f64() * 1e6, cold });
            }
            Ok(visits)
        }
    });
    visits.await?.pop().context("one thread has one answer")
}

/// Asks each of the services once, over so many connections at once.
pub(in super::super) async fn storm(
    target: &Target,
    order: Vec<usize>,
    connections: u32,
) -> anyhow::Result<Storm> {
    let next = Arc::new((order, AtomicUsize::new(0)));
    let barrier = Arc::new(Barrier::new(connections as usize));
    let target = target.clone();
    let threads = on_threads(threads(), move |index| {
        let (target, next, barrier) = (target.clone(), Arc::clone(&next), Arc::clone(&barrier));
        async move {
            let mut running = JoinSet::new();
            for _ in 0..share(connections, index) {
                let mut client = Client::connect(&target).await?;
                let (next, barrier) = (Arc::clone(&next), Arc::clone(&barrier));
                running.spawn_local(async move {
                    barrier.wait().await;
                    let (began, mut cold_starts) = (clock::now(), 0);
                    while let Some(service) = next.0.get(next.1.fetch_add(1, Relaxed)) {
                        cold_starts += u32::from(client.get(*service).await?);
                    }
                    anyhow::Ok((began, clock::now(), cold_starts))
                });
            }
            let mut spans = Vec::new();
            while let Some(done) = running.join_next().await {
                spans.push(done??);
            }
            Ok(spans)
        }
    });
    let spans: Vec<_> = threads.await?.into_iter().flatten().collect();
    let began = spans.iter().map(|span| span.0).min().context("there are connections")?;
    let ended = spans.iter().map(|span| span.1).max().context("there are connections")?;
    let cold_starts = spans.iter().map(|span| span.2).sum();
    let seconds = (ended - began).as_secs_f64();
    Ok(Storm { connections, cold_starts, seconds, starts_per_s: f64::from(cold_starts) / seconds })
}

/// Asks the first service until it answers as it should.
pub(in super::super) async fn until_answered(target: &Target) -> anyhow::Result<()> {
    let target = target.clone();
    on_threads(1, move |_| {
        let target = target.clone();
        async move {
            let deadline = clock::now() + MOST_PATIENT;
            let mut client = Client::connect(&target).await?;
            loop {
                match client.get(0).await {
                    Ok(_) => return Ok(()),
                    Err(error) if clock::now() >= deadline => return Err(error),
                    Err(_) => tokio::time::sleep(BETWEEN_TRIES).await,
                }
            }
        }
    })
    .await
    .map(drop)
}

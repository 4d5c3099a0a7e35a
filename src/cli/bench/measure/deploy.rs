//! Deploys the services, and reads the node's memory on the way.

use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::Method;
use serde_json::Value;

use crate::agent::OWN_REGISTRY;
use crate::api::{Applied, Service, ServiceState};
use crate::clock;

use super::super::super::local::{self, Target};
use super::super::super::told::Told;
use super::super::load;
use super::super::memory;
use super::super::node::Node;
use super::super::plan::{self, Plan};
use super::super::results::{Deploy, DeployPoint, Memory};
use super::super::stats::{quantile, slope, sorted};
use super::Run;

/// Components that are pushed at once.
const PUSHES: usize = 8;
/// How often memory is read while services are deployed.
const PARTS: u32 = 4;
/// How often it is asked whether services are ready; and no more than a fifth of the time is
/// spent on the answer, which is about all of them.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
const LOOK_SHARE: u32 = 5;
/// How long nothing may become ready before the run gives up: longer than a component is compiled
/// for, or an image pulled.
const STALLED_AFTER: Duration = Duration::from_secs(120);
/// Services that are deployed one by one, to see what one more takes.
const ONE_MORE: u32 = 10;

/// Deploys everything on both nodes. Returns the images too.
pub(super) async fn deploy(run: &Run<'_>) -> anyhow::Result<(Vec<String>, Deploy, Memory)> {
    let plan = run.plan;
    run.steps.begin(format!("pushing {} components", plan.distinct() + 1));
    let began = clock::now();
    let images = push(plan, run.many, plan.distinct()).await?;
    let push_s = began.elapsed().as_secs_f64();
    let few = plan.few();
    let images_of_few = push(&few, run.few, few.distinct()).await?;
    apply_all(&few, run.few, 0..few.services, &images_of_few).await?;
    settle(run.few, few.services, |_| ()).await?;

    run.steps.begin(format!("deploying {} services", plan.services));
    let pid = run.many.pid();
    let mut memories = vec![memory::settled(pid, 0).await?];
    let mut points = vec![DeployPoint { services: 0, seconds: 0.0 }];
    let mut seconds = 0.0;
    for part in 0..PARTS {
        let at = |part: u32| (u64::from(plan.services) * u64::from(part) / 4) as u32;
        let (from, to) = (at(part), at(part + 1));
        let began = clock::now();
        apply_all(plan, run.many, from..to, &images).await?;
        settle(run.many, to, |ready| run.steps.at(format!("{ready} are ready"))).await?;
        seconds += began.elapsed().as_secs_f64();
        points.push(DeployPoint { services: to, seconds });
        memories.push(memory::settled(pid, to).await?);
    }
    let line: Vec<_> = memories.iter().skip(1).map(|p| (f64::from(p.count), p.bytes())).collect();
    let memory = Memory { points: memories, bytes_per_service: slope(&line) };
    let services_per_s = f64::from(plan.services) / seconds;
    run.steps.done(format!(
        "deployed {} services in {seconds:.1} s, {services_per_s:.0} a second; {:.1} KiB each",
        plan.services,
        memory.bytes_per_service / 1024.0
    ));
    let none = Vec::new;
    let deploy = Deploy {
        push_s,
        seconds,
        services_per_s,
        points,
        one_more_ms: none(),
        one_more_of_few_ms: none(),
        one_more_ratio: f64::NAN,
    };
    Ok((images, deploy, memory))
}

/// Puts the components into the node's own registry.
async fn push(plan: &Plan, node: &Node, distinct: u32) -> anyhow::Result<Vec<String>> {
    let client = local::client(&node.api, &[])?;
    let images = stream::iter(0..=distinct).map(|task| {
        let client = &client;
        async move {
            let name = format!("{OWN_REGISTRY}/bench/t{task}");
            let target = Target::read(&name, &node.api)?;
            let digest = client.push(&target.reachable, plan.variant(task), &|_| {}).await?;
            anyhow::Ok(format!("{name}@{digest}"))
        }
    });
    images.buffered(PUSHES).try_collect().await
}

async fn apply_all(
    plan: &Plan,
    node: &Node,
    services: std::ops::Range<u32>,
    images: &[String],
) -> anyhow::Result<()> {
    for (_, manifest) in plan.manifests(services, images) {
        apply(node, &manifest).await?;
    }
    Ok(())
}

async fn apply(node: &Node, manifest: &Value) -> anyhow::Result<()> {
    let request = node.api.request(Method::POST, &["v1", "apply"]).json(manifest);
    node.api.call::<Applied>(request).await.map(drop)
}

/// Waits until so many services are ready, for as long as there are more of them.
async fn settle(node: &Node, wanted: u32, seen: impl Fn(u32)) -> anyhow::Result<()> {
    let mut progress = Progress { ready: 0, since: clock::now() };
    loop {
        let began = clock::now();
        let services: Vec<Service> = node.api.get(&["v1", "services"]).await?;
        if let Some(failed) = services.iter().find(|one| one.state == ServiceState::Failed) {
            let text = format!("service {} cannot run: {}", failed.name, failed.message);
            return Err(Told::new(text).hint("try the component with `wharf apply` first").into());
        }
        let ready = services.iter().filter(|one| one.state == ServiceState::Ready).count() as u32;
        seen(ready);
        if ready >= wanted {
            return Ok(());
        }
        progress.look(ready, wanted, clock::now())?;
        tokio::time::sleep(LOOK_INTERVAL.max(began.elapsed() * (LOOK_SHARE - 1))).await;
    }
}

/// How many services were ready, and since when it has not become more.
struct Progress {
    ready: u32,
    since: Instant,
}

impl Progress {
    /// An error if nothing has become ready for too long.
    fn look(&mut self, ready: u32, wanted: u32, now: Instant) -> Result<(), Told> {
        if ready > self.ready {
            *self = Self { ready, since: now };
        }
        let waited = now.saturating_duration_since(self.since);
        if waited < STALLED_AFTER {
            return Ok(());
        }
        let seconds = waited.as_secs();
        let text = format!("{ready} of {wanted} services are ready, and no more since {seconds} s");
        Err(Told::new(text).hint("ask for fewer with --services, or keep the log with --keep"))
    }
}

/// Deploys one more service at a time, on the node with all services and on the one with few.
pub(super) async fn one_more(
    run: &Run<'_>,
    images: &[String],
    deploy: Deploy,
) -> anyhow::Result<Deploy> {
    run.steps.begin("deploying one more service at a time");
    let few = run.plan.few();
    let images_of_few = push(&few, run.few, few.distinct()).await?;
    let (mut of_many, mut of_few) = (Vec::new(), Vec::new());
    for number in 0..ONE_MORE {
        of_many.push(one(run, run.plan, run.many, images, number).await?);
        of_few.push(one(run, &few, run.few, &images_of_few, number).await?);
    }
    let median = |values: &[f64]| quantile(&sorted(values), 0.5);
    let (many_ms, few_ms) = (median(&of_many), median(&of_few));
    run.steps.done(format!(
        "one more service answers after {many_ms:.1} ms; beside {} services after {few_ms:.1} ms",
        few.services
    ));
    Ok(Deploy {
        one_more_ms: of_many,
        one_more_of_few_ms: of_few,
        one_more_ratio: many_ms / few_ms,
        ..deploy
    })
}

/// From the manifest to the first answer, in milliseconds.
async fn one(
    run: &Run<'_>,
    plan: &Plan,
    node: &Node,
    images: &[String],
    number: u32,
) -> anyhow::Result<f64> {
    let name = format!("more{number}");
    let host = plan::host_name(&name).parse().context("a name is a field's value")?;
    let manifest = plan.manifest([(name, plan.distinct())].into_iter(), images);
    let target = run.target_on(node, [host].into(), "/");
    let began = clock::now();
    apply(node, &manifest).await?;
    load::until_answered(&target).await?;
    Ok(began.elapsed().as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_that_stalls_is_given_up() {
        let began = clock::now();
        let mut progress = Progress { ready: 0, since: began };
        let mut at = |ready, time| progress.look(ready, 10, began + time);
        let short = STALLED_AFTER - Duration::from_secs(1);
        assert!(at(0, short).is_ok());
        assert!(at(1, short).is_ok(), "one more is progress");
        assert!(at(1, short * 2).is_ok());
        let told = at(1, short + STALLED_AFTER).expect_err("stalled").to_string();
        assert!(told.contains("1 of 10 services are ready"), "{told}");
    }
}

//! Waits until services are what was asked for.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::api::{Compile, Pull, Service, ServiceDetail, ServiceState, Upstream};
use crate::clock;

use super::client::ApiClient;
use super::output::{bytes_of, compiling};
use super::progress::Waits;
use super::told::Told;

/// How often a node is asked. A cached deployment is ready within milliseconds.
const INTERVAL: Duration = Duration::from_millis(150);

/// How much longer than its answer takes it is waited for before the next question: with many
/// services whoever waits for them must not keep the node from its work.
const PAUSE_FACTOR: u32 = 4;
/// Services that are asked for one by one; where there are more, the list tells it at once.
const FEW: usize = 8;

/// How a service ended up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) state: ServiceState,
    pub(super) code: Option<String>,
    pub(super) message: String,
    /// The definition that goes on serving, if it is not the wanted one.
    pub(super) earlier: Option<String>,
    /// How far its image is while it is pulled.
    pub(super) pull: Option<Pull>,
    /// How far its component is while it is compiled.
    pub(super) compile: Option<Compile>,
}

impl Outcome {
    /// What moves, for a terminal.
    fn live(&self) -> Option<String> {
        if let Some(Pull { done_bytes, total_bytes }) = self.pull {
            return Some(format!("pulling {}", bytes_of(done_bytes, total_bytes)));
        }
        self.compile.map(|compile| format!("compiling ({})", compiling(&compile)))
    }

    fn text(&self) -> String {
        let mut text = self.state.to_string();
        if self.message.starts_with(&text) {
            // `pulling IMAGE` says it already.
            return self.message.clone();
        }
        if let Some(code) = &self.code {
            text += &format!(" ({code})");
        }
        if !self.message.is_empty() {
            text += &format!(": {}", self.message);
        }
        if let (ServiceState::Failed, Some(earlier)) = (self.state, &self.earlier) {
            text += &format!("; {earlier} goes on serving");
        }
        text
    }
}

/// Waits until each service, of at least the generation beside it, is ready or has failed.
pub(super) async fn until_settled(
    api: &ApiClient,
    services: &[(String, u64)],
    timeout: Duration,
) -> anyhow::Result<BTreeMap<String, Outcome>> {
    let deadline = clock::now() + timeout;
    let mut waits = Waits::new();
    let mut outcomes: BTreeMap<String, Outcome> = BTreeMap::new();
    loop {
        let open = services.iter().filter(|(name, _)| !is_settled(outcomes.get(name)));
        let open: Vec<_> = open.cloned().collect();
        if open.is_empty() {
            return Ok(outcomes);
        }
        let began = clock::now();
        for (name, outcome) in look(api, open).await? {
            let live = outcome.live();
            waits.show(&name, &outcome.text(), live.as_deref(), is_settled(Some(&outcome)));
            outcomes.insert(name, outcome);
        }
        if clock::now() >= deadline && !outcomes.values().all(|o| is_settled(Some(o))) {
            let late = outcomes.iter().filter(|(_, outcome)| !is_settled(Some(outcome)));
            return Err(too_late("ready", late.map(|(name, _)| name.as_str()), timeout).into());
        }
        tokio::time::sleep(INTERVAL.max(began.elapsed() * PAUSE_FACTOR)).await;
    }
}

/// Waits until the node forwards to each upstream by at least the generation beside it.
pub(super) async fn until_forwarded(
    api: &ApiClient,
    upstreams: &[(String, u64)],
    timeout: Duration,
) -> anyhow::Result<()> {
    let deadline = clock::now() + timeout;
    for (name, generation) in upstreams {
        while api.get::<Upstream>(&["v1", "upstreams", name]).await?.in_force < *generation {
            if clock::now() >= deadline {
                return Err(too_late("in force", [name.as_str()].into_iter(), timeout).into());
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }
    Ok(())
}

/// Waits until no node knows the services any more.
pub(super) async fn until_gone(
    api: &ApiClient,
    names: &[String],
    timeout: Duration,
) -> anyhow::Result<()> {
    let deadline = clock::now() + timeout;
    let mut waits = Waits::new();
    let mut left = names.to_vec();
    loop {
        let mut still = Vec::new();
        for name in left {
            match api.get::<ServiceDetail>(&["v1", "services", &name]).await {
                Ok(detail) => {
                    waits.show(&name, &deleting(detail.service.in_flight), None, false);
                    still.push(name);
                }
                Err(error) if Told::is(&error, "service-not-found") => {
                    waits.show(&name, "gone", None, true);
                }
                Err(error) => return Err(error),
            }
        }
        if still.is_empty() {
            return Ok(());
        }
        if clock::now() >= deadline {
            return Err(too_late("gone", still.iter().map(String::as_str), timeout).into());
        }
        left = still;
        tokio::time::sleep(INTERVAL).await;
    }
}

fn deleting(in_flight: u32) -> String {
    match in_flight {
        1 => "deleting, 1 request in flight".to_owned(),
        n => format!("deleting, {n} requests in flight"),
    }
}

fn is_settled(outcome: Option<&Outcome>) -> bool {
    outcome.is_some_and(|o| matches!(o.state, ServiceState::Ready | ServiceState::Failed))
}

/// How services are that are waited for, each with its generation.
async fn look(api: &ApiClient, open: Vec<(String, u64)>) -> anyhow::Result<Vec<(String, Outcome)>> {
    let mut outcomes = Vec::new();
    if open.len() <= FEW {
        for (name, generation) in open {
            let detail: ServiceDetail = api.get(&["v1", "services", &name]).await?;
            outcomes.push((name, outcome(detail.service, generation)?));
        }
        return Ok(outcomes);
    }
    let services: Vec<Service> = api.get(&["v1", "services"]).await?;
    let mut services: BTreeMap<String, Service> =
        services.into_iter().map(|service| (service.name.clone(), service)).collect();
    for (name, generation) in open {
        let service = services.remove(&name).ok_or_else(|| deleted(&name))?;
        outcomes.push((name, outcome(service, generation)?));
    }
    Ok(outcomes)
}

fn deleted(name: &str) -> Told {
    Told::new(format!("service {name} was deleted meanwhile"))
}

fn outcome(service: Service, generation: u64) -> Result<Outcome, Told> {
    if service.state == ServiceState::Deleting {
        return Err(deleted(&service.name));
    }
    // Somebody may have changed it again: what is newer counts as well.
    let older = service.generation < generation;
    let state = if older { ServiceState::Pending } else { service.state };
    let earlier = service.earlier().map(str::to_owned);
    let pull = service.pull.filter(|_| state == ServiceState::Pulling);
    let compile = service.compile.filter(|_| state == ServiceState::Compiling);
    let (code, message) = (service.code, service.message);
    Ok(Outcome { state, code, message, earlier, pull, compile })
}

fn too_late<'a>(what: &str, names: impl Iterator<Item = &'a str>, timeout: Duration) -> Told {
    let names: Vec<&str> = names.collect();
    let timeout = crate::model::duration::format(timeout);
    Told::new(format!("not {what} within {timeout}: {}", names.join(", ")))
        .hint("it goes on without you: see `wharf describe`, or wait longer with --timeout")
}

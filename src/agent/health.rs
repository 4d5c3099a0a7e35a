//! Asks the revisions of this node whether they are well.
//!
//! *Invariant:* a revision without tasks is not asked, and has no timer.

use std::sync::Arc;

use parking_lot::Mutex;
use registry::Digest;

use crate::clock;
use crate::model::{Health, HealthState, Probe};
use crate::routing::{Restarts, Start, Startup, Tally};
use crate::runtime::{Answer, Loaded, ServiceCell};
use crate::telemetry::ProbeKind;

use super::AgentParts;
use super::place::{Place, Probes};
use super::report::Reporter;

/// The code of a revision that did not answer its probes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}\nhint: what the guest printed is in `wharf logs`")]
pub(super) struct ProbeFailed(String);

impl ProbeFailed {
    /// The stable code.
    pub(super) fn code(&self) -> &'static str {
        "probe-failed"
    }
}

/// Asks a revision that is not in force yet until it has started.
pub(super) async fn start(
    parts: &AgentParts,
    place: &Place,
    component: Digest,
    loaded: &Arc<Loaded>,
) -> Result<HealthState, ProbeFailed> {
    let Probes { health, host } = place.probes();
    let Some(probe) = health.startup else { return Ok(HealthState::Unknown) };
    tokio::time::sleep(probe.delay).await;
    let mut startup = Startup::new(&probe, clock::now());
    loop {
        let slot = place.cell.trial_slot(place.planned(component), Arc::clone(loaded));
        let answer = parts.runtime.probe(slot, &probe, &host).await;
        if answer.passes() == Some(false)
            && let Some(service) = parts.table.get(&place.service)
        {
            service.count_failed_probe(&place.cell, ProbeKind::Startup);
        }
        // A node that has no room now may have it at the next question; until then nobody starts.
        match startup.note(answer.passes().unwrap_or(false), clock::now()) {
            Start::Passed => return Ok(HealthState::Healthy),
            Start::Again(at) => tokio::time::sleep_until(at.into()).await,
            Start::Failed => {
                let (times, last) = (probe.failures, answer.describe(&probe));
                return Err(ProbeFailed(format!("the startup probe failed {times} times: {last}")));
            }
        }
    }
}

/// Asks one revision while it serves.
pub(super) struct Prober {
    parts: AgentParts,
    place: Arc<Place>,
    service: Arc<ServiceCell>,
    reporter: Arc<Reporter>,
    probes: Probes,
    known: Mutex<Known>,
}

/// What is known of a revision.
#[derive(Default)]
struct Known {
    live: Option<bool>,
    ready: Option<bool>,
    restarts: Restarts,
}

impl Known {
    fn state(&self) -> HealthState {
        match [self.live, self.ready] {
            [Some(false), _] | [_, Some(false)] => HealthState::Unhealthy,
            [None, None] => HealthState::Unknown,
            _ => HealthState::Healthy,
        }
    }
}

impl Prober {
    /// A prober, if the service has probes for revisions that serve.
    pub(super) fn new(
        parts: AgentParts,
        place: Arc<Place>,
        service: Arc<ServiceCell>,
        reporter: Arc<Reporter>,
    ) -> Option<Self> {
        let probes = place.probes();
        let health = &probes.health;
        let is_asked = health.liveness.is_some() || health.readiness.is_some();
        let known = Mutex::default();
        is_asked.then_some(Self { parts, place, service, reporter, probes, known })
    }

    /// Asks until it is dropped.
    pub(super) async fn run(self) {
        loop {
            self.place.cell.until_awake(true).await;
            tokio::select! {
                () = self.place.cell.until_awake(false) => {}
                () = self.ask() => {}
            }
            // It cannot be asked while it sleeps: the next request finds out.
            self.service.set_ready(self.place.number(), true);
        }
    }

    async fn ask(&self) {
        tokio::join!(self.follow(ProbeKind::Liveness), self.follow(ProbeKind::Readiness));
    }

    fn probe(&self, kind: ProbeKind) -> Option<&Probe> {
        let Health { startup, liveness, readiness } = &self.probes.health;
        let probe = match kind {
            ProbeKind::Startup => startup,
            ProbeKind::Liveness => liveness,
            ProbeKind::Readiness => readiness,
        };
        probe.as_ref()
    }

    /// Asks one of the questions again and again, if the service has it.
    async fn follow(&self, kind: ProbeKind) {
        let Some(probe) = self.probe(kind) else { return };
        let mut tally = Tally::default();
        tokio::time::sleep(probe.delay).await;
        loop {
            if let Some((answer, passed)) = self.once(probe).await {
                if !passed {
                    self.service.count_failed_probe(&self.place.cell, kind);
                }
                if kind == ProbeKind::Liveness {
                    self.known.lock().restarts.note(passed, clock::now());
                }
                if let Some(passes) = tally.note(passed, probe)
                    && self.decide(kind, passes, &answer.describe(probe)).await
                {
                    tally = Tally::default();
                }
            }
            tokio::time::sleep(probe.interval).await;
        }
    }

    /// Does what follows when a probe passes or fails. Whether its answers count anew.
    async fn decide(&self, kind: ProbeKind, passes: bool, last: &str) -> bool {
        let (changed, state) = {
            let mut known = self.known.lock();
            let said = match kind {
                ProbeKind::Readiness => &mut known.ready,
                _ => &mut known.live,
            };
            (said.replace(passes) != Some(passes), known.state())
        };
        if kind == ProbeKind::Readiness {
            self.service.set_ready(self.place.number(), passes);
        }
        if changed {
            let (service, revision) = (&self.place.service, self.place.number());
            tracing::info!(%service, revision, probe = kind.as_str(), passes, last, "health");
            let failed = ProbeFailed(format!("the {} probe failed: {last}", kind.as_str()));
            let why = (!passes).then_some(failed);
            self.reporter.health(&self.place, state, why.as_ref()).await;
        }
        kind == ProbeKind::Liveness && !passes && self.restart(last).await
    }

    /// One question, unless there is nobody who could answer: every task is at its limit, or the
    /// node has no room.
    async fn once(&self, probe: &Probe) -> Option<(Answer, bool)> {
        let slot = self.place.cell.probe_slot()?;
        let answer = self.parts.runtime.probe(slot, probe, &self.probes.host).await;
        Some((answer, answer.passes()?))
    }

    /// Replaces the tasks, unless that was done only just. Whether it was done.
    async fn restart(&self, last: &str) -> bool {
        let Some(deployed) = self.place.cell.view().deployment else { return false };
        if !self.known.lock().restarts.try_restart(clock::now()) {
            return false;
        }
        let (service, revision) = (&self.place.service, self.place.number());
        let done = match self.parts.loader.load(deployed.component).await {
            Ok(loaded) => {
                self.place.cell.restart(loaded);
                "its tasks were replaced".to_owned()
            }
            Err(error) => format!("its tasks cannot be replaced ({error})"),
        };
        tracing::warn!(%service, revision, last, done, "the liveness probe failed");
        let why = format!("the liveness probe failed: {last}; {done}");
        self.reporter.failed(&self.place, &ProbeFailed(why)).await;
        true
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.service.set_ready(self.place.number(), true);
    }
}

//! What the node says about a grant.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock;
use crate::model::{Grant, GrantPhase, GrantStatus, HealthState, Name, NodeId, RevisionStatus};
use crate::runtime::{RevisionCell, ServiceCell};
use crate::store::{self, Cond, Consistency, Op, RangeReq, Revision, Store, Txn, codec, keys};

use super::health::ProbeFailed;
use super::place::Place;

/// What is said of a revision that can run.
pub(super) const SERVED: &str = "requests are served";
/// Longest message in bytes: linkers can be wordy.
const MESSAGE_BYTES: usize = 4 << 10;
/// How often a watched service is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Looks between two reports in which nothing but counters has changed.
const LOOKS_PER_REPORT: u32 = 10;

/// Reports about one service, all of its revisions at once.
pub(super) struct Reporter {
    store: Arc<dyn Store>,
    node: NodeId,
    service: Arc<ServiceCell>,
    state: Mutex<State>,
    /// One report at a time, so that a later one never comes before an earlier one.
    writing: tokio::sync::Mutex<Option<GrantStatus>>,
}

#[derive(Default)]
struct State {
    generation: u64,
    revisions: BTreeMap<u64, RevisionStatus>,
}

impl Reporter {
    /// A reporter that goes on from what the node said last.
    pub(super) fn new(
        store: Arc<dyn Store>,
        node: NodeId,
        service: Arc<ServiceCell>,
        last: Option<GrantStatus>,
    ) -> Arc<Self> {
        let said = last.iter().flat_map(|status| &status.revisions);
        let revisions = said.map(|revision| {
            let revision = without_health(revision);
            (revision.number, RevisionStatus { failures: 0, tasks: 0, ..revision })
        });
        let state = State { generation: 0, revisions: revisions.collect() };
        let (state, writing) = (Mutex::new(state), tokio::sync::Mutex::new(last));
        Arc::new(Self { store, node, service, state, writing })
    }

    /// Takes up a grant: what is said from now on is about it and its revisions.
    pub(super) fn take_up(&self, grant: &Grant) {
        let mut state = self.state.lock();
        state.generation = grant.generation;
        state.revisions.retain(|number, _| grant.revision(*number).is_some());
    }

    /// Whether the node last said that it can run the revision.
    pub(super) fn was_ready(&self, place: &Place) -> bool {
        let state = self.state.lock();
        let said = state.revisions.get(&place.number());
        said.is_some_and(|said| {
            said.phase == GrantPhase::Ready && said.definition == place.definition.id
        })
    }

    /// Says how far a revision is. A report that cannot be written is lost: the next one says
    /// more.
    pub(super) async fn say(
        &self,
        place: &Place,
        phase: GrantPhase,
        code: Option<&str>,
        message: &str,
    ) {
        let (service, revision) = (&place.service, place.number());
        match phase {
            GrantPhase::Failed => {
                tracing::warn!(%service, revision, definition = %place.definition.id, code,
                    message, "the revision failed");
            }
            _ => tracing::info!(%service, revision, definition = %place.definition.id, code,
                    phase = ?phase, message, "revision"),
        }
        self.note(place, phase, code, message);
        self.write().await;
    }

    fn note(&self, place: &Place, phase: GrantPhase, code: Option<&str>, message: &str) {
        let mut message = message.to_owned();
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES));
        let mut state = self.state.lock();
        let said = state.revisions.get(&place.number());
        let before = said.map_or(0, |said| said.failures);
        let health = said.map_or(HealthState::Unknown, |said| said.health);
        let is_failure = code.is_some() && phase != GrantPhase::Ready;
        let status = RevisionStatus {
            number: place.number(),
            definition: place.definition.id.clone(),
            phase,
            code: code.map(str::to_owned),
            message,
            tasks: 0,
            failures: before + u32::from(is_failure),
            requests: 0,
            errors: 0,
            p99_us: 0,
            health,
        };
        state.revisions.insert(place.number(), status);
    }

    /// Says what the probes of a revision say now, and why it is ill if it is.
    pub(super) async fn health(
        &self,
        place: &Place,
        health: HealthState,
        why: Option<&ProbeFailed>,
    ) {
        if let Some(said) = self.state.lock().revisions.get_mut(&place.number()) {
            *said = RevisionStatus { health, ..without_health(said) };
            if let Some(why) = why {
                said.code = Some(why.code().to_owned());
                said.message = why.to_string();
            }
        }
        self.write().await;
    }

    /// Counts a failure of a revision that serves.
    pub(super) async fn failed(&self, place: &Place, why: &ProbeFailed) {
        if let Some(said) = self.state.lock().revisions.get_mut(&place.number()) {
            said.failures += 1;
            said.code = Some(why.code().to_owned());
            said.message = why.to_string();
        }
        self.write().await;
    }

    /// Forgets what probes said that are not asked any more.
    pub(super) fn forget_health(&self) {
        for said in self.state.lock().revisions.values_mut() {
            *said = without_health(said);
        }
    }

    /// Writes how everything is now.
    pub(super) async fn write(&self) {
        let mut written = self.writing.lock().await;
        let status = self.status();
        let result = async {
            let key = keys::status(self.node.as_str(), self.service.name().as_str());
            let put = Op::put(key, codec::encode(&status)?);
            self.store.txn(Txn::of(vec![put])).await
        };
        match result.await {
            Ok(_) => *written = Some(status),
            Err(error) => {
                tracing::warn!(service = %self.service.name(), %error, "the report was lost");
            }
        }
    }

    /// Reports what changes while a deployment is under way: tasks at once, counters each second.
    pub(super) async fn watch(self: Arc<Self>) {
        for look in 1u32.. {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let now = self.status();
            let is_due = match &*self.writing.lock().await {
                None => true,
                Some(said) => {
                    let is_turn = look.is_multiple_of(LOOKS_PER_REPORT);
                    tasks(said) != tasks(&now) || (is_turn && said.revisions != now.revisions)
                }
            };
            if is_due {
                self.write().await;
            }
        }
    }

    fn status(&self) -> GrantStatus {
        let state = self.state.lock();
        let revisions = state.revisions.values().map(|said| match self.service.find(said.number) {
            Some(cell) => counted(said, &cell),
            None => said.clone(),
        });
        GrantStatus {
            node: self.node.clone(),
            service: self.service.name().clone(),
            generation: state.generation,
            revisions: revisions.collect(),
            at_ms: clock::unix_ms(),
        }
    }
}

/// What is said of a revision apart from its probes.
fn without_health(said: &RevisionStatus) -> RevisionStatus {
    let mut said = RevisionStatus { health: HealthState::Unknown, ..said.clone() };
    if said.phase == GrantPhase::Ready {
        said.code = None;
        said.message = SERVED.to_owned();
    }
    said
}

fn counted(said: &RevisionStatus, cell: &RevisionCell) -> RevisionStatus {
    let tasks = u32::try_from(cell.view().tasks.len()).unwrap_or(u32::MAX);
    let stats = cell.stats_if_any();
    let p99_s = stats.map_or(0.0, |stats| stats.duration().quantile_s(99));
    RevisionStatus {
        tasks,
        requests: stats.map_or(0, |stats| stats.requests()),
        errors: stats.map_or(0, |stats| stats.errors()),
        p99_us: (p99_s * 1e6) as u64,
        ..said.clone()
    }
}

fn tasks(status: &GrantStatus) -> Vec<(u64, u32)> {
    status.revisions.iter().map(|revision| (revision.number, revision.tasks)).collect()
}

/// Removes what was said about a grant that is gone. What was said about a later grant of the
/// same service stays: the service may have come back while this one's requests were waited for.
pub(super) async fn forget(store: &dyn Store, node: &NodeId, service: &Name) {
    let delete = Op::delete(keys::status(node.as_str(), service.as_str()));
    let gone = Cond::Absent(keys::grant(node.as_str(), service.as_str()));
    if let Err(error) = store.txn(Txn::of(vec![delete]).when(gone)).await {
        tracing::warn!(%service, %error, "the report could not be removed");
    }
}

/// What the node last said, by service.
pub(super) async fn last(
    store: &dyn Store,
    node: &NodeId,
) -> Result<BTreeMap<Name, GrantStatus>, store::Error> {
    let request = RangeReq::prefix(keys::node_status(node.as_str()));
    let found = store.range(request, Consistency::Cached(Revision::ZERO)).await?;
    let statuses = found.kvs.iter().filter_map(|record| codec::decode::<GrantStatus>(record).ok());
    Ok(statuses.map(|status| (status.service.clone(), status)).collect())
}

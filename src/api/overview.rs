//! Services as people see them: what is wanted, what was reported, and what runs here.

use std::collections::BTreeSet;

use crate::clock;
use crate::control;
use crate::model::{
    self, GrantPhase, GrantStatus, Name, NodeId, RevisionStatus, Rollout, Snapshot, Stage, duration,
};
use crate::reconciler::{self, Plan};
use crate::rollout;
use crate::runtime::ServiceView;
use crate::store::{self, Store};

use super::dto::{Queue, Scale, Service, ServiceState};
use super::scaling;

/// The state of the cluster, and what follows from it.
pub(super) struct Overview {
    pub(super) snapshot: Snapshot,
    pub(super) plan: Plan,
    nodes: BTreeSet<NodeId>,
}

impl Overview {
    pub(super) async fn read(store: &dyn Store) -> Result<Self, store::Error> {
        Ok(Self::of(control::observe(store).await?.snapshot))
    }

    /// What there is about one service, without a look at the others.
    pub(super) async fn read_one(store: &dyn Store, name: &Name) -> Result<Self, store::Error> {
        Ok(Self::of(control::observe_service(store, name).await?.snapshot))
    }

    fn of(snapshot: Snapshot) -> Self {
        let plan = reconciler::plan(&snapshot, clock::unix_ms());
        let nodes = snapshot.node_ids();
        Self { snapshot, plan, nodes }
    }

    /// What nodes report about a service.
    pub(super) fn reports<'a>(&'a self, name: &'a Name) -> impl Iterator<Item = &'a GrantStatus> {
        self.snapshot.reports_of(&self.nodes, name)
    }

    /// The revisions of a service that are kept, the oldest first.
    pub(super) fn revisions<'a>(
        &'a self,
        name: &Name,
    ) -> impl Iterator<Item = &'a model::Revision> {
        let range = (name.clone(), 0)..=(name.clone(), u64::MAX);
        self.snapshot.revisions.range(range).map(|(_, revision)| revision)
    }

    /// Names of all services, and of those that are being deleted.
    pub(super) fn names(&self) -> Vec<Name> {
        let granted = self.snapshot.grants.keys().map(|(_, service)| service);
        let reported = self.snapshot.statuses.keys().map(|(_, service)| service);
        let all = self.snapshot.services.keys().chain(granted).chain(reported);
        let mut names: Vec<Name> = all.cloned().collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// One service, if it is there or still finishing.
    pub(super) fn service(&self, name: &Name, view: Option<&ServiceView>) -> Option<Service> {
        let mut service = match self.snapshot.services.get(name) {
            Some(service) => self.wanted(service),
            None => self.deleting(name)?,
        };
        if let Some(view) = view {
            let serving = view.deployment.as_ref();
            service.serving = serving.map(|deployment| deployment.definition.id.to_string());
            service.tasks = u32::try_from(view.tasks.len()).unwrap_or(u32::MAX);
            service.in_flight = view.in_flight;
            service.waiting = view.waiting;
        }
        Some(service)
    }

    /// Why the control plane places the service nowhere, or not where it is to stay.
    pub(super) fn why(&self, name: &Name) -> Option<String> {
        let decision = self.plan.services.get(name)?;
        decision.blocked.clone().or(decision.note.clone())
    }

    fn wanted(&self, service: &model::Service) -> Service {
        let rollout = self.snapshot.rollouts.get(&service.name);
        let decision = self.plan.services.get(&service.name);
        let blocked = decision.and_then(|decision| decision.blocked.clone());
        let reports: Vec<&GrantStatus> = self.reports(&service.name).collect();
        let parts = rollout.map_or_else(Vec::new, |rollout| rollout::parts(service, rollout));
        let most = parts.iter().max_by_key(|part| part.share);
        let has_place = |number| parts.iter().any(|part| part.revision == number);
        let number = rollout.map(|rollout| rollout.revision).filter(|number| has_place(*number));
        // Where its owner gives the latest revision nothing, what serves instead tells the state.
        let number = number.or(most.map(|part| part.revision)).unwrap_or_default();
        let (state, code, message) = state(rollout, number, blocked, &reports);
        let ready = |number| {
            let kept = self.snapshot.revisions.get(&(service.name.clone(), number));
            let definition = kept.map(|revision| &revision.definition.id);
            rollout::observe(reports.iter().copied(), number, definition).ready
        };
        let serving = most.filter(|part| ready(part.revision)).and_then(|part| {
            let key = (service.name.clone(), part.revision);
            Some(self.snapshot.revisions.get(&key)?.definition.id.to_string())
        });
        Service {
            name: service.name.to_string(),
            state,
            code,
            message,
            task: service.task.to_string(),
            revision: rollout.map(|rollout| rollout.revision),
            serving,
            routes: service.routes.iter().map(|route| route.pattern.to_string()).collect(),
            scale: (&service.scale).into(),
            scheduled: rollout.and_then(|rollout| scaling::scheduled(service, rollout)),
            queue: (&service.queue).into(),
            drain: duration::format(service.drain),
            generation: service.generation,
            tasks: 0,
            in_flight: 0,
            waiting: 0,
            pull: None,
            compile: None,
        }
    }

    /// A service that only nodes still know: nothing more is wanted of it.
    fn deleting(&self, name: &Name) -> Option<Service> {
        let report = self.reports(name).next();
        let grant = |node: &NodeId| self.snapshot.grants.get(&(node.clone(), name.clone()));
        let grant = self.nodes.iter().find_map(grant);
        let granted = grant.and_then(|grant| grant.revisions.last());
        let reported = report.and_then(|report| report.revisions.last());
        let task = granted.map(|revision| &revision.definition.id);
        let task = task.or(reported.map(|revision| &revision.definition));
        let generation = grant.map(|grant| grant.generation);
        let generation = generation.or(report.map(|report| report.generation))?;
        Some(Service {
            name: name.to_string(),
            state: ServiceState::Deleting,
            code: None,
            message: "finishes the requests that it has".to_owned(),
            task: task.map(ToString::to_string).unwrap_or_default(),
            revision: None,
            serving: None,
            routes: Vec::new(),
            scale: Scale { min: 0, max: 0, idle: "0s".to_owned() },
            scheduled: None,
            queue: Queue { depth: 0, wait: "0s".to_owned() },
            drain: String::new(),
            generation,
            tasks: 0,
            in_flight: 0,
            waiting: 0,
            pull: None,
            compile: None,
        })
    }
}

/// How far a service is: its deployment decides, and of the nodes the one that is furthest behind.
fn state(
    rollout: Option<&Rollout>,
    number: u64,
    blocked: Option<String>,
    reports: &[&GrantStatus],
) -> (ServiceState, Option<String>, String) {
    let pending = || (ServiceState::Pending, None, "waits for a node to take it up".to_owned());
    if let Some(why) = blocked {
        return (ServiceState::Blocked, None, why);
    }
    let Some(rollout) = rollout else { return pending() };
    let event = || rollout.events.last().map_or(String::new(), |event| event.message.clone());
    if let (Stage::Failed { .. }, Some(failure)) = (rollout.stage, &rollout.failure) {
        return (ServiceState::Failed, Some(failure.code.clone()), failure.message.clone());
    }
    match rollout.stage {
        Stage::Aborted => return (ServiceState::Ready, None, event()),
        Stage::Shifting { .. } | Stage::Baking => return (ServiceState::Deploying, None, event()),
        _ => {}
    }
    let of_new = |report: &&GrantStatus| {
        let is_current = report.generation >= rollout.version;
        report.revisions.iter().find(|one| one.number == number && is_current).cloned()
    };
    let behind = |status: &RevisionStatus| match status.phase {
        GrantPhase::Failed => 0,
        GrantPhase::Pulling => 1,
        GrantPhase::Compiling => 2,
        GrantPhase::Ready => 3,
    };
    let furthest = reports.iter().filter_map(of_new).min_by_key(behind);
    let Some(status) = furthest else { return pending() };
    match (rollout.stage, status.phase) {
        (Stage::Preparing, GrantPhase::Ready) => (ServiceState::Deploying, None, event()),
        _ => (status.phase.into(), status.code, status.message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TaskDefinitionId;
    use crate::store::{codec, keys};

    fn name(text: &str) -> Name {
        text.parse().expect("a name")
    }

    fn report(node: &str, generation: u64, phase: GrantPhase) -> GrantStatus {
        let revision = RevisionStatus {
            number: 2,
            definition: TaskDefinitionId { family: name("web"), revision: 1 },
            phase,
            code: None,
            message: node.to_owned(),
            tasks: 0,
            failures: 0,
            requests: 0,
            errors: 0,
            p99_us: 0,
            health: model::HealthState::Unknown,
        };
        let (node, service) = (name(node), name("web"));
        GrantStatus { node, service, generation, revisions: vec![revision], at_ms: 0 }
    }

    #[test]
    fn the_node_that_is_furthest_behind_decides() {
        let request = rollout::Request {
            service: name("web"),
            revision: 2,
            task: "web:1".to_owned(),
            policy: model::DeployPolicy::default(),
            now_ms: 0,
            floor: 1,
            anew: false,
        };
        let mut rollout = rollout::begin(None, request);
        rollout.stage = Stage::Completed;
        let of = |reports: &[&GrantStatus]| state(Some(&rollout), 2, None, reports).0;
        assert_eq!(of(&[]), ServiceState::Pending);
        assert_eq!(of(&[&report("a", 1, GrantPhase::Ready)]), ServiceState::Pending);
        let ready = report("a", 2, GrantPhase::Ready);
        assert_eq!(of(&[&ready]), ServiceState::Ready);
        let compiling = report("b", 2, GrantPhase::Compiling);
        assert_eq!(of(&[&ready, &compiling]), ServiceState::Compiling);
        let failed = report("c", 2, GrantPhase::Failed);
        assert_eq!(of(&[&ready, &compiling, &failed]), ServiceState::Failed);
        let blocked = state(Some(&rollout), 2, Some("why".to_owned()), &[&ready]);
        assert_eq!(blocked, (ServiceState::Blocked, None, "why".to_owned()));
    }

    #[tokio::test]
    async fn a_deleted_service_is_seen_until_its_nodes_are_done() {
        let store = crate::store::MemStore::new();
        let status = report("a", 3, GrantPhase::Ready);
        let put = store::Op::put(keys::status("a", "web"), codec::encode(&status).expect("data"));
        store.txn(store::Txn::of(vec![put])).await.expect("written");
        let overview = Overview::read(&store).await.expect("read");
        assert_eq!(overview.names(), [name("web")]);
        let service = overview.service(&name("web"), None).expect("still there");
        assert_eq!((service.state, service.generation), (ServiceState::Deleting, 3));
        assert!(overview.service(&name("other"), None).is_none());
    }
}

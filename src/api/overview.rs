//! Services as people see them: what is wanted, what was reported, and what runs here.

use std::collections::BTreeMap;

use crate::control;
use crate::model::{self, GrantStatus, Name, Snapshot};
use crate::reconciler::{self, Plan};
use crate::runtime::ServiceView;
use crate::store::{self, Consistency, RangeReq, Revision, Store, codec, keys};

use super::dto::{Queue, Scale, Service, ServiceState};

/// The state of the cluster, and what follows from it.
pub(super) struct Overview {
    pub(super) snapshot: Snapshot,
    pub(super) plan: Plan,
    pub(super) statuses: BTreeMap<Name, Vec<GrantStatus>>,
}

impl Overview {
    pub(super) async fn read(store: &dyn Store) -> Result<Self, store::Error> {
        let (snapshot, revision) = control::observe(store).await?;
        let plan = reconciler::plan(&snapshot);
        let statuses = statuses(store, revision).await?;
        Ok(Self { snapshot, plan, statuses })
    }

    /// Names of all services, and of those that are being deleted.
    pub(super) fn names(&self) -> Vec<Name> {
        let granted = self.snapshot.grants.keys().map(|(_, service)| service);
        let all = self.snapshot.services.keys().chain(granted).chain(self.statuses.keys());
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

    /// Why the control plane places the service nowhere.
    pub(super) fn why(&self, name: &Name) -> Option<String> {
        self.plan.services.get(name)?.blocked.clone()
    }

    fn wanted(&self, service: &model::Service) -> Service {
        let reports = self.statuses.get(&service.name).map_or(&[][..], Vec::as_slice);
        let (state, code, message) = state(service, self.why(&service.name), reports);
        Service {
            name: service.name.to_string(),
            state,
            code,
            message,
            task: service.task.to_string(),
            serving: serving(reports),
            routes: service.routes.iter().map(ToString::to_string).collect(),
            scale: (&service.scale).into(),
            queue: (&service.queue).into(),
            generation: service.generation,
            tasks: 0,
            in_flight: 0,
            waiting: 0,
            pull: None,
        }
    }

    /// A service that only nodes still know: nothing more is wanted of it.
    fn deleting(&self, name: &Name) -> Option<Service> {
        let report = self.statuses.get(name).and_then(|reports| reports.first());
        let grant = self.snapshot.grants.values().find(|grant| grant.service == *name);
        let task = grant.map(|grant| &grant.definition.id);
        let task = task.or(report.map(|report| &report.definition))?;
        let generation = grant.map(|grant| grant.generation);
        let generation = generation.or(report.map(|report| report.generation))?;
        Some(Service {
            name: name.to_string(),
            state: ServiceState::Deleting,
            code: None,
            message: "finishes the requests that it has".to_owned(),
            task: task.to_string(),
            serving: None,
            routes: Vec::new(),
            scale: Scale { min: 0, max: 0, idle: "0s".to_owned() },
            queue: Queue { depth: 0, wait: "0s".to_owned() },
            generation,
            tasks: 0,
            in_flight: 0,
            waiting: 0,
            pull: None,
        })
    }
}

/// How far a service is: the node that is furthest behind decides, and a report about an earlier
/// generation says nothing about this one.
fn state(
    service: &model::Service,
    blocked: Option<String>,
    reports: &[GrantStatus],
) -> (ServiceState, Option<String>, String) {
    if let Some(why) = blocked {
        return (ServiceState::Blocked, None, why);
    }
    let current = reports.iter().filter(|report| report.generation == service.generation);
    let behind = |report: &&GrantStatus| match ServiceState::from(report.phase) {
        ServiceState::Failed => 0,
        ServiceState::Pulling => 1,
        ServiceState::Compiling => 2,
        _ => 3,
    };
    match current.min_by_key(behind) {
        Some(report) => (report.phase.into(), report.code.clone(), report.message.clone()),
        None => (ServiceState::Pending, None, "waits for a node to take it up".to_owned()),
    }
}

/// What the first node that serves anything serves.
fn serving(reports: &[GrantStatus]) -> Option<String> {
    reports.iter().find_map(|report| Some(report.serving.as_ref()?.id.to_string()))
}

async fn statuses(
    store: &dyn Store,
    revision: Revision,
) -> Result<BTreeMap<Name, Vec<GrantStatus>>, store::Error> {
    let range = RangeReq::prefix(keys::STATUS);
    let found = store.range(range, Consistency::Cached(revision)).await?;
    let mut statuses: BTreeMap<Name, Vec<GrantStatus>> = BTreeMap::new();
    for record in &found.kvs {
        match codec::decode::<GrantStatus>(record) {
            Ok(status) => statuses.entry(status.service.clone()).or_default().push(status),
            Err(error) => tracing::error!(%error, "a record of the store is left out"),
        }
    }
    Ok(statuses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{GrantPhase, QueueBounds, Scale, TaskDefinitionId};

    fn name(text: &str) -> Name {
        text.parse().expect("a name")
    }

    fn report(node: &str, generation: u64, phase: GrantPhase) -> GrantStatus {
        GrantStatus {
            serving: None,
            node: name(node),
            service: name("web"),
            generation,
            definition: TaskDefinitionId { family: name("web"), revision: 1 },
            phase,
            code: None,
            message: node.to_owned(),
            at_ms: 0,
        }
    }

    #[test]
    fn the_node_that_is_furthest_behind_decides() {
        let service = model::Service {
            name: name("web"),
            task: TaskDefinitionId { family: name("web"), revision: 1 },
            routes: Vec::new(),
            scale: Scale::default(),
            queue: QueueBounds::default(),
            generation: 2,
        };
        let of = |reports: &[GrantStatus]| state(&service, None, reports).0;
        assert_eq!(of(&[]), ServiceState::Pending);
        assert_eq!(of(&[report("a", 1, GrantPhase::Ready)]), ServiceState::Pending);
        let ready = report("a", 2, GrantPhase::Ready);
        assert_eq!(of(std::slice::from_ref(&ready)), ServiceState::Ready);
        let compiling = report("b", 2, GrantPhase::Compiling);
        assert_eq!(of(&[ready.clone(), compiling.clone()]), ServiceState::Compiling);
        let failed = report("c", 2, GrantPhase::Failed);
        assert_eq!(serving(std::slice::from_ref(&failed)), None);
        assert_eq!(of(&[ready, compiling, failed]), ServiceState::Failed);
        let blocked = state(&service, Some("why".to_owned()), &[]);
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

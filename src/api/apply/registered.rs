//! What the store holds of everything that a manifest is about, at one revision.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{GrantPhase, GrantStatus, Name, Service, TaskDefinition};
use crate::spec::Manifest;
use crate::store::{self, Op, OpResult, RangeReq, Revision, Store, Txn, codec, keys};

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct Registered {
    /// The revision that it shows.
    pub(super) revision: Revision,
    /// The newest definition of each family that the manifest speaks of.
    pub(super) latest: BTreeMap<Name, TaskDefinition>,
    /// Every family that is registered.
    pub(super) families: BTreeSet<String>,
    /// Every service, with the revision that last changed it.
    pub(super) services: BTreeMap<Name, (Service, Revision)>,
    /// Services of which a node says that they cannot run as they are now.
    pub(super) failed: BTreeSet<Name>,
}

impl Registered {
    pub(super) async fn read(store: &dyn Store, manifest: &Manifest) -> Result<Self, store::Error> {
        let prefixes = [keys::SERVICES, keys::TASKS, keys::STATUS];
        let reads = prefixes.map(|prefix| Op::Get(RangeReq::prefix(prefix)));
        let response = store.txn(Txn::of(reads.to_vec())).await?;
        let mut read = Self { revision: response.revision, ..Self::default() };
        let mut results = response.results.into_iter().map(|result| match result {
            OpResult::Got(range) => range.kvs,
            OpResult::Put | OpResult::Deleted(_) => Vec::new(),
        });
        for record in results.next().unwrap_or_default() {
            let service: Service = codec::decode(&record)?;
            read.services.insert(service.name.clone(), (service, record.mod_rev));
        }
        // Keys ascend, so that the last of each family is its newest revision.
        let mut newest = BTreeMap::new();
        for record in results.next().unwrap_or_default() {
            if let Some((family, _)) = keys::parse_task_definition(&record.key) {
                newest.insert(family, record);
            }
        }
        for record in results.next().unwrap_or_default() {
            let status: GrantStatus = codec::decode(&record)?;
            let service = read.services.get(&status.service);
            let is_current = service.is_some_and(|(s, _)| s.generation == status.generation);
            if is_current && status.phase == GrantPhase::Failed {
                read.failed.insert(status.service);
            }
        }
        let referred = manifest.services.values().map(|service| &service.task);
        for family in manifest.tasks.keys().chain(referred) {
            if let Some(record) = newest.get(family.as_str()) {
                read.latest.insert(family.clone(), codec::decode(record)?);
            }
        }
        read.families = newest.into_keys().collect();
        Ok(read)
    }
}

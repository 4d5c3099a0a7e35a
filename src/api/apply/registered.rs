//! What the store holds of everything that a manifest is about, at one revision.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Mirror, Name, Rollout, Service, TaskDefinition, Upstream};
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
    /// Every upstream, with the revision that last changed it.
    pub(super) upstreams: BTreeMap<Name, (Upstream, Revision)>,
    /// Revisions that are kept of the services whose requests the manifest sends to some of them.
    pub(super) revisions: BTreeMap<Name, BTreeSet<u64>>,
    /// The last deployment of each service, with the revision that last changed it.
    pub(super) rollouts: BTreeMap<Name, (Rollout, Revision)>,
}

impl Registered {
    pub(super) async fn read(store: &dyn Store, manifest: &Manifest) -> Result<Self, store::Error> {
        let prefixes = [keys::SERVICES, keys::TASKS, keys::ROLLOUTS, keys::UPSTREAMS];
        let splits = manifest.services.iter().filter(|(_, service)| {
            let mirrored = service.mirror.as_ref().and_then(Mirror::revision);
            !service.traffic.is_empty() || mirrored.is_some()
        });
        let splits: Vec<&Name> = splits.map(|(name, _)| name).collect();
        let revisions = splits.iter().map(|name| keys::service_revisions(name.as_str()));
        let reads = prefixes.map(RangeReq::prefix).into_iter();
        let reads = reads.chain(revisions.map(RangeReq::prefix)).map(Op::Get);
        let response = store.txn(Txn::of(reads.collect())).await?;
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
            let rollout: Rollout = codec::decode(&record)?;
            read.rollouts.insert(rollout.service.clone(), (rollout, record.mod_rev));
        }
        for record in results.next().unwrap_or_default() {
            let upstream: Upstream = codec::decode(&record)?;
            read.upstreams.insert(upstream.name.clone(), (upstream, record.mod_rev));
        }
        for name in splits {
            let records = results.next().unwrap_or_default();
            let kept = records.iter().filter_map(|record| keys::parse_revision(&record.key));
            read.revisions.insert(name.clone(), kept.map(|(_, number)| number).collect());
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

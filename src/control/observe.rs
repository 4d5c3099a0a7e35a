//! Reads everything that a plan depends on, at one revision, and follows what changes.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;

use crate::model::{self, Name, NodeId, Snapshot, TaskDefinitionId};
use crate::store::{
    self, Batch, Consistency, EventKind, Kv, Op, OpResult, RangeReq, Revision, Store, TXN_OPS_MAX,
    Txn, codec, keys,
};

/// What the store held at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// What plans are made from.
    pub snapshot: Snapshot,
    /// The revision that it shows.
    pub revision: Revision,
    /// When each deployment was last changed.
    pub rollouts_changed: BTreeMap<Name, Revision>,
}

/// Reads the store. A record that cannot be read is left out and named in the log: one bad record
/// must not stop the services that are well.
pub async fn observe(store: &dyn Store) -> Result<Observation, store::Error> {
    let prefixes = [
        keys::TASKS,
        keys::SERVICES,
        keys::REVISIONS,
        keys::ROLLOUTS,
        keys::NODES,
        keys::GRANTS,
        keys::STATUS,
    ];
    read(store, prefixes.map(RangeReq::prefix).into()).await
}

/// Reads what there is about one service, which takes as long with many others as with none.
pub async fn observe_service(
    store: &dyn Store,
    service: &Name,
) -> Result<Observation, store::Error> {
    let nodes = store.range(RangeReq::prefix(keys::NODES), Consistency::Linearizable).await?;
    let nodes = nodes.kvs.iter().filter_map(|record| keys::parse_node(&record.key));
    let mut ranges = vec![
        RangeReq::prefix(keys::NODES),
        RangeReq::key(keys::service(service.as_str())),
        RangeReq::prefix(keys::service_revisions(service.as_str())),
        RangeReq::key(keys::rollout(service.as_str())),
    ];
    for node in nodes {
        ranges.push(RangeReq::key(keys::grant(&node, service.as_str())));
        ranges.push(RangeReq::key(keys::status(&node, service.as_str())));
    }
    if ranges.len() > TXN_OPS_MAX {
        // More nodes than one transaction reads.
        return observe(store).await;
    }
    let mut seen = read(store, ranges).await?;
    // Definitions never change once they are there: they can be read later.
    for TaskDefinitionId { family, revision } in definitions(&seen.snapshot) {
        let key = keys::task_definition(family.as_str(), revision);
        let found = store.range(RangeReq::key(key), Consistency::Linearizable).await?;
        found.kvs.iter().for_each(|record| seen.put(record));
    }
    Ok(seen)
}

/// The definitions that a service, its grants and its reports name.
fn definitions(snapshot: &Snapshot) -> BTreeSet<TaskDefinitionId> {
    let wanted = snapshot.services.values().map(|service| service.task.clone());
    let granted = snapshot.grants.values().flat_map(|grant| &grant.revisions);
    let reported = snapshot.statuses.values().flat_map(|status| &status.revisions);
    wanted
        .chain(granted.map(|revision| revision.definition.id.clone()))
        .chain(reported.map(|revision| revision.definition.clone()))
        .collect()
}

async fn read(store: &dyn Store, ranges: Vec<RangeReq>) -> Result<Observation, store::Error> {
    let reads = ranges.into_iter().map(Op::Get).collect();
    let response = store.txn(Txn::of(reads)).await?;
    let mut seen = Observation { revision: response.revision, ..Observation::default() };
    for result in response.results {
        if let OpResult::Got(range) = result {
            range.kvs.iter().for_each(|record| seen.put(record));
        }
    }
    Ok(seen)
}

impl Observation {
    /// Becomes what the store held after this change, which is the next that there was: what comes
    /// out is what [`observe`] reads at its revision.
    pub(super) fn take(&mut self, batch: &Batch) {
        if batch.revision <= self.revision {
            return;
        }
        for event in &batch.events {
            // What cannot be read must not leave in force what it has replaced.
            self.remove(&event.kv.key);
            if event.kind == EventKind::Put {
                self.put(&event.kv);
            }
        }
        self.revision = batch.revision;
    }

    fn put(&mut self, record: &Kv) {
        let is = |prefix: &str| record.key.starts_with(prefix.as_bytes());
        let all = &mut self.snapshot;
        if is(keys::TASKS) {
            let definition = decode::<model::TaskDefinition>(record);
            all.definitions.extend(definition.map(|one| (one.id.clone(), one)));
        } else if is(keys::SERVICES) {
            let service = decode::<model::Service>(record);
            all.services.extend(service.map(|one| (one.name.clone(), one)));
        } else if is(keys::REVISIONS) {
            let revision = decode::<model::Revision>(record);
            all.revisions.extend(revision.map(|one| ((one.service.clone(), one.number), one)));
        } else if is(keys::ROLLOUTS) {
            let Some(rollout) = decode::<model::Rollout>(record) else { return };
            self.rollouts_changed.insert(rollout.service.clone(), record.mod_rev);
            all.rollouts.insert(rollout.service.clone(), rollout);
        } else if is(keys::NODES) {
            let node = decode::<model::Node>(record);
            all.nodes.extend(node.map(|one| (one.id.clone(), one)));
        } else if is(keys::GRANTS) {
            let grant = decode::<model::Grant>(record);
            all.grants.extend(grant.map(|one| ((one.node.clone(), one.service.clone()), one)));
        } else if is(keys::STATUS) {
            let status = decode::<model::GrantStatus>(record);
            all.statuses.extend(status.map(|one| ((one.node.clone(), one.service.clone()), one)));
        }
    }

    fn remove(&mut self, key: &[u8]) {
        let all = &mut self.snapshot;
        if let Some((family, revision)) = keys::parse_task_definition(key) {
            let id = family.parse().map(|family| TaskDefinitionId { family, revision });
            id.ok().and_then(|id| all.definitions.remove(&id));
        } else if let Some(service) = name(keys::parse_service(key)) {
            all.services.remove(&service);
        } else if let Some((service, number)) = keys::parse_revision(key) {
            name(Some(service)).and_then(|service| all.revisions.remove(&(service, number)));
        } else if let Some(service) = name(keys::parse_rollout(key)) {
            self.rollouts_changed.remove(&service);
            all.rollouts.remove(&service);
        } else if let Some(node) = name(keys::parse_node(key)) {
            all.nodes.remove(&node);
        } else if let Some(key) = pair(keys::parse_grant(key)) {
            all.grants.remove(&key);
        } else if let Some(key) = pair(keys::parse_status(key)) {
            all.statuses.remove(&key);
        }
    }
}

fn name(text: Option<String>) -> Option<Name> {
    text?.parse().ok()
}

fn pair(texts: Option<(String, String)>) -> Option<(NodeId, Name)> {
    let (node, service) = texts?;
    Some((node.parse().ok()?, service.parse().ok()?))
}

fn decode<T: DeserializeOwned>(record: &Kv) -> Option<T> {
    let decoded = codec::decode(record);
    decoded.inspect_err(|error| tracing::error!(%error, "a record of the store is left out")).ok()
}

#[cfg(test)]
mod tests;

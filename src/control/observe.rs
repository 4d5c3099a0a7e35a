//! Reads everything that a plan depends on, at one revision.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use crate::model::{self, Name, Snapshot};
use crate::store::{self, Kv, Op, OpResult, RangeReq, Revision, Store, Txn, codec, keys};

/// What the store held at one moment.
#[derive(Debug, Default)]
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
    let reads = prefixes.map(|prefix| Op::Get(RangeReq::prefix(prefix)));
    let response = store.txn(Txn::of(reads.to_vec())).await?;
    let mut seen = Observation { revision: response.revision, ..Observation::default() };
    let mut ranges = response.results.into_iter().map(|result| match result {
        OpResult::Got(range) => range.kvs,
        OpResult::Put | OpResult::Deleted(_) => Vec::new(),
    });
    let mut next = || ranges.next().unwrap_or_default();
    let all = &mut seen.snapshot;
    for (definition, _) in decode_all::<model::TaskDefinition>(next()) {
        all.definitions.insert(definition.id.clone(), definition);
    }
    for (service, _) in decode_all::<model::Service>(next()) {
        all.services.insert(service.name.clone(), service);
    }
    for (revision, _) in decode_all::<model::Revision>(next()) {
        all.revisions.insert((revision.service.clone(), revision.number), revision);
    }
    for (rollout, changed) in decode_all::<model::Rollout>(next()) {
        seen.rollouts_changed.insert(rollout.service.clone(), changed);
        all.rollouts.insert(rollout.service.clone(), rollout);
    }
    for (node, _) in decode_all::<model::Node>(next()) {
        all.nodes.insert(node.id.clone(), node);
    }
    for (grant, _) in decode_all::<model::Grant>(next()) {
        all.grants.insert((grant.node.clone(), grant.service.clone()), grant);
    }
    for (status, _) in decode_all::<model::GrantStatus>(next()) {
        all.statuses.insert((status.node.clone(), status.service.clone()), status);
    }
    Ok(seen)
}

fn decode_all<T: DeserializeOwned>(records: Vec<Kv>) -> impl Iterator<Item = (T, Revision)> {
    records.into_iter().filter_map(|record| {
        let decoded = codec::decode(&record).map(|value| (value, record.mod_rev));
        decoded
            .inspect_err(|error| tracing::error!(%error, "a record of the store is left out"))
            .ok()
    })
}

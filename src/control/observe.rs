//! Reads everything that a plan depends on, at one revision.

use serde::de::DeserializeOwned;

use crate::model::Snapshot;
use crate::store::{self, Kv, Op, OpResult, RangeReq, Revision, Store, Txn, codec, keys};

/// The snapshot and the revision that it shows. A record that cannot be read is left out and
/// named in the log: one bad record must not stop the services that are well.
pub async fn observe(store: &dyn Store) -> Result<(Snapshot, Revision), store::Error> {
    let prefixes = [keys::TASKS, keys::SERVICES, keys::NODES, keys::GRANTS];
    let reads = prefixes.map(|prefix| Op::Get(RangeReq::prefix(prefix)));
    let response = store.txn(Txn::of(reads.to_vec())).await?;
    let mut snapshot = Snapshot::default();
    let mut ranges = response.results.into_iter().map(|result| match result {
        OpResult::Got(range) => range.kvs,
        OpResult::Put | OpResult::Deleted(_) => Vec::new(),
    });
    let mut next = || ranges.next().unwrap_or_default();
    for definition in decode_all::<crate::model::TaskDefinition>(next()) {
        snapshot.definitions.insert(definition.id.clone(), definition);
    }
    for service in decode_all::<crate::model::Service>(next()) {
        snapshot.services.insert(service.name.clone(), service);
    }
    for node in decode_all::<crate::model::Node>(next()) {
        snapshot.nodes.insert(node.id.clone(), node);
    }
    for grant in decode_all::<crate::model::Grant>(next()) {
        snapshot.grants.insert((grant.node.clone(), grant.service.clone()), grant);
    }
    Ok((snapshot, response.revision))
}

fn decode_all<T: DeserializeOwned>(records: Vec<Kv>) -> impl Iterator<Item = T> {
    records.into_iter().filter_map(|record| {
        codec::decode(&record)
            .inspect_err(|error| tracing::error!(%error, "a record of the store is left out"))
            .ok()
    })
}

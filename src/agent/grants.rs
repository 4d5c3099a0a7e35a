//! The grants of this node, as a list and then as changes.

use crate::model::{Grant, Name, NodeId};
use crate::store::{
    self, Consistency, Event, EventKind, Kv, RangeReq, Revision, Store, WatchStream, codec, keys,
};

/// What happened to a grant.
pub(super) enum Change {
    Put(Box<Grant>),
    Gone(Name),
}

/// The feed of changes.
pub(super) struct Grants {
    watch: WatchStream,
    pending: std::vec::IntoIter<Event>,
}

impl Grants {
    /// Every grant of the node, and the feed of what changes from then on.
    pub(super) async fn list(
        store: &dyn Store,
        node: &NodeId,
    ) -> Result<(Self, Vec<Grant>), store::Error> {
        let prefix = keys::node_grants(node.as_str());
        let range = RangeReq::prefix(prefix.clone());
        let listed = store.range(range, Consistency::Cached(Revision::ZERO)).await?;
        let watch = store.watch(prefix, listed.revision.next()).await?;
        let grants = listed.kvs.iter().filter_map(decode).collect();
        Ok((Self { watch, pending: Vec::new().into_iter() }, grants))
    }

    /// The next change. A grant that cannot be read is passed over and named in the log.
    pub(super) async fn next(&mut self) -> Result<Change, store::Error> {
        loop {
            for event in self.pending.by_ref() {
                match event.kind {
                    EventKind::Put => {
                        if let Some(grant) = decode(&event.kv) {
                            return Ok(Change::Put(Box::new(grant)));
                        }
                    }
                    EventKind::Delete => {
                        let service = keys::parse_grant(&event.kv.key).map(|(_, service)| service);
                        if let Some(Ok(service)) = service.map(|service| service.parse()) {
                            return Ok(Change::Gone(service));
                        }
                    }
                }
            }
            match self.watch.next().await? {
                Some(batch) => self.pending = batch.events.into_iter(),
                // The store is closing: there will be no more changes.
                None => std::future::pending().await,
            }
        }
    }
}

fn decode(record: &Kv) -> Option<Grant> {
    codec::decode(record).inspect_err(|error| tracing::error!(%error, "a grant is left out")).ok()
}

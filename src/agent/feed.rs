//! Records of one kind, as a list and then as changes.

use std::marker::PhantomData;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::model::{Grant, Name, Node, Upstream};
use crate::store::{
    self, Consistency, Event, EventKind, Kv, RangeReq, Revision, Store, WatchStream, codec, keys,
};

/// What is followed.
pub(super) trait Followed: DeserializeOwned {
    /// The name that its key ends with.
    fn named_by(key: &[u8]) -> Option<String>;
}

impl Followed for Grant {
    fn named_by(key: &[u8]) -> Option<String> {
        keys::parse_grant(key).map(|(_, service)| service)
    }
}

impl Followed for Upstream {
    fn named_by(key: &[u8]) -> Option<String> {
        keys::parse_upstream(key)
    }
}

impl Followed for Node {
    fn named_by(key: &[u8]) -> Option<String> {
        keys::parse_node(key)
    }
}

/// What happened to a record.
pub(super) enum Change<T> {
    Put(Box<T>),
    Gone(Name),
}

/// The feed of changes.
pub(super) struct Feed<T> {
    watch: WatchStream,
    pending: std::vec::IntoIter<Event>,
    of: PhantomData<T>,
}

impl<T: Followed> Feed<T> {
    /// Every record under the prefix, and the feed of what changes from then on.
    pub(super) async fn list(
        store: &dyn Store,
        prefix: Bytes,
    ) -> Result<(Self, Vec<T>), store::Error> {
        let range = RangeReq::prefix(prefix.clone());
        let listed = store.range(range, Consistency::Cached(Revision::ZERO)).await?;
        let watch = store.watch(prefix, listed.revision.next()).await?;
        let records = listed.kvs.iter().filter_map(decode).collect();
        Ok((Self { watch, pending: Vec::new().into_iter(), of: PhantomData }, records))
    }

    /// The next change. A record that cannot be read is passed over and named in the log.
    pub(super) async fn next(&mut self) -> Result<Change<T>, store::Error> {
        loop {
            for event in self.pending.by_ref() {
                match event.kind {
                    EventKind::Put => {
                        if let Some(record) = decode(&event.kv) {
                            return Ok(Change::Put(Box::new(record)));
                        }
                    }
                    EventKind::Delete => {
                        let name = T::named_by(&event.kv.key).map(|name| name.parse());
                        if let Some(Ok(name)) = name {
                            return Ok(Change::Gone(name));
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

fn decode<T: Followed>(record: &Kv) -> Option<T> {
    let decoded = codec::decode(record);
    decoded.inspect_err(|error| tracing::error!(%error, "a record is left out")).ok()
}

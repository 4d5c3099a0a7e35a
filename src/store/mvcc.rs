//! The state of an embedded store: every key with its versions, and the recent history.
//!
//! A version stays until the batch that replaced it leaves the history, so that each retained
//! revision can be read and each retained event still has its `prev`.
//!
//! *Invariant:* synchronous and total. What to change is decided by `draft`; applying it cannot
//! fail.
//!
//! *Invariant:* the history holds every batch from `compacted` to `revision`, without a gap, and
//! at least the newest one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::draft::Changes;
use super::error::{Error, Reason};
use super::limits::{HISTORY_BYTES_MAX, HISTORY_REVISIONS_MAX};
use super::span;
use super::types::{Batch, Event, EventKind, Kv, LeaseId, RangeReq, RangeResp, Revision};

/// One version of a key, and its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) kv: Kv,
    /// Its position among the changes of its revision.
    pub(super) sub: u32,
    pub(super) deleted: bool,
}

/// A lease and the keys that go away with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) ttl: Duration,
    pub(super) keys: BTreeSet<Bytes>,
}

/// The counters of a state, as the log keeps them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) revision: Revision,
    pub(super) compacted: Revision,
    /// The number of the last lease that was granted.
    pub(super) last_lease: u64,
}

/// See the module documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mvcc {
    counters: Counters,
    keys: BTreeMap<Bytes, VecDeque<Version>>,
    leases: BTreeMap<LeaseId, Grant>,
    history: VecDeque<Batch>,
    history_bytes: usize,
    live_bytes: usize,
}

impl Mvcc {
    /// Rebuilds a state from its log: all versions, in the order of revision and position.
    ///
    /// # Errors
    /// What does not fit together.
    pub(super) fn restore(
        counters: Counters,
        leases: impl IntoIterator<Item = (LeaseId, Duration)>,
        versions: impl IntoIterator<Item = Version>,
    ) -> Result<Self, String> {
        let grant = |(id, ttl)| (id, Grant { ttl, keys: BTreeSet::new() });
        let leases = leases.into_iter().map(grant).collect();
        let mut state = Self { counters, leases, ..Self::default() };
        for version in versions {
            state.restore_version(version)?;
        }
        let first = counters.compacted.0.max(1);
        let revisions = state.history.iter().map(|batch| batch.revision.0);
        if !revisions.eq(first..=counters.revision.0) {
            return Err(format!(
                "the log does not hold every revision from {first} to {}",
                counters.revision
            ));
        }
        state.attach_all()?;
        Ok(state)
    }

    pub(super) fn counters(&self) -> Counters {
        self.counters
    }

    pub(super) fn revision(&self) -> Revision {
        self.counters.revision
    }

    /// Bytes of the keys and values of all versions.
    pub(super) fn bytes(&self) -> usize {
        self.live_bytes
    }

    pub(super) fn lease(&self, id: LeaseId) -> Option<&Grant> {
        self.leases.get(&id)
    }

    pub(super) fn leases(&self) -> impl ExactSizeIterator<Item = (LeaseId, &Grant)> {
        self.leases.iter().map(|(id, grant)| (*id, grant))
    }

    /// The newest version of a key.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Kv> {
        live(self.keys.get(key)?.back()?)
    }

    /// The keys within the bounds as they were at a revision, ascending.
    pub(super) fn scan(&self, bounds: &span::Bounds, at: Revision) -> impl Iterator<Item = &Kv> {
        self.keys
            .range::<[u8], _>(span::borrow(bounds))
            .filter_map(move |(_, versions)| version_at(versions, at))
    }

    /// Reads the state at `req.at`, or the newest.
    ///
    /// # Errors
    /// `Compacted`, `FutureRevision`.
    pub(super) fn range(&self, req: &RangeReq) -> Result<RangeResp, Error> {
        let at = req.at.unwrap_or(self.counters.revision);
        self.check_at(at)?;
        Ok(match span::bounds(req) {
            Some(bounds) => page(self.scan(&bounds, at), req, at),
            None => RangeResp { revision: at, ..RangeResp::default() },
        })
    }

    /// Checks that a revision can be read.
    pub(super) fn check_at(&self, at: Revision) -> Result<(), Error> {
        let Counters { revision, compacted, .. } = self.counters;
        if at > revision {
            return Err(Reason::FutureRevision { newest: revision }.into());
        }
        if at < compacted { Err(Error::Compacted { min: compacted }) } else { Ok(()) }
    }

    /// The retained batches from a revision on, cut down to a prefix.
    ///
    /// # Errors
    /// `Compacted`.
    pub(super) fn since(&self, prefix: &[u8], from: Revision) -> Result<VecDeque<Batch>, Error> {
        if from < self.counters.compacted {
            return Err(Error::Compacted { min: self.counters.compacted });
        }
        let skip = self.history.partition_point(|batch| batch.revision < from);
        Ok(self.history.range(skip..).filter_map(|batch| with_prefix(batch, prefix)).collect())
    }

    /// Applies what a draft of this very state decided.
    pub(super) fn apply(&mut self, changes: Changes) {
        for (id, ttl) in changes.granted {
            self.leases.insert(id, Grant { ttl, keys: BTreeSet::new() });
        }
        for batch in changes.batches {
            self.apply_batch(batch);
        }
        for (id, _) in changes.revoked {
            self.leases.remove(&id);
        }
        self.counters.last_lease = changes.last_lease;
    }

    /// Up to where history must be dropped to stay within its limits, if it must.
    pub(super) fn overdue(&self) -> Option<Revision> {
        let mut bytes = self.history_bytes;
        let mut batches = self.history.len();
        for batch in &self.history {
            let over = batches > HISTORY_REVISIONS_MAX || bytes > HISTORY_BYTES_MAX;
            if !over || batches == 1 {
                return (batches < self.history.len()).then_some(batch.revision);
            }
            bytes -= batch_bytes(batch);
            batches -= 1;
        }
        None
    }

    /// Drops the batches below `before`, and returns the versions that nothing needs any more.
    ///
    /// A `before` in the future is taken as the newest revision.
    pub(super) fn compact(&mut self, before: Revision) -> Vec<Version> {
        let before = before.min(self.counters.revision);
        let mut dead = Vec::new();
        while let Some(batch) = self.history.pop_front_if(|batch| batch.revision < before) {
            self.history_bytes -= batch_bytes(&batch);
            for event in &batch.events {
                self.drop_versions(&event.kv.key, batch.revision, &mut dead);
            }
        }
        self.counters.compacted = self.counters.compacted.max(before);
        dead
    }

    fn apply_batch(&mut self, batch: Batch) {
        for (sub, event) in (0..).zip(&batch.events) {
            if let Some(id) = event.prev.as_ref().and_then(|prev| prev.lease)
                && let Some(grant) = self.leases.get_mut(&id)
            {
                grant.keys.remove(&event.kv.key);
            }
            if let Some(id) = event.kv.lease
                && let Some(grant) = self.leases.get_mut(&id)
            {
                grant.keys.insert(event.kv.key.clone());
            }
            let deleted = event.kind == EventKind::Delete;
            self.push(Version { kv: event.kv.clone(), sub, deleted });
        }
        self.counters.revision = batch.revision;
        self.history_bytes += batch_bytes(&batch);
        self.history.push_back(batch);
    }

    fn push(&mut self, version: Version) {
        self.live_bytes += version_bytes(&version);
        match self.keys.get_mut(&version.kv.key) {
            Some(versions) => versions.push_back(version),
            None => {
                self.keys.insert(version.kv.key.clone(), VecDeque::from([version]));
            }
        }
    }

    /// Drops the versions of a key that its change at `revision` replaced, and that change itself
    /// when it was a delete.
    fn drop_versions(&mut self, key: &Bytes, revision: Revision, dead: &mut Vec<Version>) {
        let Some(versions) = self.keys.get_mut(key) else {
            return;
        };
        while let Some(version) = versions.pop_front_if(|version| {
            version.kv.mod_rev < revision || (version.deleted && version.kv.mod_rev == revision)
        }) {
            self.live_bytes -= version_bytes(&version);
            dead.push(version);
        }
        if versions.is_empty() {
            self.keys.remove(key);
        }
    }

    fn restore_version(&mut self, version: Version) -> Result<(), String> {
        let revision = version.kv.mod_rev;
        let before = self.keys.get(&version.kv.key).and_then(|versions| versions.back());
        if before.is_some_and(|before| before.kv.mod_rev >= revision) {
            return Err(format!("revision {revision} is out of order"));
        }
        if revision >= self.counters.compacted {
            let kind = if version.deleted { EventKind::Delete } else { EventKind::Put };
            let prev = before.and_then(live).cloned();
            let event = Event { kind, kv: version.kv.clone(), prev };
            self.history_bytes += event_bytes(&event);
            match self.history.back_mut().filter(|batch| batch.revision == revision) {
                Some(batch) => batch.events.push(event),
                None => self.history.push_back(Batch { revision, events: vec![event] }),
            }
        }
        self.push(version);
        Ok(())
    }

    /// Gives every lease the keys that say that they belong to it.
    fn attach_all(&mut self) -> Result<(), String> {
        for kv in self.keys.values().filter_map(|versions| live(versions.back()?)) {
            let Some(id) = kv.lease else { continue };
            let grant = self.leases.get_mut(&id);
            let grant = grant.ok_or_else(|| format!("a key belongs to lease {id}, unknown"))?;
            grant.keys.insert(kv.key.clone());
        }
        Ok(())
    }
}

/// Takes the answer to a read from the keys that it covers.
pub(super) fn page<'a>(
    mut keys: impl Iterator<Item = &'a Kv>,
    req: &RangeReq,
    revision: Revision,
) -> RangeResp {
    let Some(limit) = req.limit else {
        return RangeResp { revision, kvs: keys.cloned().collect(), more: false };
    };
    let kvs = keys.by_ref().take(limit.get()).cloned().collect();
    RangeResp { revision, kvs, more: keys.next().is_some() }
}

/// What of a batch concerns a prefix.
pub(super) fn with_prefix(batch: &Batch, prefix: &[u8]) -> Option<Batch> {
    let inside = |event: &&Event| event.kv.key.starts_with(prefix);
    let events: Vec<Event> = batch.events.iter().filter(inside).cloned().collect();
    (!events.is_empty()).then_some(Batch { revision: batch.revision, events })
}

fn version_at(versions: &VecDeque<Version>, at: Revision) -> Option<&Kv> {
    let newest = versions.back()?;
    if newest.kv.mod_rev <= at {
        return live(newest);
    }
    let later = versions.partition_point(|version| version.kv.mod_rev <= at);
    live(versions.get(later.checked_sub(1)?)?)
}

fn live(version: &Version) -> Option<&Kv> {
    (!version.deleted).then_some(&version.kv)
}

fn version_bytes(version: &Version) -> usize {
    version.kv.key.len() + version.kv.value.len()
}

fn batch_bytes(batch: &Batch) -> usize {
    batch.events.iter().map(event_bytes).sum()
}

/// What the history holds for an event: its value, and the value that it replaced.
fn event_bytes(event: &Event) -> usize {
    let prev = event.prev.as_ref().map_or(0, |prev| prev.value.len());
    event.kv.key.len() + event.kv.value.len() + prev
}
